"""How many sessions each host should have: a rule that spreads them evenly, moves as few as it can, and comes to rest.

The *level* is the smallest number for which all sessions fit when no host takes more than that, nor more than its capacity. A host
claims up to the level and leaves the rest to the others; it gives one up only when it is above the level while another is below it. So each
move brings the sum of what is above the level down by one, nothing that was moved moves again while the hosts stay the same, and a
host that joins receives just its share.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What a host runs, and what it can."""

    sessions: int
    capacity: int

    def room(self, level: int) -> int:
        """How many more it may claim."""
        return max(0, min(level, self.capacity) - self.sessions)


def level(capacities: Iterable[int], sessions: int) -> int:
    """The level for so many sessions; the largest capacity where they do not all fit."""
    most = sorted(capacities)
    left = sessions
    for number, capacity in enumerate(most):
        hosts = len(most) - number
        if capacity * hosts >= left:
            return -(-left // hosts)
        left -= capacity
    return most[-1] if most else 0


def gives_one_up(own: Load, others: Iterable[Load]) -> bool:
    """Whether a host with this load should give one session to another host now."""
    rest = list(others)
    fair = level([own.capacity, *(load.capacity for load in rest)], own.sessions + sum(load.sessions for load in rest))
    return own.sessions > fair and any(load.room(fair) for load in rest)
