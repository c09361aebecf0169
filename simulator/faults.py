"""Named misbehaviours of the server, each switched on and off by name."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.stream import Stream
    from simulator.world import World


class Faults:
    """What goes wrong at the moment. Attributes are read by the rest of the server; methods are for whoever causes trouble."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.refs = 6
        self.ref_life: float | None = None
        self.copies = 1
        self.delay = 0.0
        self.device_limit = 4
        self.asks_for_passkey = False
        self.acks_are_off = False

    def refusal(self, number: str) -> dict[str, Any] | None:
        return None

    def is_deaf(self, stream: Stream) -> bool:
        return False
