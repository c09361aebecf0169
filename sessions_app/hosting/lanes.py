"""A few threads that share the sessions of a host: each session belongs to one lane, and only that lane touches it.

So a runner needs no lock, its events keep their order, and the number of database connections is the number of lanes. A lane calls
`runner.work()` when something was posted to it, and about twice a second for its timers. `work()` leaves what it could not do
where it is when the database is away, and the next call tries again.

Keys come first: before a lane goes on with what one session has to tell and to show, it has the keys of all that were woken meanwhile
written through (`runner.save()`). A message can be late, a key that is lost with its disk cannot be had again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
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
    """What a lane serves: `save()` does what must not wait for other workers, `work()` all that is due, `finished` says that it can be
    dropped."""

    lane_key: int
    finished: bool

    def save(self) -> None: ...

    def work(self) -> None: ...


class Lane:
    """One thread and its workers."""

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Worker | None] = queue.SimpleQueue()
        self._workers: dict[int, Worker] = {}
        #: Who was woken and not served since, in that order.
        self._due: dict[Worker, None] = {}
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def wake(self, worker: Worker) -> None:
        """Have `worker.save()` called at once, and `worker.work()` soon; safe in any thread."""
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
            while self._due or not self._ending:
                self._listen(0.0 if self._due else next_tick - time.monotonic())
                if self._due:
                    self._serve(next(iter(self._due)))
                if time.monotonic() >= next_tick:
                    self._tick()
                    next_tick = time.monotonic() + TICK
        finally:
            connections.close_all()

    def _listen(self, patience: float = 0.0) -> None:
        """Take in who was woken by now, waiting for the first for so many seconds."""
        try:
            self._admit(self._queue.get(timeout=max(0.0, patience)))
            # No more than there are now: whoever comes meanwhile must not keep those from being served.
            for _ in range(self._queue.qsize()):
                self._admit(self._queue.get_nowait())
        except queue.Empty:
            return

    def _admit(self, worker: Worker | None) -> None:
        if worker is None:
            self._ending = True
        else:
            self._due[worker] = None
            self._do(worker, worker.save)

    def _tick(self) -> None:
        close_old_connections()
        for worker in list(self._workers.values()):
            self._listen()
            self._serve(worker)

    def _serve(self, worker: Worker) -> None:
        self._due.pop(worker, None)
        self._do(worker, worker.work)
        if not worker.finished:
            self._workers[worker.lane_key] = worker
        elif self._workers.get(worker.lane_key) is worker:
            del self._workers[worker.lane_key]

    def _do(self, worker: Worker, action: Callable[[], None]) -> None:
        try:
            action()
        except DATABASE_AWAY as error:
            # The connection may be a dead one: the next attempt opens its own.
            connections.close_all()
            log.warning("database_unavailable", extra={"error": first_line(error)})
        except Exception:
            # A fault of one session must not take its neighbours down.
            log.exception("work_failed", extra={"worker": repr(worker)})


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
