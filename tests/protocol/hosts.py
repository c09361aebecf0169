"""A real host in a thread of the test, with real engines, against the simulator; and words to say what is awaited."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from django.db import connections

from sessions_app.hosting.session_path import SessionPath
from sessions_app.hosting.supervisor import Supervisor
from sessions_app.lifecycle import Command, Status
from sessions_app.models import PairingRound, SessionCommand, WhatsAppSession

PATIENCE = 30.0
T = TypeVar("T")


def eventually(look: Callable[[], T], what: str, within: float = PATIENCE) -> T:
    """Look until there is something to see; fails with what was awaited."""
    end = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < end, f"not seen within {within:.0f} s: {what}"
        time.sleep(0.02)
    return found


class Faults(logging.Handler):
    """Items that a runner could not handle: it goes on without them, a test must not."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []
        self._logger = logging.getLogger("sessions_app.hosting.runner")
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "item_failed":
            self.seen.append(str(record.exc_info and record.exc_info[1]))

    def end(self) -> None:
        self._logger.removeHandler(self)
        assert self.seen == []


class RunningHost:
    """One host. `stop()` is what SIGTERM leads to; `crash()` is what kill -9 leaves: no lease is given back."""

    def __init__(self, path: Path) -> None:
        self.supervisor = Supervisor(SessionPath(path))
        self._stop = threading.Event()
        self.error: BaseException | None = None
        self.crashed = False
        self._thread = threading.Thread(target=self._run, name="host", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.supervisor.run(self._stop)
        except BaseException as error:
            self.error = error
            raise
        finally:
            connections.close_all()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(15)
        assert not self._thread.is_alive()
        assert self.error is None

    def crash(self) -> None:
        """What kill -9 of a whole host leaves: engines gone, no lease given back, nothing written any more."""
        self.crashed = True
        self.supervisor._shut_down = lambda: None  # type: ignore[method-assign]
        self.supervisor._on_engine = lambda engine, event: None  # type: ignore[method-assign]
        self.supervisor.engines._listener = lambda engine, event: None
        self._stop.set()
        self._thread.join(5)
        self.supervisor._beat_stop.set()
        self.kill_engines()
        self.supervisor.lanes.end(2)
        self.supervisor.watcher.end()

    def kill_engines(self) -> None:
        for engine in self.supervisor.engines.all:
            engine.kill()


@contextmanager
def running_host(path: Path) -> Iterator[RunningHost]:
    faults, host = Faults(), RunningHost(path)
    try:
        yield host
    finally:
        if not host.crashed:
            host.stop()
        faults.end()


def fresh(session: WhatsAppSession) -> WhatsAppSession:
    return WhatsAppSession.objects.get(pk=session.pk)


def wait_for_status(
    session: WhatsAppSession, status: Status, reason: str | None = None, within: float = PATIENCE
) -> WhatsAppSession:
    """The session once it has this status (and reason)."""
    last = [fresh(session)]

    def look() -> bool:
        last[0] = fresh(session)
        return last[0].status == status and reason in (None, last[0].reason)

    try:
        eventually(look, f"{status.value} {reason or ''}", within)
    except AssertionError as error:
        raise AssertionError(f"{error}; it is {last[0].status} {last[0].reason}") from None
    return last[0]


def wait_for_code(session: WhatsAppSession, index: int = 1) -> str:
    """The QR text on show, once the round is at `index` or beyond."""

    def look() -> str | None:
        current: PairingRound | None = fresh(session).current_round
        return current.code if current and current.index >= index else None

    return eventually(look, f"QR code {index}")


def ask(session: WhatsAppSession, command: Command, **arguments: object) -> SessionCommand:
    return fresh(session).request(command, by="tester", **arguments)


def pair(session: WhatsAppSession, phone: object) -> WhatsAppSession:
    """Start the session, scan its code with the phone, and wait until it is connected."""
    ask(session, Command.START)
    phone.scan(wait_for_code(session))  # type: ignore[attr-defined]
    return wait_for_status(session, Status.CONNECTED)
