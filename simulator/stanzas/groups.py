"""The namespace "w:g2": making groups, asking about them, and changing who is in them. Groups address their members by LID."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from simulator.nodes import GROUP_SERVER, Attr, Jid, Node
from simulator.state import Account, Group
from simulator.world import Party

if TYPE_CHECKING:
    from simulator.stream import Stream
    from simulator.world import World

CHANGES = ("add", "remove", "promote", "demote")


def _g2(stream: Stream, request: Node) -> None:
    world, party, to = stream.world, stream.party, request.jid("to")
    assert party
    number = party.account.number
    if creation := request.child("create"):
        members = [jid for child in creation.all("participant") if (jid := child.jid("jid"))]
        made = create(world, party.account, creation.get("subject"), members)
        stream.reply(request, [describe(world, made)])
    elif request.child("participating"):
        groups = [describe(world, group) for group in world.state.groups_of(number)]
        stream.reply(request, [Node("groups", {}, groups)])
    elif leaving := request.child("leave"):
        _leave(stream, request, leaving)
    else:
        _about_one(stream, request, party, to)


def _about_one(stream: Stream, request: Node, party: Party, to: Jid | None) -> None:
    world = stream.world
    group = world.state.group(to.user) if to and to.server == GROUP_SERVER else None
    change = next((child for child in request.children if child.tag in CHANGES), None)
    if group is None:
        stream.refuse(request, 404, "item-not-found")
    elif party.account.number not in group.members:
        stream.refuse(request, 403, "forbidden")
    elif request.child("query"):
        stream.reply(request, [describe(world, group)])
    elif change:
        _change(stream, request, group, change)
    elif subject := request.child("subject"):
        world.state.set_subject(group.id, subject.data.decode(errors="replace"))
        told = Node(
            "subject", {"subject": subject.data.decode(errors="replace"), "s_t": _now(), "s_o": party.account.lid_jid()}
        )
        stream.reply(request)
        _tell_members(world, group, party.account, told)
    else:
        stream.refuse(request, 501, "feature-not-implemented")


def _change(stream: Stream, request: Node, group: Group, change: Node) -> None:
    world, party = stream.world, stream.party
    assert party
    if not group.members[party.account.number]:
        stream.refuse(request, 403, "forbidden")
        return
    accounts = [account for child in change.all("participant") if (account := world.state.account_of(child.jid("jid")))]
    for account in accounts:
        if change.tag == "remove":
            world.state.remove_member(group.id, account.number)
        else:
            world.state.set_member(group.id, account.number, change.tag == "promote")
    people = [_participant(account, None) for account in accounts]
    stream.reply(request, [Node(change.tag, {}, people)])
    _tell_members(world, world.state.group(group.id) or group, party.account, Node(change.tag, {}, people))


def _leave(stream: Stream, request: Node, leaving: Node) -> None:
    world, party = stream.world, stream.party
    assert party
    for child in leaving.all("group"):
        if group := world.state.group(Jid.parse(child.get("id")).user or child.get("id")):
            world.state.remove_member(group.id, party.account.number)
            gone = Node("remove", {}, [_participant(party.account, None)])
            _tell_members(world, world.state.group(group.id) or group, party.account, gone)
    stream.reply(request, [Node("leave", {}, leaving.children)])


def create(world: World, creator: Account, subject: str, members: list[Jid]) -> Group:
    """A new group; addresses of nobody are left out. Its members' devices are told."""
    numbers = {creator.number: True}
    for jid in members:
        if account := world.state.account_of(jid):
            numbers.setdefault(account.number, False)
    group = Group(f"1203630{secrets.randbelow(10**11):011d}", subject, creator.number, int(time.time()), numbers)
    world.state.add_group(group)
    _tell_members(world, group, creator, Node("create", {"type": "new"}, [describe(world, group)]))
    return group


def describe(world: World, group: Group) -> Node:
    """The group as clients read it."""
    people = [(account, admin) for number, admin in group.members.items() if (account := world.state.account(number))]
    creator = world.state.account(group.creator)
    attrs: dict[str, Attr] = {
        "id": group.id,
        "subject": group.subject,
        "creation": str(group.created_at),
        "s_t": str(group.created_at),
    }
    if creator:
        attrs |= {
            "creator": creator.lid_jid(),
            "creator_pn": creator.jid(),
            "s_o": creator.lid_jid(),
            "s_o_pn": creator.jid(),
        }
    attrs |= {"size": str(len(people)), "addressing_mode": "lid", "p_v_id": "1", "a_v_id": "1"}
    return Node("group", attrs, [_participant(account, "superadmin" if admin else None) for account, admin in people])


def _participant(account: Account, type_: str | None) -> Node:
    attrs: dict[str, Attr] = {"jid": account.lid_jid(), "phone_number": account.jid()}
    return Node("participant", {**attrs, "type": type_} if type_ else attrs)


def _tell_members(world: World, group: Group, author: Account, news: Node) -> None:
    attrs: dict[str, Attr] = {
        "from": group.jid,
        "type": "w:gp2",
        "participant": author.lid_jid(),
        "participant_pn": author.jid(),
    }
    for number in group.members:
        if account := world.state.account(number):
            for receiver in world.parties(account):
                stanza = Node(
                    "notification", {**attrs, "id": world.new_id(), "t": _now(), "addressing_mode": "lid"}, [news]
                )
                world.post(receiver, stanza)


def _now() -> str:
    return str(int(time.time()))


HANDLERS = {"w:g2": _g2}
