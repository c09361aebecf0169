"""django-q's Cluster, made to stop when it is told to, to leave nothing behind, and to keep one host alive.

What stock django-q 2 does when it is stopped or killed is in `docs/architecture.md`; here is what is done about it.

*One cluster, one host.* The queue is shared by every cluster, re-delivers what takes long and loses what is killed, so it cannot
say who hosts. Each cluster's sentinel therefore keeps one worker of its own for the host task, fed from a private queue that holds
that task and nothing else: whenever that process ends, for whatever reason, the next one starts. Two clusters are two hosts; who of
them runs which session is said by the leases alone.

*Stopping is a pipe.* Main alone holds the writing end. Closing it means stop, and a main that is killed closes it as well; the host
sees it either way, with no lock that a killed process could take along. Main watches the sentinel; everything else dies with its
parent (`PR_SET_PDEATHSIG`). A second pipe, whose writing end every descendant holds, tells main when the last of them is gone.

*Killed workers.* A worker that is killed while it waits holds the lock of the task queue, and no other worker would ever take a
task again. So after a violent death all short-task processes and their queues are replaced; the host does not notice.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import queue
import selectors
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from multiprocessing.sharedctypes import RawValue
from typing import Any

from django.db import connections
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.cluster import Cluster, Sentinel, get_mp_context
from django_q.conf import Conf
from django_q.monitor import save_task
from django_q.queues import Queue
from django_q.scheduler import scheduler
from django_q.worker import worker

log = logging.getLogger(__name__)

#: Seconds that a stop may take in all; platforms kill after ten. The host's own limit is shorter (`supervisor.STOP_WITHIN`).
STOP_WITHIN = 9.0
#: Seconds that the pusher may take to end: longer than it sleeps between two looks at the queue.
PUSHER_PATIENCE = 2.0
#: Seconds between two looks at the schedules, and between two probes.
SCHEDULE_EVERY, PROBE_EVERY = 15.0, 30.0
#: Seconds between two looks of main at its sentinel.
LOOK_EVERY = 0.5
#: Seconds without a probe that was run, after which the cluster gives up; the platform starts another.
GIVE_UP_AFTER = 300.0
#: Seconds before a host that ended at once is started again: doubled from the first to the second.
HOST_AGAIN_FIRST, HOST_AGAIN_MOST = 0.5, 30.0
#: A host that lived so long was a sound one.
HOST_WAS_SOUND = 30.0
PR_SET_PDEATHSIG = 1


class StopPipe:
    """Stop as a fact that every descendant can see: the writing end is closed."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def set(self) -> None:
        """Close the writing end; in a child, which inherited it: give it up, so that main's is the only one."""
        writer, self._writer = self._writer, -1
        if writer >= 0:
            os.close(writer)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it was told to stop, at the latest after `timeout` seconds."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._reader, selectors.EVENT_READ)
            return bool(selector.select(timeout))


class HostStop(StopPipe):
    """What a host waits for: the cluster's stop, or SIGTERM to the host's own process."""

    def __init__(self, cluster: StopPipe) -> None:
        super().__init__()
        self._cluster = cluster

    def wait(self, timeout: float | None = None) -> bool:
        with selectors.DefaultSelector() as selector:
            for reader in (self._reader, self._cluster._reader):
                selector.register(reader, selectors.EVENT_READ)
            return bool(selector.select(timeout))


#: The running cluster's, inherited by its children; None outside of a cluster of ours.
_stop: StopPipe | None = None
#: Set in the one process that may host.
_host_stop: HostStop | None = None
_probed_at = RawValue("d", 0.0)


def in_cluster() -> bool:
    """Whether this process belongs to a cluster of ours."""
    return _stop is not None


def host_stop() -> HostStop | None:
    """What the host waits for, in the process that is to host; None in any other."""
    return _host_stop


def note_probe() -> None:
    """A short task was run; called by `tasks.probe`."""
    _probed_at.value = time.monotonic()


class HostingCluster(Cluster):  # type: ignore[misc]
    """The cluster of `runhost`. `run()` is all there is to it."""

    def __init__(self) -> None:
        global _stop
        _stop = StopPipe()
        self._signals, self._signalled = os.pipe()
        self._anybody, self._here = os.pipe()
        super().__init__()

    def run(self) -> int:
        """Work until a signal or a failure; the exit status."""
        note_probe()
        connections.close_all()
        self._start_sentinel()
        status = self._watch()
        return max(status, self._end())

    def sig_handler(self, signum: int, frame: object) -> None:
        """Only tell the loop: what can be waiting here holds locks."""
        with contextlib.suppress(OSError):
            os.write(self._signalled, b"!")

    def _start_sentinel(self) -> None:
        self.stop_event, self.start_event = multiprocessing.Event(), multiprocessing.Event()
        arguments = (self.stop_event, self.start_event, self.cluster_id, self.broker, self.timeout)
        self.sentinel = get_mp_context().Process(target=_run_sentinel, name="sentinel", args=arguments)
        self.sentinel.start()
        os.close(self._here)
        log.info("worker_started", extra={"pid": self.pid, "workers": Conf.WORKERS})

    def _watch(self) -> int:
        """Until it is time to stop: 0 where somebody asked, else 1."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._signals, selectors.EVENT_READ)
            while True:
                if selector.select(LOOK_EVERY):
                    return 0
                # Asked, not waited for: the descriptor that would tell of its end is held open by its children as well.
                if not self.sentinel.is_alive():
                    log.critical("worker_sentinel_died", extra={"exitcode": self.sentinel.exitcode})
                    return 1
                if time.monotonic() - _probed_at.value > GIVE_UP_AFTER:
                    log.critical("worker_takes_no_tasks", extra={"seconds": GIVE_UP_AFTER})
                    return 1

    def _end(self) -> int:
        """Stop everything, the host cleanly; 0 where nothing had to be killed."""
        log.info("worker_stopping", extra={"pid": self.pid})
        assert _stop
        _stop.set()
        # In a thread, because the event's lock may be lost with a sentinel that was killed.
        threading.Thread(target=self.stop_event.set, daemon=True).start()
        deadline = time.monotonic() + STOP_WITHIN
        self.sentinel.join(STOP_WITHIN)
        clean = self.sentinel.exitcode == 0
        if self.sentinel.is_alive():
            log.error("worker_killed_what_did_not_stop", extra={"seconds": STOP_WITHIN})
            self.sentinel.kill()
            self.sentinel.join()
        # A host whose sentinel was killed is still closing its sockets; nothing may be left when main is gone.
        with selectors.DefaultSelector() as selector:
            selector.register(self._anybody, selectors.EVENT_READ)
            selector.select(max(0.0, deadline - time.monotonic()) + 0.5)
        log.info("worker_stopped", extra={"pid": self.pid})
        return 0 if clean else 1


def _run_sentinel(*arguments: Any) -> None:
    """The sentinel's process: it works inside its constructor."""
    HostingSentinel(*arguments)


class HostingSentinel(Sentinel):  # type: ignore[misc]
    """Keeps the workers, the pusher, the monitor and the host alive."""

    pusher: Any
    monitor: Any
    task_queue: Any
    result_queue: Any

    def start(self) -> None:
        _ignore_signals()
        _die_with_parent()
        assert _stop
        _stop.set()  # this process's copy of main's end
        self.host: Any = None
        self._host_started_at, self._host_delay, self._host_again_at = 0.0, HOST_AGAIN_FIRST, 0.0
        self._schedule_at = self._probe_at = 0.0
        super().start()

    def spawn_process(self, target: Callable[..., Any], *arguments: Any) -> Any:
        process = get_mp_context().Process(
            target=_run_short, args=(target, *arguments), name=getattr(target, "__name__", "worker"), daemon=True
        )
        if target is worker:
            process.timer = arguments[2]
            self.pool.append(process)
        process.start()
        return process

    def guard(self) -> None:
        """The sentinel's loop, as django-q's, but that it takes no lock which a killed process may have held."""
        self.start_event.set()
        while True:
            self._revive()
            self._keep_host()
            self._schedule()
            self._probe()
            if self.stop_event.wait(Conf.GUARD_CYCLE):
                break
        self.stop()

    def stop(self) -> None:
        """As django-q's, but that it does not wait for a pusher that sleeps ten seconds because there is no database."""
        self.event_out.set()
        self.pusher.join(PUSHER_PATIENCE)
        if self.pusher.is_alive():
            self.pusher.kill()
        super().stop()

    def _revive(self) -> None:
        dead = [process for process in (*self._short_workers(), self.pusher, self.monitor) if not process.is_alive()]
        if any(process.exitcode != 0 for process in dead):
            self._replace_all()
            return
        for process in dead:
            # A worker that has done its share, or a pusher that had no database.
            self.reincarnate(process)

    def _short_workers(self) -> list[Any]:
        return [process for process in self.pool if process is not self.host]

    def _replace_all(self) -> None:
        """New queues and new processes for the short tasks; what they had taken is delivered again after `retry`."""
        log.critical("worker_process_died", extra={"host_pid": self.host.pid if self.host else None})
        connections.close_all()
        for process in (*self._short_workers(), self.pusher, self.monitor):
            process.kill()
            process.join()
        self.pool = [self.host] if self.host else []
        for lost in (self.task_queue, self.result_queue):
            lost.cancel_join_thread()  # what waits in it for a lost lock must not keep this process from ending
        self.task_queue = Queue(maxsize=Conf.QUEUE_LIMIT)
        self.result_queue = Queue()
        for _ in range(self.pool_size):
            self.spawn_worker()
        self.monitor, self.pusher = self.spawn_monitor(), self.spawn_pusher()

    def _keep_host(self) -> None:
        """Start the host, and start it again: soon after a sound life, ever later after lives that ended at once."""
        now = time.monotonic()
        if self.host in self.pool and not self.host.is_alive():
            self.pool.remove(self.host)
            sound = now - self._host_started_at > HOST_WAS_SOUND
            self._host_delay = HOST_AGAIN_FIRST if sound else min(HOST_AGAIN_MOST, self._host_delay * 2)
            self._host_again_at = now + self._host_delay
            log.error("host_ended", extra={"exitcode": self.host.exitcode, "again_in": self._host_delay})
            self.host = None
        if self.host is None and now >= self._host_again_at and not self.stop_event.is_set():
            self._start_host(now)

    def _start_host(self, now: float) -> None:
        connections.close_all()
        self.host = get_mp_context().Process(target=_run_host, name="host", daemon=True)
        self._host_started_at = now
        self.pool.append(self.host)
        self.host.start()

    def _schedule(self) -> None:
        if time.monotonic() >= self._schedule_at:
            self._schedule_at = time.monotonic() + SCHEDULE_EVERY
            scheduler(broker=self.broker)

    def _probe(self) -> None:
        """Give the workers something to do; main sees whether they did it. It comes from here, not from the shared queue, because
        another cluster's workers prove nothing about ours."""
        if time.monotonic() >= self._probe_at:
            self._probe_at = time.monotonic() + PROBE_EVERY
            with contextlib.suppress(queue.Full):
                self.task_queue.put_nowait(_task("probe", save=False))


def _task(name: str, **options: Any) -> dict[str, Any]:
    """A task as django-q's pusher would hand it to a worker."""
    return {
        "id": uuid.uuid4().hex,
        "name": name,
        "func": f"sessions_app.tasks.{name}",
        "args": (),
        "kwargs": {},
        "started": timezone.now(),
        "cluster": Conf.CLUSTER_NAME,
        **options,
    }


def _run_short(target: Callable[..., Any], *arguments: Any) -> None:
    """A worker, the pusher or the monitor. None of them ends by a signal: it could be holding a lock of the others'."""
    _ignore_signals()
    _die_with_parent()
    target(*arguments)


class _Results:
    """The host's own way to record how its task ended. Through the common queue it would share a lock with the short workers."""

    def put(self, task: dict[str, Any]) -> None:
        save_task(task, get_broker())


def _run_host() -> None:
    """The process that hosts: django-q's worker with one task. It ends by itself, whatever happens to its parents."""
    global _host_stop
    assert _stop
    _host_stop = HostStop(_stop)
    signal.signal(signal.SIGTERM, lambda *_: _host_stop.set() if _host_stop else None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_at_last, args=(_stop,), name="leave-at-last", daemon=True).start()
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    if not _stop.wait(0):
        tasks.put(_task("host_sessions", timeout=-1))
    tasks.put("STOP")
    worker(tasks, _Results(), multiprocessing.Value("f", -1), -1)


def _leave_at_last(stop: StopPipe) -> None:
    """A host that hangs in its own stop would keep its sockets: it is ended, and its leases run out."""
    stop.wait()
    time.sleep(STOP_WITHIN)
    os._exit(1)


def _ignore_signals() -> None:
    # A signal to the whole group reaches everybody; main alone acts on it.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
