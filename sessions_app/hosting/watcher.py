"""Notices commits in live stores: `PRAGMA data_version` on an open reader costs microseconds, so one thread looks at all of them."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

#: Between two looks: half of it is what a change waits on average.
LOOK_EVERY = 0.04
#: A store that has not changed for so many seconds is looked at in every third round: a host has hundreds of those. What
#: messages change is not left to these looks anyway, because their events wake the host.
QUIET_AFTER, QUIET_ROUNDS = 2.0, 3


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
            quiet_since = time.monotonic() - QUIET_AFTER
            for number, watched in enumerate(everything, rounds):
                if watched.changed_at > quiet_since or number % QUIET_ROUNDS == 0:
                    watched.look()


class _Watched:
    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._changed, self._lock = changed, threading.Lock()
        self.changed_at = time.monotonic()
        # Opened for reading and writing: a reader of a WAL file must be able to map its index.
        self._connection: sqlite3.Connection | None = sqlite3.connect(path, timeout=1, check_same_thread=False)
        self._cursor = self._connection.cursor()
        self._version = self._read()

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
            self._version, self.changed_at = version, time.monotonic()
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
