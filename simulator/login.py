"""Logging in with a registered device: who is let in, who is refused, and what the one who was there before hears."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from simulator.nodes import Attr, Node
from simulator.world import Party

if TYPE_CHECKING:
    from simulator.stream import Stream

LOGGED_OUT = 401


def begin(stream: Stream, payload: Any) -> None:
    """Answer a login payload."""
    world = stream.world
    number = str(payload.username)
    if refusal := world.faults.refusal(number):
        stream.fail(**refusal)
        return
    account = world.state.account(number)
    device = world.state.device(number, payload.device) if account else None
    # Device 0 is the simulator's own phone. Its Noise key is empty, so that nobody has it.
    if account is None or device is None or device.noise != stream.noise_key:
        stream.fail(LOGGED_OUT)
        return
    party = Party(account, device.device)
    if older := world.stream_of(party.jid):
        older.stream_error(conflict="replaced")
    stream.party = party
    world.connections.opened(stream.number, str(party.jid))
    attrs: dict[str, Attr] = {"t": str(int(time.time())), "props": "27", "location": "sim"}
    stream.send(Node("success", {**attrs, "lid": account.lid_jid(party.device)}))
    if not payload.passive:
        world.attach(party, stream)
