"""Who encrypts for a session waits for whoever has begun, and not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from sessions_app.engine import turns
from sessions_app.engine.turns import Turns


def in_thread(work: Callable[[], object]) -> threading.Event:
    """Set when `work` has returned."""
    done = threading.Event()

    def run() -> None:
        work()
        done.set()

    threading.Thread(target=run, daemon=True).start()
    return done


def test_a_second_one_begins_when_the_first_has_ended() -> None:
    line = Turns()
    line.begin("first")
    second = in_thread(lambda: line.begin("second"))
    assert not second.wait(0.1)
    line.end("somebody else")
    assert not second.wait(0.1)
    line.end("first")
    assert second.wait(5)


def test_never_are_two_at_it_at_once() -> None:
    line, inside, most = Turns(), [], []

    def work(number: int) -> None:
        with line.turn(number):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.001)
            inside.remove(number)

    for done in [in_thread(lambda n=number: work(n)) for number in range(30)]:
        assert done.wait(20)
    assert max(most) == 1


def test_one_that_never_ends_holds_up_the_next_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.2)
    line = Turns()
    line.begin("for ever")
    second = in_thread(lambda: line.begin("second"))
    assert second.wait(5)
    line.end("for ever")
    third = in_thread(lambda: line.begin("third"))
    assert not third.wait(0.05)


def test_an_end_that_failed_is_an_end() -> None:
    line = Turns()
    with pytest.raises(ValueError, match="no"), line.turn("first"):
        raise ValueError("no")
    assert in_thread(lambda: line.begin("second")).wait(5)
