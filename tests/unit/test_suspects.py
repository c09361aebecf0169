"""Strikes: who shares an engine with whom after crashes."""

from __future__ import annotations

import pytest

from sessions_app.hosting.suspects import MEMORY, Suspects, may_share


def test_a_strike_is_remembered_for_ten_minutes():
    now = [0.0]
    suspects = Suspects(clock=lambda: now[0])
    suspects.strike(["shop", "desk"])
    now[0] = MEMORY / 2
    suspects.strike(["shop"])
    assert (suspects.strikes("shop"), suspects.strikes("desk"), suspects.strikes("other")) == (2, 1, 0)
    now[0] = MEMORY + 1
    assert (suspects.strikes("shop"), suspects.strikes("desk")) == (1, 0)


@pytest.mark.parametrize(("strikes", "share"), [(0, 50), (1, 50), (2, 7), (3, 1), (9, 1)])
def test_the_more_strikes_the_fewer_share_an_engine(strikes, share):
    assert may_share(strikes, 50) == share


def test_a_crasher_among_fifty_is_alone_after_three_crashes_and_few_were_with_it():
    suspects, engine = Suspects(), [f"s{n}" for n in range(50)]
    sizes = []
    while len(engine) > 1:
        suspects.strike(engine)
        sizes.append(len(engine))
        engine = engine[: may_share(suspects.strikes("s0"), 50)]
    assert sizes == [50, 50, 7]
