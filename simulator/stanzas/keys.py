"""The namespace "encrypt": counting, storing and handing out prekeys."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from simulator.curve import signature_is_valid
from simulator.nodes import SERVER, Attr, Node
from simulator.world import Party

if TYPE_CHECKING:
    from simulator.stream import Stream
    from simulator.world import World

KEY_TYPE = b"\x05"
#: With fewer left, the server tells the device, so that it uploads more.
FEW_PREKEYS = 10


def _encrypt(stream: Stream, request: Node) -> None:
    party = stream.party
    assert party
    if request.child("count"):
        count = stream.world.state.count_prekeys(party.account.number, party.device)
        stream.reply(request, [Node("count", {"value": str(count)})])
    elif wanted := request.child("key"):
        stream.reply(request, [Node("list", {}, [bundle(stream.world, user) for user in wanted.all("user")])])
    elif request.child("list") or request.child("rotate"):
        _upload(stream, request, party)
    elif request.child("digest"):
        _digest(stream, request, party)
    else:
        stream.refuse(request, 501, "feature-not-implemented")


def _upload(stream: Stream, request: Node, party: Party) -> None:
    """New prekeys. The signed one must carry the signature of the identity that was registered."""
    state, number = stream.world.state, party.account.number
    device = state.device(number, party.device)
    skey = request.child("skey") or request.child("rotate", "skey")
    identity = request.child("identity")
    if device is None or skey is None or (identity and identity.data != device.identity):
        stream.refuse(request, 400, "bad-request")
        return
    key_id, public, signature = (_data(skey, tag) for tag in ("id", "value", "signature"))
    if not signature_is_valid(device.identity, KEY_TYPE + public, signature):
        stream.refuse(request, 406, "not-acceptable")
        return
    listed = request.child("list")
    prekeys = [
        (int.from_bytes(_data(key, "id"), "big"), _data(key, "value")) for key in (listed.children if listed else [])
    ]
    if any(len(value) != 32 for _, value in prekeys):
        stream.refuse(request, 400, "bad-request")
        return
    state.set_signed_prekey(number, party.device, int.from_bytes(key_id, "big"), public, signature)
    state.add_prekeys(number, party.device, prekeys)
    stream.reply(request)


def _digest(stream: Stream, request: Node, party: Party) -> None:
    # Baileys asks whether the server still has its keys, and reads no more than whether it is an error.
    if stream.world.state.count_prekeys(party.account.number, party.device):
        stream.reply(request, [Node("digest", {}, [])])
    else:
        stream.refuse(request, 404, "item-not-found")


def bundle(world: World, user: Node) -> Node:
    """The key bundle of the device that `user` names, a one-time prekey of its own in it as long as there are any."""
    jid = user.jid("jid")
    party = world.party(jid)
    device = world.state.device(party.account.number, party.device) if party else None
    if party is None or device is None or jid is None:
        return Node("user", user.attrs, [Node("error", {"code": "404", "text": "item-not-found"})])
    content = [
        Node("registration", {}, device.registration.to_bytes(4, "big")),
        Node("type", {}, KEY_TYPE),
        Node("identity", {}, device.identity),
    ]
    if prekey := world.state.take_prekey(device.number, device.device):
        content.append(Node("key", {}, [Node("id", {}, prekey[0].to_bytes(3, "big")), Node("value", {}, prekey[1])]))
    skey = [
        Node("id", {}, device.skey_id.to_bytes(3, "big")),
        Node("value", {}, device.skey),
        Node("signature", {}, device.skey_signature),
    ]
    content.append(Node("skey", {}, skey))
    _warn_when_few(world, party)
    return Node("user", {"jid": jid, "t": str(int(time.time()))}, content)


def _warn_when_few(world: World, party: Party) -> None:
    left = world.state.count_prekeys(party.account.number, party.device)
    if left == FEW_PREKEYS - 1 or not left:
        attrs: dict[str, Attr] = {"from": SERVER, "type": "encrypt", "id": world.new_id(), "t": str(int(time.time()))}
        world.post(party, Node("notification", {**attrs}, [Node("count", {"value": str(left)})]))


def _data(node: Node, tag: str) -> bytes:
    child = node.child(tag)
    return child.data if child else b""


HANDLERS = {"encrypt": _encrypt}
