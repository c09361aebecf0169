"""A real engine process, held by a test: commands in, events out, waiting with a bound for what must come."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sessions_app.engine import events
from sessions_app.engine.pipe import read_messages
from sessions_app.engine.spool import SpoolReader

PROJECT = Path(__file__).resolve().parents[2]
T = TypeVar("T")

#: What a person's environment may hold that would send the engine elsewhere.
CLEARED = {"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy"}
CLEARED |= {"SSL_CERT_FILE", "OXY_SIMULATOR", "OXY_SIMULATOR_ROOT"}

#: A proxy at which nobody listens: the engine's way out of this machine is closed.
NOWHERE = {"HTTPS_PROXY": "http://127.0.0.1:9"}


class EngineProcess:
    """An engine, and all that it has said so far: through the pipe, and through the spools of the sessions it was given."""

    def __init__(self, directory: Path, environment: dict[str, str], *, stderr: Path | None = None) -> None:
        self.directory = directory
        self.log = stderr or directory / "engine.log"
        self._output = directory / "engine.out"
        self.heard: list[Any] = []
        self._changed = threading.Condition()
        self._spools: dict[str, SpoolReader] = {}
        inherited = {name: value for name, value in os.environ.items() if name not in CLEARED}
        read_end, write_end = os.pipe()
        with self._output.open("ab") as output, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sessions_app.engine", "--events-fd", str(write_end)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=log,
                pass_fds=[write_end],
                env=inherited | environment,
                cwd=PROJECT,
            )
        os.close(write_end)
        self._reader = threading.Thread(target=self._read, args=(read_end,), daemon=True)
        self._reader.start()

    # --- saying -----------------------------------------------------------------

    def send(self, command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(events.encode(command) + b"\n")
        self.process.stdin.flush()

    def start(self, session: str, *, epoch: int = 1, lease: float = 120, **more: Any) -> None:
        """Prepare the session's store, as a host does, and start its client."""
        place = self.place(session)
        self._spools.setdefault(session, SpoolReader(place / "spool"))
        before = self.mark()
        self.send(events.PrepareStore(session=session, path=str(place / "store.db")))
        prepared = self.expect(events.StorePrepared, session=session, after=before)
        assert prepared.error == ""
        self.send(
            events.StartClient(
                session=session,
                epoch=epoch,
                path=str(place / "store.db"),
                spool=str(place / "spool"),
                lease_seconds=lease,
                **more,
            )
        )

    def place(self, session: str) -> Path:
        place = self.directory / session
        place.mkdir(exist_ok=True)
        return place

    # --- hearing ----------------------------------------------------------------

    def expect(self, kind: type[T], timeout: float = 15, *, after: int = 0, where: Callable[[T], bool] | None = None,
               **fields: Any) -> T:  # fmt: skip
        """The first event of this kind from the `after`th on, with these fields; fails with what came instead."""

        def fits(event: Any) -> bool:
            return (
                isinstance(event, kind)
                and all(getattr(event, name) == value for name, value in fields.items())
                and (where is None or where(event))
            )

        found: list[T] = []
        with self._changed:
            came = self._changed.wait_for(
                lambda: bool(found.extend(event for event in self.heard[after:] if fits(event)) or found), timeout
            )
        assert came, f"no {kind.__name__} {fields} within {timeout} s, but: {self.heard[after:]}\n{self.said()}"
        return found[0]

    def mark(self) -> int:
        """How much was heard so far: for `after`."""
        with self._changed:
            return len(self.heard)

    def all(self, kind: type[T], **fields: Any) -> list[T]:
        with self._changed:
            events_so_far = list(self.heard)
        return [
            event
            for event in events_so_far
            if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
        ]

    def said(self) -> str:
        """What the process has written to standard error and standard output."""
        return self.log.read_text(errors="replace") + self._output.read_text(errors="replace")

    def read_spool(self, session: str) -> list[Any]:
        """What the session's spool holds that was not heard yet: for when the engine is gone."""
        with self._changed:
            return self._spools[session].read()

    def _read(self, fd: int) -> None:
        for event in read_messages(fd):
            with self._changed:
                if isinstance(event, events.SpoolGrew):
                    self.heard += self._spools[event.session].read()
                else:
                    self.heard.append(event)
                self._changed.notify_all()
        os.close(fd)

    # --- ending -----------------------------------------------------------------

    def close_commands(self) -> None:
        """What the engine sees of a host's death."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def wait(self, timeout: float) -> int:
        return self.process.wait(timeout)

    def sockets(self) -> list[str]:
        """The inodes of the TCP sockets that the process holds."""
        links = (os.readlink(path) for path in Path(f"/proc/{self.process.pid}/fd").iterdir())
        held = {link[8:-1] for link in links if link.startswith("socket:[")}
        tcp = [
            line.split()[9]
            for name in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        ]
        return sorted(held & set(tcp))


@contextmanager
def engine(directory: Path, environment: dict[str, str] | None = None) -> Iterator[EngineProcess]:
    """An engine that has loaded the library, and that is gone at the end whatever happened."""
    process = EngineProcess(directory, NOWHERE if environment is None else environment)
    try:
        process.expect(events.EngineStarted, 30)
        yield process
    finally:
        process.kill()
        process._reader.join(5)
        if process.process.stdin:
            with suppress(BrokenPipeError):
                process.process.stdin.close()


def until(condition: Callable[[], bool], timeout: float = 10) -> None:
    """For what gives no event: another process's files and sockets."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not become so in time"
        time.sleep(0.02)
