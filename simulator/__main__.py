"""The command line: `python -m simulator` runs one; `phone` and `fault` drive one that runs."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path

from simulator import remote
from simulator.errors import SimulatorError
from simulator.server import Ports
from simulator.simulation import Simulator

DEFAULT_STATE = Path("var/simulator")


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse does not take an optional text behind options: `phone send --number … --to … hello`.
    if len(rest) == 1 and getattr(options, "text", None) == "" and not rest[0].startswith("-"):
        options.text = rest[0]
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(options.run(options))
    except SimulatorError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator", description="A local WhatsApp for demonstrations and tests."
    )
    parser.set_defaults(run=_serve)
    parser.add_argument(
        "--state",
        type=Path,
        default=DEFAULT_STATE,
        help="directory that keeps accounts, devices and ports (%(default)s)",
    )
    parser.add_argument(
        "--phone",
        action="append",
        default=[],
        metavar="NUMBER=NAME",
        help="a phone that there should be from the start; may be given several times",
    )
    for name in ("control", "proxy", "tls", "ws"):
        parser.add_argument(f"--{name}-port", type=int, default=0, help="0: chosen once, then kept")
    commands = parser.add_subparsers(title="drive a simulator that runs")
    remote.add_commands(commands, os.environ.get("OXY_SIMULATOR_CONTROL", ""))
    return parser


def _serve(options: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; the ready line on standard output says where everything is."""
    # Blocked before any thread starts, so that the signal reaches sigwait below and nobody else.
    stop_signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
    ports = Ports(options.proxy_port, options.tls_port, options.ws_port, options.control_port)
    simulator = Simulator(options.state, ports=ports)
    try:
        simulator.start()
    except OSError as error:
        raise SimulatorError(f"The state directory {options.state} can't be used: {error.strerror}.") from error
    for phone in options.phone:
        number, _, name = phone.partition("=")
        if number not in (known.number for known in simulator.phones):
            simulator.phone(number, name=name)
    sys.stdout.write(json.dumps(simulator.ready_line) + "\n")
    sys.stdout.flush()
    signal.sigwait(stop_signals)
    simulator.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
