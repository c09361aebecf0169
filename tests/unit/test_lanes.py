"""Lanes: what one thread does for many sessions, and in which order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from django.db import OperationalError

from sessions_app.hosting.lanes import Lane

PATIENCE = 30.0


def nothing() -> None:
    pass


class Session:
    """A worker that notes what is done for it in a list that all share."""

    finished = False

    def __init__(self, key: int, done: list[str], work: Callable[[], None] = nothing) -> None:
        self.lane_key, self._done, self._work = key, done, work
        self.saving: Callable[[], None] = nothing

    def save(self) -> None:
        self._done.append(f"save {self.lane_key}")
        self.saving()

    def work(self) -> None:
        self._done.append(f"work {self.lane_key}")
        self._work()


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("test")
    yield lane
    lane.end(PATIENCE)
    assert not lane.alive


def busy(lane: Lane, done: list[str]) -> Callable[[], None]:
    """Have the lane work on a first session until the returned function is called."""
    begun, release = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert release.wait(PATIENCE)

    lane.wake(Session(0, done, work))
    assert begun.wait(PATIENCE)
    return release.set


def test_the_keys_of_all_that_were_woken_come_before_anybodys_work(lane: Lane) -> None:
    done: list[str] = []
    release = busy(lane, done)
    lane.wake(Session(1, done))
    lane.wake(Session(2, done))
    release()
    lane.end(PATIENCE)
    assert done == ["save 0", "work 0", "save 1", "save 2", "work 1", "work 2"]


def test_who_is_woken_again_and_again_is_served_once(lane: Lane) -> None:
    done: list[str] = []
    release, session = busy(lane, done), Session(1, done)
    for _ in range(3):
        lane.wake(session)
    release()
    lane.end(PATIENCE)
    assert done.count("work 1") == 1


@pytest.mark.parametrize("error", [OperationalError("the database is away"), ValueError("a fault of ours")])
def test_keys_that_cannot_be_saved_stop_neither_the_session_nor_its_neighbours(lane: Lane, error: Exception) -> None:
    done: list[str] = []
    release, broken = busy(lane, done), Session(1, done)

    def fail() -> None:
        raise error

    broken.saving = fail
    lane.wake(broken)
    lane.wake(Session(2, done))
    release()
    lane.end(PATIENCE)
    assert done[2:] == ["save 1", "save 2", "work 1", "work 2"]


def test_a_session_that_is_here_again_outlives_the_end_of_its_first_stay(lane: Lane) -> None:
    """Between two leases the same key has two workers, and the first is still woken by what was on its way."""
    done, served, passed = list[str](), threading.Event(), threading.Event()
    first, second = Session(1, done), Session(1, done, served.set)
    lane.wake(first)
    lane.wake(second)
    assert served.wait(PATIENCE)
    first.finished = True
    lane.wake(first)
    lane.wake(Session(2, done, passed.set))
    assert passed.wait(PATIENCE)
    served.clear()
    # By the clock of the lane alone.
    assert served.wait(PATIENCE)
