"""`runhost` with a stand-in for the host, for the tests of the cluster: what happens is said on the descriptor in OXY_TEST_SAYS.

Every process of the cluster inherits the descriptor, so that its end of file means that nobody is left.
"""

from __future__ import annotations

import os
import sys
import threading
import types
from typing import Any

SAYS = "OXY_TEST_SAYS"


def say(what: str) -> None:
    """One line, with the speaker's pid. Lines this short are written in one piece."""
    os.write(int(os.environ[SAYS]), f"{what} {os.getpid()}\n".encode())


def note(what: str) -> None:
    """A short task."""
    say(what)


def host(stop: Any) -> None:
    """A host that waits for its stop."""
    say("host-started")
    stop.wait()
    say("host-stopped")


def slow(stop: Any) -> None:
    """A host that has a second's worth of sockets to close."""
    say("host-started")
    stop.wait()
    threading.Event().wait(1)
    say("host-stopped")


def crash(stop: Any) -> None:
    say("host-started")
    raise RuntimeError("as a host may")


def hang(stop: Any) -> None:
    """A host that does not stop."""
    say("host-started")
    threading.Event().wait()


def main(kind: str, *limits: str) -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oxy.settings")
    django.setup()
    stand_in = types.ModuleType("sessions_app.hosting.supervisor")
    stand_in.run = {"host": host, "slow": slow, "crash": crash, "hang": hang}[kind]  # type: ignore[attr-defined]
    sys.modules[stand_in.__name__] = stand_in
    from django.core.management import call_command

    import sessions_app.hosting
    from sessions_app.hosting import cluster

    sessions_app.hosting.supervisor = stand_in  # type: ignore[attr-defined]
    for limit in limits:
        name, _, value = limit.partition("=")
        setattr(cluster, name, float(value))
    call_command("runhost")


if __name__ == "__main__":
    main(*sys.argv[1:])
