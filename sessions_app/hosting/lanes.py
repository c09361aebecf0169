"""A few threads that share the sessions of a host: each session belongs to one lane, and only that lane touches it.

So a runner needs no lock, its events keep their order, and the number of database connections is the number of lanes. A lane calls
`runner.work()` when something was posted to it, and about twice a second for its timers. `work()` leaves what it could not do
where it is when the database is away, and the next call tries again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Protocol

from django.db import close_old_connections, connections
from django.utils import translation

from sessions_app.hosting.away import DATABASE_AWAY

log = logging.getLogger(__name__)

TICK = 0.5


def first_line(error: Exception) -> str:
    """What a database said, for the log: its name and first line, which hold no parameter."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"


class Worker(Protocol):
    """What a lane serves: `work()` does all that is due, `finished` says that it can be dropped."""

    lane_key: int
    finished: bool

    def work(self) -> None: ...


class Lane:
    """One thread and its workers."""

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Worker | None] = queue.SimpleQueue()
        self._workers: dict[int, Worker] = {}
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wake(self, worker: Worker) -> None:
        """Have `worker.work()` called soon; safe in any thread."""
        self._queue.put(worker)

    def end(self, timeout: float) -> None:
        """Finish what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        # A thread begins in OXY_LANGUAGE; what lanes log and write down is English, and translated where it is shown.
        translation.deactivate_all()
        try:
            next_tick = time.monotonic() + TICK
            while True:
                try:
                    worker = self._queue.get(timeout=max(0.0, next_tick - time.monotonic()))
                    if worker is None:
                        return
                    self._serve(worker)
                except queue.Empty:
                    pass
                if time.monotonic() >= next_tick:
                    self._tick()
                    next_tick = time.monotonic() + TICK
        finally:
            connections.close_all()

    def _tick(self) -> None:
        close_old_connections()
        for worker in list(self._workers.values()):
            self._serve(worker)

    def _serve(self, worker: Worker) -> None:
        try:
            worker.work()
        except DATABASE_AWAY as error:
            # The connection may be a dead one: the next attempt opens its own.
            connections.close_all()
            log.warning("database_unavailable", extra={"error": first_line(error)})
        except Exception:
            # A fault of one session must not take its neighbours down.
            log.exception("work_failed", extra={"worker": repr(worker)})
        if worker.finished:
            self._workers.pop(worker.lane_key, None)
        else:
            self._workers[worker.lane_key] = worker


class Lanes:
    """All lanes of a host."""

    def __init__(self, count: int) -> None:
        self._lanes = [Lane(f"lane-{number}") for number in range(count)]

    def wake(self, worker: Worker) -> None:
        self._lanes[worker.lane_key % len(self._lanes)].wake(worker)

    def end(self, timeout: float) -> None:
        for lane in self._lanes:
            lane.end(timeout)

    @property
    def alive(self) -> bool:
        return all(lane.alive for lane in self._lanes)
