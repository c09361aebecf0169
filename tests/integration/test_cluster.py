"""The worker's processes: stopped, interrupted and killed, with a stand-in for the host."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
from django_q.models import Task
from django_q.tasks import async_task

from tests import postgres, processes
from tests.integration.cluster_child import SAYS

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(90)]

PATIENCE = 30.0
#: What a platform allows between SIGTERM and SIGKILL.
STOP_LIMIT = 10.0


class Worker:
    """A running worker, and what its processes say."""

    def __init__(self, kind: str, *limits: str, **environment: str) -> None:
        self._says, speaks = os.pipe()
        self._rest = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.cluster_child", kind, *limits],
            env=processes.environment(**{SAYS: str(speaks), "OXY_WORKERS": "2", **environment}),
            cwd=processes.ROOT,
            pass_fds=[speaks],
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(speaks)

    def expect(self, what: str, timeout: float = PATIENCE) -> int:
        """Wait until somebody says it; the speaker's pid."""
        for line in self.lines(timeout):
            said, pid = line.split()
            if said == what:
                return int(pid)
        raise AssertionError(f"nobody said {what}: all have gone")

    def until(self, what: str, timeout: float = PATIENCE) -> Iterator[str]:
        """What is said, up to and with this."""
        for line in self.lines(timeout):
            yield line
            if line.startswith(what):
                return

    def expect_nobody_left(self, timeout: float = STOP_LIMIT) -> list[str]:
        """Wait until no process of the worker is left; what they said until then, without pids."""
        return [line.split()[0] for line in self.lines(timeout)]

    def lines(self, timeout: float) -> Iterator[str]:
        deadline = time.monotonic() + timeout
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                yield line.decode()
                continue
            assert select.select([self._says], [], [], max(0, deadline - time.monotonic()))[0], "it took too long"
            if not (data := os.read(self._says, 4096)):
                return
            self._rest += data

    @property
    def main(self) -> psutil.Process:
        return psutil.Process(self.process.pid)

    @property
    def sentinel(self) -> psutil.Process:
        return self.main.children()[0]

    def short_processes(self, host: int) -> list[psutil.Process]:
        """Two workers, the monitor and the pusher, in this order."""
        children = sorted(self.sentinel.children(), key=lambda child: child.pid)
        return [child for child in children if child.pid != host]

    def end(self) -> None:
        for pid in psutil.pids():
            try:
                if os.getsid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(PATIENCE)
        assert self.process.stderr
        self.process.stderr.close()
        os.close(self._says)


Start = Callable[..., Worker]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Worker] = []

    def start(kind: str = "host", *limits: str, **environment: str) -> Worker:
        started.append(Worker(kind, *limits, **environment))
        return started[-1]

    yield start
    for worker in started:
        worker.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["to main", "to the whole group"])
def test_a_signal_ends_the_worker_cleanly(start: Start, number: int, send: Callable[[int, int], None]) -> None:
    worker = start()
    worker.expect("host-started")

    began = time.monotonic()
    send(worker.process.pid, number)

    assert worker.expect_nobody_left() == ["host-stopped"]
    assert worker.process.wait(1) == 0
    assert time.monotonic() - began < STOP_LIMIT
    assert Task.objects.get(name="host_sessions").success


@pytest.mark.parametrize("delay", [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2])
def test_a_signal_at_any_moment_of_the_start_ends_the_worker(start: Start, delay: float) -> None:
    worker = start()
    time.sleep(delay)

    os.kill(worker.process.pid, signal.SIGTERM)

    said = worker.expect_nobody_left()
    assert said in ([], ["host-started", "host-stopped"])
    worker.process.wait(1)


@pytest.mark.parametrize("victim", ["main", "sentinel"])
def test_a_killed_parent_leaves_no_process_and_the_host_ends_by_itself(start: Start, victim: str) -> None:
    worker = start()
    worker.expect("host-started")

    getattr(worker, victim).kill()

    assert worker.expect_nobody_left() == ["host-stopped"]
    assert worker.process.wait(1) != 0


def test_main_waits_for_a_host_whose_sentinel_was_killed(start: Start) -> None:
    """A container ends with its main process, and whatever is left in it ends unasked."""
    worker = start("slow")
    worker.expect("host-started")

    worker.sentinel.kill()

    worker.process.wait(STOP_LIMIT)
    assert worker.expect_nobody_left(timeout=0.2) == ["host-stopped"]


def test_main_and_sentinel_killed_at_once_leave_no_process(start: Start) -> None:
    worker = start()
    worker.expect("host-started")
    sentinel = worker.sentinel

    worker.main.kill()
    sentinel.kill()

    assert worker.expect_nobody_left() == ["host-stopped"]


def test_a_killed_host_is_started_again_and_the_rest_goes_on(start: Start) -> None:
    worker = start()
    host = worker.expect("host-started")
    short = worker.short_processes(host)

    os.kill(host, signal.SIGKILL)

    successor = worker.expect("host-started")
    assert successor != host
    assert worker.short_processes(successor) == short
    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.expect_nobody_left() == ["host-stopped"]
    assert worker.process.wait(1) == 0


def test_a_host_that_is_told_to_end_is_started_again(start: Start) -> None:
    worker = start()
    host = worker.expect("host-started")

    os.kill(host, signal.SIGTERM)

    assert worker.expect("host-stopped") == host
    assert worker.expect("host-started") != host


def test_a_host_that_fails_is_started_again(start: Start) -> None:
    worker = start("crash", "HOST_AGAIN_MOST=0.5")

    assert len({worker.expect("host-started") for _ in range(3)}) == 3


@pytest.mark.parametrize("position", range(4), ids=["a worker", "another worker", "the monitor", "the pusher"])
def test_short_tasks_go_on_after_a_kill_and_the_host_does_not_notice(start: Start, position: int) -> None:
    worker = start()
    host = worker.expect("host-started")
    async_task("tests.integration.cluster_child.note", "before")
    worker.expect("before")

    short = worker.short_processes(host)
    short[position].kill()

    # All of them are replaced. What they had taken by then comes again after `retry`; this task comes later.
    assert psutil.wait_procs(short, PATIENCE)[1] == []
    async_task("tests.integration.cluster_child.note", "after")
    worker.expect("after")
    assert psutil.Process(host).status() != psutil.STATUS_ZOMBIE
    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.expect_nobody_left() == ["host-stopped"]
    assert worker.process.wait(1) == 0


def test_a_host_task_from_the_queue_does_not_start_a_second_host(start: Start) -> None:
    worker = start()
    worker.expect("host-started")
    for name in ("sessions_app.tasks.host_sessions", "sessions_app.tasks.ensure_hosts"):
        async_task(name)
    # Two workers take tasks in turn: when both have done this one, the others are done.
    async_task("tests.integration.cluster_child.note", "after")
    async_task("tests.integration.cluster_child.note", "after")
    worker.expect("after")
    worker.expect("after")

    os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.expect_nobody_left() == ["host-stopped"]


def test_two_workers_on_one_queue_are_two_hosts(start: Start) -> None:
    first, second = start(), start()
    assert first.expect("host-started") != second.expect("host-started")


def test_a_host_that_does_not_stop_is_left_behind_by_nobody(start: Start) -> None:
    worker = start("hang", "STOP_WITHIN=2")
    worker.expect("host-started")

    os.kill(worker.process.pid, signal.SIGTERM)

    assert worker.expect_nobody_left() == []
    assert worker.process.wait(1) == 1


def test_a_worker_that_takes_no_tasks_gives_up_and_says_so(start: Start) -> None:
    worker = start("host", "GIVE_UP_AFTER=3", "PROBE_EVERY=0.5", "STOP_WITHIN=4")
    host = worker.expect("host-started")
    for process in worker.short_processes(host)[:2]:
        process.suspend()

    assert worker.expect_nobody_left(PATIENCE) == ["host-stopped"]
    assert worker.process.wait(1) == 1
    assert worker.process.stderr
    assert "worker_takes_no_tasks" in worker.process.stderr.read()


@pytest.fixture
def database() -> Iterator[postgres.Server]:
    """A server of this test's own, which it may stop."""
    with postgres.server() as server:
        manage("migrate", "--verbosity=0", database=server)
        yield server


def manage(*arguments: str, database: postgres.Server) -> None:
    environment = processes.environment(DATABASE_URL=database.url)
    subprocess.run([sys.executable, "manage.py", *arguments], env=environment, cwd=processes.ROOT, check=True)


@pytest.mark.only_postgresql
@pytest.mark.slow
def test_a_database_that_goes_away_ends_no_host_and_short_tasks_go_on_when_it_is_back(
    start: Start, database: postgres.Server
) -> None:
    worker = start(DATABASE_URL=database.url)
    worker.expect("host-started")
    assert worker.process.stderr

    database.stop()
    assert any("Failed to pull task" in line for line in worker.process.stderr)
    database.start()

    note = "from django_q.tasks import async_task; async_task('tests.integration.cluster_child.note', 'after')"
    manage("shell", "--verbosity=0", "-c", note, database=database)
    assert [line.split()[0] for line in worker.until("after")] == ["after"]


@pytest.mark.only_postgresql
def test_a_worker_ends_in_time_while_the_database_is_away(start: Start, database: postgres.Server) -> None:
    worker = start(DATABASE_URL=database.url)
    worker.expect("host-started")
    assert worker.process.stderr
    database.stop()
    assert any("Failed to pull task" in line for line in worker.process.stderr)

    os.kill(worker.process.pid, signal.SIGTERM)

    assert worker.expect_nobody_left() == ["host-stopped"]
