"""Device lists as others see them: their hash, and the news that one has changed."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from simulator.nodes import Attr, Jid, Node
from simulator.state import Account

if TYPE_CHECKING:
    from simulator.world import World


def participants_hash(devices: Iterable[Jid]) -> str:
    """The hash by which client and server compare device lists (whatsmeow send.go, participantListHashV2)."""
    names = sorted(f"{jid.user}.0:{jid.device}@{jid.server}" for jid in devices)
    return "2:" + b64encode(sha256("".join(names).encode()).digest()[:6]).decode().rstrip("=")


def announce(world: World, account: Account, change: str, device: int) -> None:
    """Tell everyone who has seen this account's device list, and its own devices, that `device` was added or removed (`change`)."""
    for number in world.state.watchers(account.number):
        watcher = world.state.account(number)
        if watcher and watcher != account:
            for receiver in world.parties(watcher):
                world.post(receiver, _notification(world, account, _change(world, account, change, device), "devices"))
    for receiver in world.parties(account):
        world.post(receiver, _notification(world, account, _own_list(world, account), "account_sync"))


def _notification(world: World, account: Account, child: Node, type_: str) -> Node:
    attrs: dict[str, Attr] = {"from": account.jid(), "type": type_, "id": world.new_id(), "t": str(int(time.time()))}
    if type_ == "devices":
        attrs["lid"] = account.lid_jid()
    return Node("notification", attrs, [child])


def _change(world: World, account: Account, change: str, device: int) -> Node:
    devices = [party.device for party in world.parties(account)]
    attrs: dict[str, Attr] = {
        "device_hash": participants_hash(account.jid(number) for number in devices),
        "device_lid_hash": participants_hash(account.lid_jid(number) for number in devices),
    }
    changed: dict[str, Attr] = {"jid": account.jid(device), "lid": account.lid_jid(device), "key-index": str(device)}
    return Node(change, attrs, [Node("device", changed), Node("key-index-list", {"ts": str(int(time.time()))})])


def _own_list(world: World, account: Account) -> Node:
    devices = [account.jid(party.device) for party in world.parties(account)]
    content = [
        Node("device", {"jid": jid, **({"key-index": str(jid.device)} if jid.device else {})}) for jid in devices
    ]
    return Node("devices", {"dhash": participants_hash(devices)}, content)
