"""The namespace "md": pairing by code, and a client that unlinks itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.nodes import Node

if TYPE_CHECKING:
    from simulator.stream import Stream


def _md(stream: Stream, request: Node) -> None:
    if registration := request.child("link_code_companion_reg"):
        _link_by_code(stream, request, registration)
    elif removal := request.child("remove-companion-device"):
        _remove(stream, request, removal)
    else:
        stream.refuse(request, 501, "feature-not-implemented")


def _link_by_code(stream: Stream, request: Node, registration: Node) -> None:
    number = registration.jid("jid")
    stage = registration.get("stage")
    if stream.pairing is None:
        stream.refuse(request, 401, "not-authorized")
    elif stage == "companion_hello" and number:
        stream.pairing.take_hello(request, registration, number.user)
    elif stage == "companion_finish":
        stream.pairing.take_finish(request, registration)
    else:
        stream.refuse(request, 400, "bad-request")


def _remove(stream: Stream, request: Node, removal: Node) -> None:
    """A client may unlink its own account's companions, itself above all."""
    world, party = stream.world, stream.party
    target = world.party(removal.jid("jid"))
    if party is None or target is None or target.account != party.account or not target.device:
        stream.refuse(request, 403, "forbidden")
        return
    stream.reply(request)
    world.unlink(target, by_itself=target == party)


HANDLERS = {"md": _md}
