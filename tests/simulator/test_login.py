"""Logging in, keys, and the end of a device."""

from __future__ import annotations

import itertools

import pytest

from simulator.curve import KeyPair
from simulator.nodes import Jid, Node
from simulator.phone import Phone
from simulator.world import World

from .companion import Companion
from .conftest import ANA, link


async def test_a_linked_device_logs_in_under_its_lid(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    success = companion.log_in()
    assert (success.tag, success.get("lid")) == ("success", f"{ana.account.lid}:1@lid")


async def test_an_unknown_device_is_refused(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    companion.jid = Jid(ANA, "s.whatsapp.net", 9)
    assert companion.log_in().get("reason") == "401"


async def test_an_unknown_account_is_refused(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    companion.jid = Jid("5511900000000", "s.whatsapp.net", 1)
    assert companion.log_in().get("reason") == "401"


async def test_the_phones_own_device_cannot_be_logged_in_as(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    companion.jid = Jid(ANA, "s.whatsapp.net", 0)
    assert companion.log_in().get("reason") == "401"


async def test_another_noise_key_is_refused(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    companion.noise = KeyPair.generate()
    assert companion.log_in().get("reason") == "401"


async def test_a_second_connection_replaces_the_first(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    first, received = companion.stream, companion.received
    second = companion.log_in()
    assert second.tag == "success"
    assert received[-1].child("conflict").get("type") == "replaced"
    assert first.ended
    assert len(world.connections.overlaps(str(companion.jid))) == 1


async def test_connections_one_after_another_do_not_overlap(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    for _ in range(3):
        companion.leave()
        companion.log_in()
    companion.leave()
    assert world.connections.live == {}
    spans = [span for span in world.connections.history if span.device == str(companion.jid)][-3:]
    assert all(a.closed is not None and a.closed <= b.opened for a, b in itertools.pairwise(spans))


async def test_a_device_that_its_phone_unlinks_is_told_and_never_comes_back(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    assert companion.jid
    ana.unlink(companion.jid)
    error = companion.got("stream:error")[0]
    assert (error.get("code"), error.child("conflict").get("type")) == ("401", "device_removed")
    assert companion.log_in().get("reason") == "401"


async def test_a_device_can_unlink_itself_and_nobody_elses(world: World, ana: Phone, bob: Phone) -> None:
    mine, other = await link(world, ana), await link(world, bob)
    refused = mine.ask("md", Node("remove-companion-device", {"jid": other.jid or ""}), type_="set")
    assert refused.child("error").get("code") == "403"
    mine.ask("md", Node("remove-companion-device", {"jid": mine.jid or "", "reason": "user_initiated"}), type_="set")
    assert ana.devices == []
    assert len(bob.devices) == 1
    mine.message(bob.account.lid_jid(), bob.account.lid_jid(1))
    assert other.got("message") == []


async def test_prekeys_are_counted_and_each_is_handed_out_once(world: World, ana: Phone, bob: Phone) -> None:
    giver, taker = await link(world, ana), await link(world, bob)
    wanted = Node("key", {}, [Node("user", {"jid": giver.jid or "", "reason": "identity"})])
    ids = []
    for _ in range(6):
        user = taker.ask("encrypt", wanted).child("list", "user")
        ids.append(key.child("id").data if (key := user.child("key")) else None)
    # One went to the phone, which shared the app state's key with the new device.
    assert len({key for key in ids if key}) == 4
    assert ids[4:] == [None, None]


async def test_a_prekey_that_was_handed_out_is_not_taken_back_by_another_upload(
    world: World, ana: Phone, bob: Phone
) -> None:
    giver, taker = await link(world, ana), await link(world, bob)
    wanted = Node("key", {}, [Node("user", {"jid": giver.jid or ""})])
    for _ in range(4):
        taker.ask("encrypt", wanted)
    giver.upload_prekeys()
    assert giver.ask("encrypt", Node("count")).child("count").get("value") == "0"


async def test_a_device_hears_when_few_prekeys_are_left(world: World, ana: Phone, bob: Phone) -> None:
    giver, taker = await link(world, ana), await link(world, bob)
    for _ in range(4):
        taker.ask("encrypt", Node("key", {}, [Node("user", {"jid": giver.jid or ""})]))
    assert giver.got("notification", type="encrypt")[-1].child("count").get("value") == "0"


async def test_an_upload_with_a_wrong_prekey_signature_is_refused(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    answer = companion.ask("encrypt", Node("list"), companion.signed_prekey(bytes(64)), type_="set")
    assert answer.child("error").get("code") == "406"


async def test_nobodys_keys_are_an_error_of_their_own(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    nobody = Jid("5511900000000", "s.whatsapp.net")
    user = companion.ask("encrypt", Node("key", {}, [Node("user", {"jid": nobody})])).child("list", "user")
    assert user.child("error").get("code") == "404"


@pytest.mark.parametrize("namespace", ["nonsense", "w:biz"])
async def test_an_unknown_question_gets_an_error_and_not_silence(world: World, ana: Phone, namespace: str) -> None:
    companion = await link(world, ana)
    assert companion.ask(namespace, Node("x")).child("error").get("code") == "501"


@pytest.mark.parametrize("namespace", ["w:p", "privacy", "w:m", "blocklist", "status", "w:sync:app:state", "w", "abt"])
async def test_a_known_question_gets_a_result(world: World, ana: Phone, namespace: str) -> None:
    companion = await link(world, ana)
    assert companion.ask(namespace, Node("x")).get("type") == "result"


async def test_usync_knows_who_is_on_whatsapp_with_which_devices(world: World, ana: Phone, bob: Phone) -> None:
    companion = await link(world, ana)
    await link(world, bob)
    users = [
        Node("user", {"jid": bob.account.lid_jid()}),
        Node("user", {}, [Node("contact", {}, b"5511900000000@c.us")]),
    ]
    query = Node("query", {}, [Node("devices", {"version": "2"}), Node("lid"), Node("contact")])
    answer = companion.ask("usync", Node("usync", {"sid": "1"}, [query, Node("list", {}, users)]))
    known, unknown = answer.child("usync", "list").children
    assert [device.get("id") for device in known.child("devices", "device-list").children] == ["0", "1"]
    assert known.child("lid").get("val") == str(bob.account.lid_jid())
    assert unknown.child("contact").get("type") == "out"


async def test_who_saw_a_device_list_hears_when_it_changes(world: World, ana: Phone, bob: Phone) -> None:
    watcher = await link(world, ana)
    query = Node("query", {}, [Node("devices")])
    watcher.ask("usync", Node("usync", {}, [query, Node("list", {}, [Node("user", {"jid": bob.account.lid_jid()})])]))
    added = await link(world, bob)
    assert added.jid
    bob.unlink(added.jid)
    changes = [node.children[0].tag for node in watcher.got("notification", type="devices")]
    assert changes == ["add", "remove"]


async def test_bytes_that_are_no_whatsapp_end_the_connection(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    companion.stream.receive(b"\x00\x00\x05hello")
    assert companion.is_cut


async def test_a_new_client_gets_no_word_before_it_shakes_hands(world: World) -> None:
    companion = Companion(world)
    companion.register()
    assert companion.received[0].child("pair-device")
