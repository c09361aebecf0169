"""The namespace "usync": who is on WhatsApp, under which LID, with which devices."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from simulator.nodes import Jid, Node
from simulator.state import Account

if TYPE_CHECKING:
    from simulator.stream import Stream
    from simulator.world import World


def _usync(stream: Stream, request: Node) -> None:
    query, wanted = request.child("usync", "query"), request.child("usync", "list")
    usync = request.child("usync")
    if not (query and wanted and usync and stream.party):
        stream.refuse(request, 400, "bad-request")
        return
    kinds = [child.tag for child in query.children]
    users = [_user(stream, user, kinds) for user in wanted.all("user")]
    attrs = {name: usync.get(name) for name in ("sid", "mode", "context", "last", "index") if usync.get(name)}
    results = [Node(kind) for kind in kinds]
    stream.reply(request, [Node("usync", {**attrs}, [Node("result", {}, results), Node("list", {}, users)])])


def _user(stream: Stream, user: Node, kinds: list[str]) -> Node:
    world = stream.world
    contact = user.child("contact")
    asked = user.jid("jid") or _jid_of_contact(contact)
    account = world.state.account_of(asked)
    content = []
    for kind in kinds:
        if kind == "contact":
            content.append(Node("contact", {"type": "in" if account else "out"}, contact.data if contact else None))
        elif account:
            content += _about(stream, account, asked or account.jid(), kind)
    shown = asked or Jid("0", "s.whatsapp.net")
    if contact and account:
        return Node("user", {"jid": account.lid_jid(), "pn_jid": account.jid()}, content)
    return Node("user", {"jid": shown}, content)


def _about(stream: Stream, account: Account, asked: Jid, kind: str) -> list[Node]:
    if kind == "devices":
        assert stream.party
        stream.world.state.add_watch(account.number, stream.party.account.number)
        return [device_list(stream.world, account)]
    if kind == "lid":
        return [Node("lid", {"val": account.lid_jid()})]
    if kind == "status":
        return [Node("status", {"t": "0"}, b"")]
    return []


def device_list(world: World, account: Account) -> Node:
    devices = []
    for device in world.state.devices(account.number):
        # Baileys leaves out companions without a key index.
        attrs = {"id": str(device.device), **({"key-index": str(device.device)} if device.device else {})}
        devices.append(Node("device", {**attrs}))
    return Node("devices", {}, [Node("device-list", {}, devices)])


def _jid_of_contact(contact: Node | None) -> Jid | None:
    """The contact's text is "+5511…" or "5511…@c.us"."""
    match = re.match(r"\+?(\d+)", contact.data.decode(errors="replace")) if contact else None
    return Jid(match[1], "s.whatsapp.net") if match else None


HANDLERS = {"usync": _usync}
