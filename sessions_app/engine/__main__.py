"""The engine process: `python -m sessions_app.engine --events-fd N`.

Commands come as JSON lines on standard input, events go as JSON lines to descriptor N, logs to standard error.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys

from sessions_app.engine.library import Library
from sessions_app.engine.loading import LoadError
from sessions_app.engine.process import Engine

EXIT_UNUSABLE = 78  # EX_CONFIG: starting again cannot help


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sessions_app.engine", description=__doc__)
    parser.add_argument("--events-fd", type=int, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("sessions_app").setLevel(logging.INFO)
    # A handler of the library waits this long at most for another thread of ours: what it has in hand dies with the process.
    sys.setswitchinterval(0.001)
    commands_fd, events_fd = os.dup(0), os.dup(arguments.events_fd)
    _put_nowhere(0, 1)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Ctrl-C and a platform's stop reach the whole group. The host ends us when it has everything: by closing the pipe.
        signal.signal(number, signal.SIG_IGN)
    try:
        library = Library(os.environ)
    except LoadError as error:
        sys.exit(_unusable(str(error)))
    Engine(library, commands_fd=commands_fd, events_fd=events_fd).run()


def _put_nowhere(*descriptors: int) -> None:
    """So that nothing reads our commands, and what the library prints on standard output reaches nobody."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _unusable(sentence: str) -> int:
    logging.getLogger(__name__).critical("engine_unusable reason=%s", sentence)
    return EXIT_UNUSABLE


if __name__ == "__main__":
    main()
