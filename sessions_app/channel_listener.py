"""How a process hears what the channel layer publishes to the database: one thread, one connection, LISTEN or a wake.

On PostgreSQL a message is a notification's payload, or the row that the notification names. On SQLite it is a row, and a unix
datagram says that there is one; where the datagram cannot go, the rows are looked at once a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import selectors
import socket
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from django.apps import apps
from django.db import connections

if TYPE_CHECKING:
    import psycopg

DATABASE = "default"
NOTIFY_CHANNEL = "oxy_layer"
#: Seconds: how often SQLite is read although nobody woke us, and how often an idle PostgreSQL connection is tried.
POLL, PING = 1.0, 30.0
#: Seconds between attempts to reach the database again: doubled from the first to the second, with jitter.
RETRY_FIRST, RETRY_MOST = 0.2, 5.0

logger = logging.getLogger(__name__)


class Bell:
    """An event of one event loop that any thread can set."""

    def __init__(self) -> None:
        self.rung = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        with contextlib.suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()

    def ring(self) -> None:
        # The loop of a socket that is gone may be closed.
        with contextlib.suppress(RuntimeError):
            if self._loop:
                self._loop.call_soon_threadsafe(self.rung.set)


class _Ear(Protocol):
    """What the listener listens with. Everything may raise `sqlite3.Error`, `psycopg.Error` or `OSError`."""

    #: Seconds after which `bodies()` is called although nothing could be read.
    interval: float

    def fileno(self) -> int: ...

    def bodies(self) -> list[str] | None:
        """What has arrived; None: something was missed."""

    def close(self) -> None: ...


class Listener:
    """One daemon thread: hears what is published to the database and hands it on, for as long as it takes."""

    def __init__(self, deliver: Callable[[str], None], resync: Callable[[], None]) -> None:
        self._deliver, self._resync = deliver, resync
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._hears = threading.Event()
        self._waiting: list[Bell] = []
        self._stop: socket.socket | None = None

    async def hearing(self, timeout: float) -> bool:
        """Start the thread where there is none (a forked child has none), and wait until it hears."""
        with self._lock:
            if not (self._thread and self._thread.is_alive()):
                self._start()
            if self._hears.is_set():
                return True
            bell = Bell()
            self._waiting.append(bell)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(bell.rung.wait(), timeout)
        return self._hears.is_set()

    def stop(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            if self._stop:
                self._stop.close()  # the other end becomes readable
                self._stop = None
        if thread:
            thread.join(timeout=5)

    def _start(self) -> None:
        self._hears.clear()
        self._stop, stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, args=(stopped,), name="channel-layer", daemon=True)
        self._thread.start()

    def _run(self, stopped: socket.socket) -> None:
        delays = _retry_delays()
        with stopped:
            while True:
                try:
                    with contextlib.closing(_open_ear()) as ear:
                        self._now_hears()
                        delays = _retry_delays()
                        self._listen(ear, stopped)
                        return
                except Exception as error:  # whatever it was: pages must not stay deaf
                    # The type alone: a driver's text can name the password's owner and the server.
                    logger.warning("Live news is interrupted: %s. Trying again.", type(error).__name__)
                self._hears.clear()
                if _readable(next(delays), stopped):
                    return

    def _now_hears(self) -> None:
        with self._lock:
            self._hears.set()
            waiting, self._waiting = self._waiting, []
        self._resync()
        for bell in waiting:
            bell.ring()

    def _listen(self, ear: _Ear, stopped: socket.socket) -> None:
        """Listen until told to stop; leaves by an exception where the database is lost."""
        while True:
            bodies = ear.bodies()
            if bodies is None:
                self._resync()
            for body in bodies or ():
                self._deliver(body)
            if stopped in _readable(ear.interval, stopped, ear):
                return


def _readable(timeout: float, *files: Any) -> list[Any]:
    """Which of these can be read. (Not `select()`: it refuses descriptors above 1023, and a web process has many sockets.)"""
    with selectors.DefaultSelector() as selector:
        for file in files:
            selector.register(file, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(timeout)]


class _PostgresEar:
    """LISTEN on a connection of its own."""

    interval = PING

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        connection.execute(f"LISTEN {NOTIFY_CHANNEL}")

    def fileno(self) -> int:
        return self._connection.fileno()

    def bodies(self) -> list[str] | None:
        self._connection.execute("SELECT 1")  # finds a connection that died in silence
        bodies: list[str] = []
        # A statement inside `for ... in notifies()` would wait for ever for the lock that the generator holds. And what arrives
        # during a statement does not make the socket readable again: hence until there is none.
        while batch := list(self._connection.notifies(timeout=0)):
            bodies += [body for notification in batch if (body := self._body(notification.payload)) is not None]
        return bodies

    def _body(self, payload: str) -> str | None:
        """The payload itself, or the row that it names; None where that is pruned already.

        Rows are fetched by the id that was notified, never by `id > last`: ids commit out of order.
        """
        if not payload.isdigit():
            return payload
        row = self._connection.execute(f"SELECT body FROM {_table()} WHERE id = %s", [int(payload)]).fetchone()  # noqa: S608
        return row[0] if row else None

    def close(self) -> None:
        self._connection.close()


class _SqliteEar:
    """Reads the rows on a connection of its own, when a datagram says so and once a second."""

    interval = POLL

    def __init__(self, connection: sqlite3.Connection, directory: Path) -> None:
        self._connection = connection
        self._last = self._newest()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._directory = directory
        with contextlib.suppress(OSError):  # then the poll is all there is
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _short(directory) as short:
                self._socket.bind(f"{short}/{self._name}")

    def fileno(self) -> int:
        return self._socket.fileno()

    def bodies(self) -> list[str] | None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(16)
        self._connection.execute("BEGIN")  # both reads see the same moment
        rows = self._connection.execute(
            f"SELECT id, body FROM {_table()} WHERE id > ? ORDER BY id",  # noqa: S608
            [self._last],
        ).fetchall()
        newest = self._newest()
        self._connection.execute("COMMIT")
        # SQLite has one writer at a time and numbers rows without gaps: a gap was pruned before it was read.
        missed = [number for number, _ in rows] != list(range(self._last + 1, newest + 1))
        self._last = newest
        return None if missed else [body for _, body in rows]

    def _newest(self) -> int:
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", [_table()]).fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        self._socket.close()
        self._connection.close()
        (self._directory / self._name).unlink(missing_ok=True)


def _open_ear() -> _Ear:
    # A new thread's Django connection is only asked for its parameters; it is never opened.
    wrapper = connections[DATABASE]
    parameters = wrapper.get_connection_params()
    if wrapper.vendor != "postgresql":
        return _SqliteEar(
            sqlite3.connect(parameters["database"], uri=True, timeout=5, isolation_level=None), wake_directory()
        )
    import psycopg

    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    # A network that swallows packets is found within a minute, not by TCP's own fifteen.
    patience = {"keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
    return _PostgresEar(psycopg.connect(**{**patience, **parameters, "autocommit": True}))


def _retry_delays() -> Iterator[float]:
    delay = RETRY_FIRST
    while True:
        yield delay
        delay = min(RETRY_MOST, delay * 2) * random.uniform(0.8, 1.0)  # noqa: S311


def rows() -> Any:
    return apps.get_model("sessions_app", "LayerMessage")._default_manager.using(DATABASE)


def _table() -> str:
    return apps.get_model("sessions_app", "LayerMessage")._meta.db_table


# --- SQLite's wake: a directory of sockets, one a listener ---------------------------


def wake_directory() -> Path:
    """Beside the database, so that everybody who opens the same file finds the same sockets."""
    name = str(connections[DATABASE].settings_dict["NAME"])
    if "mode=memory" in name or name == ":memory:":
        return Path(tempfile.gettempdir()) / f"oxy-news-{os.getpid()}"
    path = Path(name).resolve()
    return path.parent / f".{path.name}.news"


def wake(directory: Path) -> None:
    with (
        contextlib.suppress(OSError),
        _short(directory) as short,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out,
    ):
        out.setblocking(False)
        for name in os.listdir(directory):
            try:
                out.sendto(b"!", f"{short}/{name}")
            except BlockingIOError:
                pass  # its buffer is full of wakes already
            except ConnectionRefusedError:
                (directory / name).unlink(missing_ok=True)  # its process was killed


@contextlib.contextmanager
def _short(directory: Path) -> Iterator[str]:
    """A name of the directory that leaves room in the 107 bytes which a socket's address may have."""
    if len(os.fsencode(directory)) < 80:
        yield str(directory)
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
