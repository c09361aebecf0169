"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from collections.abc import Iterator

#: Seconds before the first retry, and the most that a retry ever waits.
FIRST_DELAY, LONGEST_DELAY = 3.0, 300.0
GROWTH = 1.8
#: Each delay is drawn from this part of itself up to itself, so that sessions which fell together do not return together.
JITTER = 0.5


def delays(*, rng: random.Random | None = None) -> Iterator[float]:
    """Seconds to wait before the first, second, ... retry; never ends."""
    draw = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret
    delay = FIRST_DELAY
    while True:
        yield delay * draw.uniform(JITTER, 1.0) if delay > FIRST_DELAY else delay
        delay = min(delay * GROWTH, LONGEST_DELAY)
