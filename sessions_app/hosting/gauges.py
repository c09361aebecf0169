"""What a host measures of itself, for its row: the lag of the write-through, and the memory of its engines."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterable
from pathlib import Path


class Gauges:
    """Any thread may call it. A lag runs from the moment a change of a live store was seen to the moment it was in the vault."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[int, float] = {}
        self._worst = 0.0

    def noticed(self, key: int) -> None:
        with self._lock:
            self._since.setdefault(key, time.monotonic())

    def written(self, key: int) -> None:
        with self._lock:
            if since := self._since.pop(key, 0.0):
                self._worst = max(self._worst, time.monotonic() - since)

    def lag_ms(self) -> int:
        """The longest lag since the last call, in milliseconds; one that is still running counts."""
        with self._lock:
            running = time.monotonic() - min(self._since.values(), default=time.monotonic())
            worst, self._worst = max(self._worst, running), 0.0
        return round(worst * 1000)

    def forget(self, key: int) -> None:
        """The session is not run here any more: nobody will write its changes."""
        with self._lock:
            self._since.pop(key, None)


def memory(pids: Iterable[int]) -> int:
    """Bytes of memory that processes hold, 0 for each that is gone or where /proc is missing."""
    return sum(map(_memory_of, pids))


def free(path: Path) -> int | None:
    """Bytes that are free on the path's disk; None where nobody can tell."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _memory_of(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
