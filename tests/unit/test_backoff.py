"""Delays between attempts."""

from __future__ import annotations

import random
from itertools import islice

from sessions_app.hosting.backoff import FIRST_DELAY, JITTER, LONGEST_DELAY, delays


def test_the_first_retry_comes_after_three_seconds():
    assert next(delays()) == FIRST_DELAY == 3.0


def test_delays_grow_to_five_minutes_and_never_beyond():
    found = list(islice(delays(rng=random.Random(1)), 40))
    assert all(0 < delay <= LONGEST_DELAY for delay in found)
    assert min(found[15:]) >= LONGEST_DELAY * JITTER


def test_two_sessions_that_fell_together_do_not_return_together():
    assert list(islice(delays(rng=random.Random(1)), 5))[1:] != list(islice(delays(rng=random.Random(2)), 5))[1:]
