"""Small questions of a client that have one answer: pings, privacy, media, properties, app state, and the like."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from simulator import media
from simulator.nodes import Attr, Node

if TYPE_CHECKING:
    from simulator.stream import Stream

PRIVACY = ("readreceipts", "profile", "status", "online", "last", "groupadd", "calladd", "messages", "stickers")
NO_HASH = "none"


def _ping(stream: Stream, request: Node) -> None:
    stream.reply(request)


def _passive(stream: Stream, request: Node) -> None:
    party = stream.party
    assert party
    stream.reply(request)
    if request.child("active"):
        if not stream.world.is_attached(party, stream):
            stream.world.attach(party, stream)
            stream.world.companion_arrived(party)
    else:
        stream.world.detach(party, stream)


def _privacy(stream: Stream, request: Node) -> None:
    if request.child("tokens"):
        _privacy_tokens(stream, request)
        return
    categories = [
        Node("category", {"name": name, "value": "match_last_seen" if name == "online" else "all"}) for name in PRIVACY
    ]
    stream.reply(request, [Node("privacy", {}, categories)])


def _privacy_tokens(stream: Stream, request: Node) -> None:
    """A token of trust for another account: it is passed on to that account's devices."""
    world, party = stream.world, stream.party
    assert party
    stream.reply(request)
    tokens = request.child("tokens")
    for token in tokens.children if tokens else []:
        if peer := world.state.account_of(token.jid("jid")):
            issued = Node(
                "token", {"type": "trusted_contact", "t": token.get("t")}, b"trust-" + party.account.number.encode()
            )
            attrs: dict[str, Attr] = {
                "from": party.account.jid(),
                "sender_lid": party.account.lid_jid(),
                "type": "privacy_token",
            }
            for receiver in world.parties(peer):
                note = Node(
                    "notification",
                    {**attrs, "id": world.new_id(), "t": str(int(time.time()))},
                    [Node("tokens", {}, [issued])],
                )
                world.post(receiver, note)


def _media(stream: Stream, request: Node) -> None:
    attrs = {"auth": media.AUTH, "ttl": "3600", "auth_ttl": "3600", "max_buckets": "12", "max_manual_retry": "3"}
    stream.reply(request, [Node("media_conn", {**attrs}, [Node("host", {"hostname": media.HOST})])])


def _properties(stream: Stream, request: Node) -> None:
    stream.reply(request, [Node("props", {"version": "1", "protocol": "2", "hash": NO_HASH, "refresh": "86400"}, [])])


def _blocklist(stream: Stream, request: Node) -> None:
    stream.reply(request, [Node("list", {"dhash": NO_HASH}, [])])


def _picture(stream: Stream, request: Node) -> None:
    stream.refuse(request, 404, "item-not-found")


def _app_state(stream: Stream, request: Node) -> None:
    """The collections as the phone made them; what a client changes is acknowledged, and not kept."""
    world, party = stream.world, stream.party
    assert party
    sync, phone = request.child("sync"), world.phones[party.account.number]
    answers = []
    for collection in sync.all("collection") if sync else []:
        name, version = collection.get("name"), int(collection.get("version") or 0)
        patch = phone.app_state_patch(name) if not version else None
        content = [Node("patches", {}, [Node("patch", {}, patch)])] if patch else None
        version += 1 if patch or collection.child("patch") else 0
        answers.append(Node("collection", {"name": name, "version": str(version), "type": "result"}, content))
    stream.reply(request, [Node("sync", {}, answers)])


def _lists(stream: Stream, request: Node) -> None:
    """Namespaces where an empty result says "nothing there" or "done"."""
    stream.reply(request)


def _status(stream: Stream, request: Node) -> None:
    if request.get("type") == "get":
        stream.reply(request, [Node("privacy", {}, [Node("list", {"type": "contacts", "default": "true"}, [])])])
    else:
        stream.reply(request)


def _push(stream: Stream, request: Node) -> None:
    stream.reply(request, [] if request.child("settings") else None)


HANDLERS = {
    "w:p": _ping,
    "urn:xmpp:ping": _ping,
    "passive": _passive,
    "privacy": _privacy,
    "w:m": _media,
    "w": _properties,
    "abt": _properties,
    "blocklist": _blocklist,
    "w:profile:picture": _picture,
    "w:sync:app:state": _app_state,
    "urn:xmpp:whatsapp:dirty": _lists,
    "urn:xmpp:whatsapp:account": _lists,
    "disappearing_mode": _lists,
    "tos": _lists,
    "w:stats": _lists,
    "newsletter": _lists,
    "status": _status,
    "urn:xmpp:whatsapp:push": _push,
}
