"""Several programs as one: their lines with a name in front, signals passed on, and when one ends all end.

For `manage.py run`, `demo` and `serve`, on one machine. It knows nothing of what it launches.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

#: Seconds between asking the programs to end and killing them. The worker's own stop takes up to ten.
STOP_WITHIN = 13.0
#: Seconds between two looks at who has ended.
LOOK_EVERY = 0.2
PR_SET_PDEATHSIG = 1

Write = Callable[[str], object]


class PortInUse(Exception):
    """The text is for people."""


class Ended(Exception):
    """A program ended, or a signal came, while something was still being waited for."""


@dataclass
class Program:
    """What to start: `name` stands before its lines."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Launcher:
    """Started programs; a context, so that none of them outlives it. Signals are taken while it is open.

    `shows_lines`: what the programs say is shown with their names in front; else it goes where this process's own output goes,
    untouched, as a collector of JSON lines needs it.
    """

    def __init__(self, write: Write, *, shows_lines: bool = True) -> None:
        self._write, self._shows_lines = write, shows_lines
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._selector = selectors.DefaultSelector()
        self._rests: dict[int, bytes] = {}
        self._relied_on: set[str] = set()
        self._signals = 0
        self._failed = 0

    def __enter__(self) -> Launcher:
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        self._end_all()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._selector.close()

    def start(self, program: Program, *, first_line: bool = False) -> str:
        """Start it. `first_line`: wait for the first line of its standard output, which is returned and not shown."""
        process = subprocess.Popen(
            program.command,
            env={**os.environ, **program.environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._shows_lines else None,
            stderr=None if not self._shows_lines else subprocess.PIPE if first_line else subprocess.STDOUT,
            # Its own group, so that Ctrl-C reaches it once, from us, and what it leaves can be ended by group.
            start_new_session=True,
            preexec_fn=_end_with_parent(),
        )
        self._running[program.name] = process
        if first_line:
            self._relied_on.add(program.name)
        for stream in filter(None, (process.stdout, process.stderr)):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, program.name)
        return self._first_line(program.name, process) if first_line else ""

    def wait(self, until: Callable[[], bool] | None = None) -> None:
        """Show the programs' lines until `until()` says so; raises `Ended` when one has ended or a signal has come."""
        while not (until and until()):
            self._show()
            if self._signals:
                raise Ended
            for name, process in self._running.items():
                if (status := process.poll()) is not None:
                    self._failed = 1
                    self._write(f"{name} ended by itself with status {status}; everything else is ended too.\n")
                    raise Ended

    def end(self) -> int:
        """End all programs; the exit status: 0 where somebody asked for the end."""
        self._end_all()
        return self._failed

    # --- private ----------------------------------------------------------------

    def _note(self, number: int, frame: object) -> None:
        self._signals += 1

    def _first_line(self, name: str, process: subprocess.Popen[bytes]) -> str:
        assert process.stdout
        self._selector.unregister(process.stdout)
        read = b""

        def complete() -> bool:
            nonlocal read
            read += _available(process.stdout.fileno()) if process.stdout else b""
            return b"\n" in read

        self.wait(complete)
        line, _, rest = read.partition(b"\n")
        self._show_lines(name, process.stdout.fileno(), rest)
        self._selector.register(process.stdout, selectors.EVENT_READ, name)
        return line.decode()

    def _show(self, timeout: float = LOOK_EVERY) -> None:
        for key, _ in self._selector.select(timeout):
            data = _available(key.fd)
            if not data:
                self._selector.unregister(key.fileobj)
            self._show_lines(key.data, key.fd, data)

    def _show_lines(self, name: str, descriptor: int, data: bytes) -> None:
        *lines, self._rests[descriptor] = (self._rests.get(descriptor, b"") + data).split(b"\n")
        for line in lines:
            self._write(f"{name:<9} | {line.decode(errors='replace')}\n")

    def _end_all(self) -> None:
        """SIGTERM to each, SIGKILL to those that take too long, or when a second signal comes; what others rely on ends last."""
        relied_on = [process for name, process in self._running.items() if name in self._relied_on]
        self._end_these([process for process in self._running.values() if process not in relied_on])
        self._end_these(relied_on)
        self._show(0)
        self._kill_groups()
        for process in self._running.values():
            for stream in filter(None, (process.stdout, process.stderr)):
                stream.close()
        self._running.clear()

    def _end_these(self, processes: list[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            if process.poll() is None:
                process.terminate()
        signals, deadline = self._signals, time.monotonic() + STOP_WITHIN
        while any(process.poll() is None for process in processes):
            self._show()
            if time.monotonic() > deadline or self._signals > signals:
                self._kill_groups()

    def _kill_groups(self) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def check_port(host: str, port: int) -> None:
    """Raise `PortInUse` where nobody could listen there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise PortInUse(f"Port {port} on {host} {why}. Choose another with PORT, as in PORT={port + 1}.") from None


def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def _available(descriptor: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, 65536)
    return b""


def _end_with_parent() -> Callable[[], None] | None:
    """In the child before exec: SIGTERM when this process is gone, however it went."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return lambda: library.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
