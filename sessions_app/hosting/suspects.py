"""Which sessions may be the ones that crash their engines, and how many of them may share one.

An engine that crashes does not say for whom. So each of its sessions gets a strike, and those with more strikes share with fewer: at two,
with a few; at three, with nobody. A session whose engine crashes while it runs there alone is the one. Strikes are forgotten after ten
minutes, and a process that somebody killed (SIGKILL: the system when memory is short, or a person) gives none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

MEMORY = 600.0
#: From so many strikes on a session shares with a few, and with nobody.
FEW_AT, ALONE_AT = 2, 3


class Suspects:
    """The strikes of a host's sessions. Not for two threads at once."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._strikes: dict[str, list[float]] = {}

    def strike(self, sessions: Iterable[str]) -> None:
        """The engine of these sessions has crashed."""
        now = self._clock()
        for session in sessions:
            self._strikes[session] = [*self._recent(session), now]

    def strikes(self, session: str) -> int:
        return len(self._recent(session))

    def _recent(self, session: str) -> list[float]:
        return [at for at in self._strikes.get(session, []) if self._clock() - at < MEMORY]


def may_share(strikes: int, capacity: int) -> int:
    """How many sessions with so many strikes may be on one engine, which takes `capacity` without any."""
    if strikes >= ALONE_AT:
        return 1
    return math.isqrt(capacity) if strikes >= FEW_AT else capacity
