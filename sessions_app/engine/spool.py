"""The file in which an engine leaves what it heard until the host has taken it over: written by one process, read by another.

A spool is a directory of segments, `0000000001.spool` and on, and a file `position` that the reader keeps. A record is a
marker, length and CRC-32 of the payload (both big-endian, four bytes), and the payload: `events.encode()` of one event.

Why so: the engine can be killed at any instruction, so a record goes out in one `O_APPEND` write and needs no closing
act; what is on disk then survives everything but the loss of the machine. A reader that meets a torn or damaged record
says so and finds the next marker. The marker's first byte cannot occur in a payload, which is ASCII.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sessions_app.engine import events

logger = logging.getLogger(__name__)

MARKER = b"\xf5\xfaO\x01"
SEGMENT_BYTES = 1 << 20
#: How many events `SpoolReader.read()` gives at once, so that one database transaction stays small.
READ_LIMIT = 500

_HEADER = struct.Struct(">4sII")
_POSITION = struct.Struct(">4sQQI")


@dataclass(frozen=True, order=True)
class Position:
    """A place in a spool: the segment's number, and bytes from its beginning."""

    segment: int = 0
    offset: int = 0


def frame(event: events.Message) -> bytes:
    """The record of one event."""
    payload = events.encode(event)
    return _HEADER.pack(MARKER, len(payload), zlib.crc32(payload)) + payload


class SpoolWriter:
    """Appends events, from any thread. Every writer begins a segment of its own, so that whatever a killed one left
    half written stays at the end of a segment and can be told from a record still on its way."""

    def __init__(self, directory: str | Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._directory = Path(directory)
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._file = -1
        self._size = 0
        self._waiting: list[bytes] = []
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._open_next()

    def append(self, event: events.Message) -> bool:
        """Write one record. False: the disk did not take it; it is kept in memory, and written before the next one."""
        record = frame(event)
        with self._lock:
            self._waiting.append(record)
            return self._write_waiting()

    def retry(self) -> bool:
        """Try again to write what the disk did not take; True when nothing waits."""
        with self._lock:
            return self._write_waiting()

    def close(self) -> list[bytes]:
        """Be done. Returns what the disk has not taken to the last, each as `events.encode()` gave it."""
        with self._lock:
            self._write_waiting()
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            left, self._waiting = self._waiting, []
            return [record[_HEADER.size :] for record in left]

    def _write_waiting(self) -> bool:
        try:
            while self._waiting:
                self._write(self._waiting[0])
                del self._waiting[0]
        except OSError as error:
            logger.error("spool_not_written waiting=%d error=%s", len(self._waiting), error.strerror)
            return False
        return True

    def _write(self, record: bytes) -> None:
        if self._file < 0 or self._size >= self._segment_bytes:
            self._open_next()
        written = os.write(self._file, record)
        self._size += written
        if written < len(record):
            # The disk is full in the middle of a record: the rest would follow no marker, so the whole goes to a new segment.
            os.close(self._file)
            self._file = -1
            raise OSError(errno.ENOSPC, "the disk took only a part of a record")

    def _open_next(self) -> None:
        number = max([*_segments(self._directory), load_position(self._directory).segment], default=0) + 1
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(_segment_path(self._directory, number), flags, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size = file, 0


class SpoolReader:
    """Takes events out, in order, at least once: after a crash it begins again behind the last `commit()`.

    Not for use by two threads at once. A directory that does not exist is an empty spool.
    """

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)
        #: Behind what was read, what was taken over, and what is on the disk as taken over.
        self._cursor = self._taken = self._stored = load_position(self._directory)
        #: Records that could not be read and were passed over, since this reader was made.
        self.damaged = 0

    def read(self, limit: int = READ_LIMIT) -> list[events.Message]:
        """The next events, at most `limit`; empty when there is nothing new."""
        found: list[events.Message] = []
        for event, behind in _events_from(self._directory, self._cursor):
            self._cursor = behind
            if event is None:
                self._note_damage(self._cursor)
                continue
            found.append(event)
            if len(found) >= limit:
                break
        return found

    def commit(self) -> None:
        """Remember durably that everything that `read()` has given is taken over, and delete the segments behind it.

        A segment goes once something in a later one was taken over; the newest always stays. On a full disk it is remembered in memory
        alone: what was taken over must not be taken again because of that, unless the process ends.
        """
        self._taken = self._cursor
        if self._taken == self._stored:
            return
        try:
            _store_position(self._directory, self._taken)
        except OSError as error:
            logger.error("spool_position_not_stored directory=%s error=%s", self._directory, error.strerror)
            return
        self._stored = self._taken
        for number in _segments(self._directory):
            if number < self._stored.segment:
                _segment_path(self._directory, number).unlink(missing_ok=True)

    def rewind(self) -> None:
        """Read again from the last `commit()`: what was read since could not be stored."""
        self._cursor = self._taken

    def reopen(self) -> None:
        """Between two writers: go on behind what was taken over; from the beginning where the directory was cleared away meanwhile."""
        stored = load_position(self._directory)
        if stored != self._stored or not _segment_path(self._directory, self._taken.segment).exists():
            self._cursor = self._taken = self._stored = stored

    def pending(self) -> bool:
        """Whether an event is not committed yet, read or unread. An incomplete last record does not count."""
        return any(event is not None for event, _ in _events_from(self._directory, self._taken))

    def _note_damage(self, place: Position) -> None:
        self.damaged += 1
        logger.error("spool_damaged directory=%s segment=%d before=%d", self._directory, place.segment, place.offset)


def _events_from(directory: Path, start: Position) -> Iterator[tuple[events.Message | None, Position]]:
    """Each event from here on with the place behind it. None stands for something damaged that was passed over."""
    numbers = [number for number in _segments(directory) if number >= start.segment]
    for number in numbers:
        offset = start.offset if number == start.segment else 0
        # A writer begins a segment only when it is done with the last one: then nothing there can be on its way.
        complete = number != numbers[-1]
        for event, end in _parse(_read_from(_segment_path(directory, number), offset), complete=complete):
            yield event, Position(number, offset + end)


def _parse(data: bytes, *, complete: bool) -> Iterator[tuple[events.Message | None, int]]:
    """The events of a segment's bytes with the places behind their records, None for what was passed over."""
    start = 0
    while start < len(data):
        found = _record_at(data, start)
        if found is None and not complete and _may_still_grow(data, start):
            return
        event, start = found or (None, _next_marker(data, start))
        yield event, start


def _record_at(data: bytes, start: int) -> tuple[events.Message | None, int] | None:
    """The record that begins here and its end. No event: the record is whole, but not one of ours. None: no record."""
    if len(data) < start + _HEADER.size:
        return None
    marker, length, checksum = _HEADER.unpack_from(data, start)
    end = start + _HEADER.size + length
    payload = data[start + _HEADER.size : end]
    if marker != MARKER or len(payload) < length or zlib.crc32(payload) != checksum:
        return None
    try:
        return events.decode(payload), end
    except events.BadMessage:
        return None, end


def _may_still_grow(data: bytes, start: int) -> bool:
    """Whether what begins here can be a record whose write is under way: shorter than it says, and nothing follows."""
    if data[start : start + len(MARKER)] != MARKER[: len(data) - start] or data.find(MARKER, start + 1) >= 0:
        return False
    if len(data) < start + _HEADER.size:
        return True
    _, length, _ = _HEADER.unpack_from(data, start)
    return len(data) < start + _HEADER.size + int(length)


def _next_marker(data: bytes, start: int) -> int:
    found = data.find(MARKER, start + 1)
    return len(data) if found < 0 else found


def _segments(directory: Path) -> list[int]:
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    return sorted(int(name[:-6]) for name in names if name.endswith(".spool") and name[:-6].isdecimal())


def _segment_path(directory: Path, number: int) -> Path:
    return directory / f"{number:010d}.spool"


def _read_from(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


def load_position(directory: Path) -> Position:
    """The last committed position; the beginning where there is none that can be read."""
    try:
        stored = (directory / "position").read_bytes()
        marker, segment, offset, checksum = _POSITION.unpack(stored)
    except (OSError, struct.error):
        return Position()
    return Position(segment, offset) if (marker, checksum) == (MARKER, zlib.crc32(stored[:-4])) else Position()


def _store_position(directory: Path, position: Position) -> None:
    head = _POSITION.pack(MARKER, position.segment, position.offset, 0)[:-4]
    temporary = directory / "position.new"
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, head + struct.pack(">I", zlib.crc32(head)))
        os.fsync(file)
    finally:
        os.close(file)
    temporary.replace(directory / "position")
