"""Named deadlines of a session."""

from __future__ import annotations

import pytest

from sessions_app.hosting.deadlines import Deadlines


def test_what_is_due_is_called_once_the_oldest_first():
    called, deadlines = [], Deadlines()
    deadlines.set("second", -1.0, lambda: called.append("second"))
    deadlines.set("first", -2.0, lambda: called.append("first"))
    deadlines.set("later", 60.0, lambda: called.append("later"))
    deadlines.run_due()
    deadlines.run_due()
    assert called == ["first", "second"]
    assert "later" in deadlines


def test_one_that_fails_stays_and_one_that_sets_itself_anew_stays_too():
    calls, deadlines = [], Deadlines()

    def fail() -> None:
        calls.append("failed")
        raise OSError

    deadlines.set("a", 0.0, fail)
    for _ in range(2):
        with pytest.raises(OSError):
            deadlines.run_due()
    assert calls == ["failed", "failed"]
    deadlines.set("a", 0.0, lambda: deadlines.set("a", 60.0, fail))
    deadlines.run_due()
    assert "a" in deadlines


def test_one_is_brought_forward_and_never_put_off():
    called, deadlines = [], Deadlines()
    deadlines.set("a", 60.0, lambda: called.append("a"))
    deadlines.sooner("a", -1.0)
    deadlines.sooner("a", 90.0)
    deadlines.sooner("b", 0.0)
    deadlines.run_due()
    assert called == ["a"]
    assert "b" not in deadlines


def test_one_that_another_cancels_is_not_called():
    called, deadlines = [], Deadlines()
    deadlines.set("first", -2.0, lambda: deadlines.cancel("second"))
    deadlines.set("second", -1.0, lambda: called.append("second"))
    deadlines.run_due()
    assert called == []
