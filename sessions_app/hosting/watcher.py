"""Notices commits in live stores: one thread looks at all of them, many times a second.

`PRAGMA data_version` on an open reader is exact and costs 6 µs. That is for stores that have changed lately. For the others, which are
most, the status of their write-ahead log is enough, at half of that: a commit changes its time of modification, unless that is
coarse and another write was just before; then the store is one of those that have changed lately.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

#: Between two looks: half of it is what a change waits on average.
LOOK_EVERY = 0.04
#: A store that has not changed for so many seconds is quiet: its log is looked at in every second round, and itself in every 25th, for
#: file systems that keep no time of modification. What messages change is not left to these looks, because their events wake the host.
QUIET_AFTER, LOG_ROUNDS, FULL_ROUNDS = 2.0, 2, 25


class Watcher:
    """Calls back, on its own thread, when a watched file was committed to. `watch` and `forget` are safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[int, _Watched] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def watch(self, key: int, path: Path, changed: Callable[[], None]) -> None:
        """Watch the live store at `path` under `key`; `changed` is called once at the start."""
        watched = _Watched(path, changed)
        with self._lock:
            self._watched[key] = watched
        changed()

    def forget(self, key: int) -> None:
        with self._lock:
            watched = self._watched.pop(key, None)
        if watched:
            watched.close()

    def end(self) -> None:
        self._stopping.set()
        self._thread.join(2)

    def _run(self) -> None:
        rounds = 0
        while not self._stopping.wait(LOOK_EVERY):
            rounds += 1
            with self._lock:
                everything = list(self._watched.values())
            for number, watched in enumerate(everything, rounds):
                if watched.is_due(number):
                    watched.look()


class _Watched:
    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._changed, self._lock = changed, threading.Lock()
        self._log, self._log_status = f"{path}-wal", (0, 0)
        self.stirred_at = time.monotonic()
        # Opened for reading and writing: a reader of a WAL file must be able to map its index.
        self._connection: sqlite3.Connection | None = sqlite3.connect(path, timeout=1, check_same_thread=False)
        self._cursor = self._connection.cursor()
        self._version = self._read()

    def is_due(self, number: int) -> bool:
        """Whether to look, in a round of this number."""
        if self.stirred_at > time.monotonic() - QUIET_AFTER or number % FULL_ROUNDS == 0:
            return True
        return number % LOG_ROUNDS == 0 and self._log_stirs()

    def _log_stirs(self) -> bool:
        """Whether something was done to the log since this was asked last. What was written may count as committed only a moment later, so
        the store is looked at for a while then."""
        try:
            found = os.stat(self._log)
        except OSError:
            return True
        before, self._log_status = self._log_status, (found.st_mtime_ns, found.st_size)
        if before == self._log_status:
            return False
        self.stirred_at = time.monotonic()
        return True

    def look(self) -> None:
        with self._lock:
            if self._connection is None:
                return
            try:
                version = self._read()
            except sqlite3.Error:
                log.debug("live_store_not_readable_now")
                return
        if version != self._version:
            self._version, self.stirred_at = version, time.monotonic()
            self._changed()

    def close(self) -> None:
        with self._lock:
            if self._connection:
                self._connection.close()
                self._connection = None

    def _read(self) -> int:
        # To the last row: a statement that is left in the middle of its answer would hold the file.
        ((version,),) = self._cursor.execute("PRAGMA data_version").fetchall()
        return int(version)
