"""Messages and receipts on their way between devices, and what a device acknowledges."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from simulator.devices import participants_hash
from simulator.nodes import GROUP_SERVER, LID_SERVER, Attr, Jid, Node
from simulator.state import Group
from simulator.world import Party

if TYPE_CHECKING:
    from simulator.stream import Stream
    from simulator.world import World

#: Parts of a message, beside the ciphertext, that a receiver gets to see.
PASSED_ON = {"device-identity", "meta", "biz"}
#: Receipts that tell all devices of an author something; every other kind answers the one device that sent.
TO_ALL_DEVICES = {"read", "played", "read-self", "played-self"}


def _message(stream: Stream, stanza: Node) -> None:
    assert stream.party
    ack = message(stream.world, stream.party, stanza)
    if not stream.world.faults.acks_are_off:
        stream.send(ack)


def _receipt(stream: Stream, stanza: Node) -> None:
    assert stream.party
    receipt(stream.world, stream.party, stanza)
    attrs: dict[str, Attr] = {"class": "receipt", "from": stanza.attrs.get("to", "")}
    attrs |= {name: stanza.attrs[name] for name in ("id", "type", "participant") if name in stanza.attrs}
    stream.send(Node("ack", attrs))


def _ack(stream: Stream, stanza: Node) -> None:
    assert stream.party
    number, device = stream.party.account.number, stream.party.device
    stream.world.state.acknowledge(number, device, stanza.get("class"), stanza.get("id"), stanza.get("to"))


def _chatstate(stream: Stream, stanza: Node) -> None:
    world, sender, to = stream.world, stream.party, stanza.jid("to")
    assert sender
    if to and (account := world.state.account_of(to)):
        for receiver in world.parties(account):
            world.tell(receiver, Node("chatstate", {"from": sender.like(to).bare}, stanza.content))


def message(world: World, sender: Party, stanza: Node) -> Node:
    """Queue a message for everyone whom it names, and return the acknowledgement for its sender."""
    to = stanza.jid("to")
    attrs: dict[str, Attr] = {"class": "message", "id": stanza.get("id"), "from": to or "", "t": str(int(time.time()))}
    if to is None:
        return Node("ack", {**attrs, "error": "400"})
    if stanza.child("enc") and not (
        stanza.child("participants") or (to.server == GROUP_SERVER and "participant" not in stanza.attrs)
    ):
        return Node("ack", {**attrs, **_send_again(world, sender, to, stanza)})
    if to.server == GROUP_SERVER:
        return Node("ack", {**attrs, **_to_group(world, sender, to, stanza)})
    return Node("ack", {**attrs, **_to_user(world, sender, to, stanza)})


def _to_user(world: World, sender: Party, to: Jid, stanza: Node) -> dict[str, Attr]:
    peer = world.state.account_of(to)
    if peer is None:
        return {"error": "404"}
    named = stanza.child("participants")
    reached = {sender.like(to)}
    for target in named.all("to") if named else []:
        jid = target.jid("jid")
        receiver = world.party(jid)
        if jid and receiver and receiver != sender and receiver.account in (peer, sender.account):
            reached.add(jid)
            content = [*target.all("enc"), *_passed_on(stanza)]
            world.post(receiver, Node("message", _attrs_for(world, sender, receiver, to, stanza), content))
    expected = {party.like(to) for account in {peer, sender.account} for party in world.parties(account)}
    # The hash is only sent to a client that has the lists wrong: it drops its copies then.
    return {"phash": participants_hash(expected)} if expected != reached else {}


def _to_group(world: World, sender: Party, to: Jid, stanza: Node) -> dict[str, Attr]:
    group = world.state.group(to.user)
    if group is None or sender.account.number not in group.members:
        return {"error": "404" if group is None else "403"}
    named = stanza.child("participants")
    own = {jid: target.all("enc") for target in (named.all("to") if named else []) if (jid := target.jid("jid"))}
    keys = {party.jid: enc for jid, enc in own.items() if (party := world.party(jid))}
    everyone = _devices_of(world, group)
    for receiver in everyone:
        if receiver != sender:
            # The sender key comes before what it decrypts.
            content = [*keys.get(receiver.jid, []), *stanza.all("enc"), *_passed_on(stanza)]
            world.post(receiver, Node("message", _group_attrs(sender, to, stanza), content))
    phash = participants_hash({party.account.lid_jid(party.device) for party in everyone})
    return {"phash": phash, "addressing_mode": "lid"} if stanza.get("phash") != phash else {}


def _send_again(world: World, sender: Party, to: Jid, stanza: Node) -> dict[str, Attr]:
    """A message for one device: a copy that it asked for with a retry receipt, or one between an account's own devices."""
    receiver = world.party(stanza.jid("participant") or to)
    if receiver is None:
        return {"error": "404"}
    attrs = (
        _group_attrs(sender, to, stanza)
        if to.server == GROUP_SERVER
        else _attrs_for(world, sender, receiver, to, stanza)
    )
    world.post(receiver, Node("message", attrs, [*stanza.all("enc"), *_passed_on(stanza)]))
    return {}


def _attrs_for(world: World, sender: Party, receiver: Party, to: Jid, stanza: Node) -> dict[str, Attr]:
    attrs = {"from": sender.like(to), **_common(sender, stanza)}
    if receiver.account == sender.account:
        chat = stanza.jid("recipient") or to
        peer = world.state.account_of(chat)
        if stanza.get("category") != "peer" and peer:
            attrs["recipient"] = chat.bare
            attrs |= (
                {"peer_recipient_pn": peer.jid()}
                if chat.server == LID_SERVER
                else {"peer_recipient_lid": peer.lid_jid()}
            )
    elif to.server == LID_SERVER:
        attrs["sender_pn"] = sender.jid
    else:
        attrs["sender_lid"] = sender.account.lid_jid(sender.device)
    return attrs


def _group_attrs(sender: Party, to: Jid, stanza: Node) -> dict[str, Attr]:
    lid = sender.account.lid_jid(sender.device)
    return {
        "from": to,
        "participant": lid,
        "participant_pn": sender.jid,
        "addressing_mode": "lid",
        **_common(sender, stanza),
    }


def _common(sender: Party, stanza: Node) -> dict[str, Attr]:
    attrs: dict[str, Attr] = {"id": stanza.get("id"), "type": stanza.get("type"), "t": str(int(time.time()))}
    if sender.account.name:
        attrs["notify"] = sender.account.name
    return attrs | {name: stanza.attrs[name] for name in ("category", "edit") if name in stanza.attrs}


def _passed_on(stanza: Node) -> list[Node]:
    return [child for child in stanza.children if child.tag in PASSED_ON]


def _devices_of(world: World, group: Group) -> list[Party]:
    accounts = [account for number in group.members if (account := world.state.account(number))]
    return [party for account in accounts for party in world.parties(account)]


def receipt(world: World, sender: Party, stanza: Node) -> None:
    """Take a receipt as the acknowledgement that it is, and pass it on to whoever sent the message."""
    to = stanza.jid("to")
    if to is None:
        return
    world.state.acknowledge(sender.account.number, sender.device, "message", stanza.get("id"), str(to))
    in_group = to.server == GROUP_SERVER
    author = stanza.jid("participant") if in_group else to
    account = world.state.account_of(author)
    if account is None or author is None:
        return
    attrs: dict[str, Attr] = {"id": stanza.get("id"), "t": str(int(time.time()))}
    attrs |= {name: stanza.attrs[name] for name in ("type", "recipient") if name in stanza.attrs}
    to_all = stanza.get("type") in TO_ALL_DEVICES
    mine = sender.like(author).bare if to_all else sender.like(author)
    attrs |= {"from": to, "participant": mine} if in_group else {"from": mine}
    for receiver in world.parties(account) if to_all else [world.party(author)]:
        if receiver and receiver != sender:
            world.post(receiver, Node("receipt", attrs, stanza.content))


HANDLERS = {"message": _message, "receipt": _receipt, "ack": _ack, "chatstate": _chatstate}
