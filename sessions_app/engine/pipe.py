"""One direction of the pipe between a host and an engine: messages as JSON lines, never blocking whoever has something to say.

Used at both ends. A writer has a thread of its own, so that a peer that does not read (frozen, or busy) can't hold up a
handler of the library, a watchdog or a host's beat.
"""

from __future__ import annotations

import collections
import logging
import os
import threading
from collections.abc import Callable, Iterator

from sessions_app.engine import events

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 16


def read_messages(fd: int) -> Iterator[events.Message]:
    """The messages that arrive on `fd`, until its other end is closed. A line that is no message is logged and passed over."""
    rest = b""
    while chunk := _read(fd):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            try:
                message = events.decode(line)
            except events.BadMessage as error:
                logger.error("pipe_line_ignored reason=%s", error)
                continue
            yield message


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, _CHUNK_BYTES)
    except OSError:
        return b""


class MessageWriter:
    """Writes messages to `fd`, in order. `on_broken` is called once, on the writer's thread, when nobody reads any more."""

    def __init__(self, fd: int, *, name: str = "pipe-writer", on_broken: Callable[[], None] = lambda: None) -> None:
        self._fd = fd
        self._on_broken = on_broken
        self._changed = threading.Condition()
        self._waiting: collections.deque[events.Message] = collections.deque()
        self._rung: set[str] = set()
        self._writing = False
        self._closed = False
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def send(self, message: events.Message) -> None:
        """Hand a message over. Never blocks; messages for a broken or closed pipe are dropped."""
        with self._changed:
            if not self._closed:
                self._waiting.append(message)
                self._changed.notify_all()

    def ring(self, session: str) -> None:
        """Say `SpoolGrew`, unless the last one for this session is not out yet: it says the same."""
        with self._changed:
            if self._closed or session in self._rung:
                return
            self._rung.add(session)
            self._waiting.append(events.SpoolGrew(session=session))
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until everything handed over is written; False when that took too long."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or not (self._waiting or self._writing), timeout)

    def close(self) -> None:
        """Take nothing more. The descriptor stays its owner's."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            try:
                _write_all(self._fd, batch)
            except OSError:
                self.close()
                self._on_broken()
                return

    def _next_batch(self) -> bytes | None:
        with self._changed:
            self._writing = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return None
            batch, self._waiting = list(self._waiting), collections.deque()
            self._rung.clear()
            self._writing = True
        return b"".join(events.encode(message) + b"\n" for message in batch)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
