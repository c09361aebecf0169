"""Messages and receipts between devices: who gets what, in which order, and how long it is kept."""

from __future__ import annotations

from simulator.nodes import GROUP_SERVER, Jid, Node
from simulator.phone import Phone
from simulator.world import World

from .companion import Companion
from .conftest import ANA, BOB, link, settle


async def pair(world: World, ana: Phone, bob: Phone) -> tuple[Companion, Companion, Jid]:
    """A companion of each, and Bob's companion's address by LID."""
    one, other = await link(world, ana), await link(world, bob)
    ana.go_offline()
    bob.go_offline()
    return one, other, bob.account.lid_jid(1)


async def test_a_message_reaches_each_named_device_under_the_senders_lid(world: World, ana: Phone, bob: Phone) -> None:
    sender, receiver, target = await pair(world, ana, bob)
    message_id = sender.message(bob.account.lid_jid(), target)
    got = receiver.got("message", id=message_id)[0]
    assert got.get("from") == f"{ana.account.lid}:1@lid"
    assert got.get("sender_pn") == f"{ANA}:1@s.whatsapp.net"
    assert got.get("notify") == "Ana"
    assert got.child("enc").data == b"ciphertext"
    assert sender.got("ack", id=message_id)[0].get("class") == "message"


async def test_an_own_device_learns_for_whom_a_message_is(world: World, ana: Phone, bob: Phone) -> None:
    sender, _, _ = await pair(world, ana, bob)
    second = await link_second(world, ana)
    message_id = sender.message(bob.account.lid_jid(), ana.account.lid_jid(2))
    got = second.got("message", id=message_id)[0]
    assert (got.get("recipient"), got.get("peer_recipient_pn")) == (str(bob.account.lid_jid()), str(bob.account.jid()))


async def link_second(world: World, phone: Phone) -> Companion:
    phone.go_online()
    second = await link(world, phone)
    phone.go_offline()
    return second


async def test_the_hash_is_sent_only_to_a_sender_with_stale_lists(world: World, ana: Phone, bob: Phone) -> None:
    sender, _, target = await pair(world, ana, bob)
    everyone = [bob.account.lid_jid(), target, ana.account.lid_jid()]
    full = sender.message(bob.account.lid_jid(), *everyone)
    stale = sender.message(bob.account.lid_jid(), target)
    assert sender.got("ack", id=full)[0].get("phash") == ""
    assert sender.got("ack", id=stale)[0].get("phash").startswith("2:")


async def test_a_message_to_nobody_is_refused(world: World, ana: Phone, bob: Phone) -> None:
    sender, _, _ = await pair(world, ana, bob)
    message_id = sender.message(Jid("999", "lid"), Jid("999", "lid"))
    assert sender.got("ack", id=message_id)[0].get("error") == "404"


async def test_nobody_can_slip_a_message_to_a_third_account(world: World, ana: Phone, bob: Phone) -> None:
    sender, receiver, target = await pair(world, ana, bob)
    Phone.get(world, "5511987650003", "Eva")
    eva = world.state.account("5511987650003")
    assert eva
    sender.message(eva.lid_jid(), target)
    assert receiver.got("message") == []


async def test_what_was_sent_while_a_device_was_away_comes_in_order_between_two_marks(
    world: World, ana: Phone, bob: Phone
) -> None:
    sender, receiver, target = await pair(world, ana, bob)
    receiver.leave()
    ids = [sender.message(bob.account.lid_jid(), target) for _ in range(3)]
    receiver.log_in()
    tags = [(node.tag, node.children[0].tag if node.tag == "ib" else node.get("id")) for node in receiver.received]
    start, end = tags.index(("ib", "offline_preview")), tags.index(("ib", "offline"))
    assert [x for tag, x in tags[start + 1 : end] if tag == "message"] == ids
    assert {node.get("offline") for node in receiver.got("message")} == {"1"}
    assert receiver.received[start].child("offline_preview").get("message") == "3"


async def test_a_message_stays_until_its_receipt(world: World, ana: Phone, bob: Phone) -> None:
    sender, receiver, target = await pair(world, ana, bob)
    ids = [sender.message(bob.account.lid_jid(), target) for _ in range(2)]
    receiver.receipt(receiver.got("message", id=ids[0])[0])
    receiver.leave()
    receiver.log_in()
    assert [node.get("id") for node in receiver.got("message")] == ids[1:]
    receiver.send(Node("ack", {"class": "message", "id": ids[1], "to": ana.account.lid_jid(1)}))
    receiver.leave()
    receiver.log_in()
    assert receiver.got("message") == []


async def test_a_device_that_has_logged_in_gets_nothing_before_it_is_active(
    world: World, ana: Phone, bob: Phone
) -> None:
    sender, receiver, target = await pair(world, ana, bob)
    receiver.leave()
    receiver.log_in(active=False)
    message_id = sender.message(bob.account.lid_jid(), target)
    assert receiver.got("message") == []
    receiver.ask("passive", Node("active"), type_="set")
    assert [node.get("id") for node in receiver.got("message")] == [message_id]


async def test_a_delivery_receipt_goes_to_the_device_that_sent(world: World, ana: Phone, bob: Phone) -> None:
    sender, receiver, target = await pair(world, ana, bob)
    second = await link_second(world, ana)
    message_id = sender.message(bob.account.lid_jid(), target)
    receiver.receipt(receiver.got("message", id=message_id)[0])
    assert sender.got("receipt", id=message_id)[0].get("from") == str(target)
    assert second.got("receipt", id=message_id) == []
    assert receiver.got("ack", id=message_id)[0].get("class") == "receipt"


async def test_a_read_receipt_goes_to_all_devices_of_the_author(world: World, ana: Phone, bob: Phone) -> None:
    sender, receiver, target = await pair(world, ana, bob)
    second = await link_second(world, ana)
    message_id = sender.message(bob.account.lid_jid(), target)
    receiver.send(Node("receipt", {"to": ana.account.lid_jid(), "id": message_id, "type": "read"}))
    for device in (sender, second):
        assert device.got("receipt", id=message_id, type="read")[0].get("from") == str(bob.account.lid_jid())


async def test_a_retry_receipt_reaches_the_sender_with_its_keys_and_is_answered_to_one_device(
    world: World, ana: Phone, bob: Phone
) -> None:
    sender, receiver, target = await pair(world, ana, bob)
    message_id = sender.message(bob.account.lid_jid(), target)
    content = [
        Node("retry", {"count": "1", "id": message_id, "t": "1", "v": "1"}),
        Node("registration", {}, b"\0\0\0\1"),
    ]
    receiver.send(Node("receipt", {"to": ana.account.lid_jid(1), "id": message_id, "type": "retry"}, content))
    got = sender.got("receipt", id=message_id, type="retry")[0]
    assert (got.get("from"), got.content) == (str(target), content)
    enc = Node("enc", {"v": "2", "type": "pkmsg", "count": "1"}, b"again")
    sender.send(Node("message", {"to": target, "id": message_id, "type": "text", "device_fanout": "false"}, [enc]))
    assert receiver.got("message", id=message_id)[-1].child("enc").data == b"again"


async def test_a_receipt_waits_for_a_sender_that_is_away(world: World, ana: Phone, bob: Phone) -> None:
    sender, receiver, target = await pair(world, ana, bob)
    message_id = sender.message(bob.account.lid_jid(), target)
    sender.leave()
    receiver.receipt(receiver.got("message", id=message_id)[0])
    sender.log_in()
    receipt = sender.got("receipt", id=message_id)[0]
    sender.send(Node("ack", {"class": "receipt", "id": message_id, "to": receipt.attrs["from"]}))
    sender.leave()
    sender.log_in()
    assert sender.got("receipt", id=message_id) == []


async def test_phones_talk_with_real_signal_messages(world: World, ana: Phone, bob: Phone) -> None:
    ana.send_text(BOB, "hello")
    await settle()
    bob.send_text(ANA, "hi")
    await settle()
    assert [(line.direction, line.text) for line in bob.lines] == [("in", "hello"), ("out", "hi")]
    assert (ana.lines[0].text, ana.lines[0].status) == ("hello", "delivered")


async def test_a_read_message_shows_as_read_to_its_author(world: World, ana: Phone, bob: Phone) -> None:
    message_id = ana.send_text(BOB, "hello")
    await settle()
    bob.mark_read(message_id)
    await settle()
    assert ana.lines[0].status == "read"


async def test_a_phone_that_is_offline_reads_later(world: World, ana: Phone, bob: Phone) -> None:
    bob.go_offline()
    for text in ("one", "two"):
        ana.send_text(BOB, text)
    await settle()
    assert bob.lines == []
    bob.go_online()
    await settle()
    assert [line.text for line in bob.lines] == ["one", "two"]


async def test_a_phone_that_lost_its_session_asks_again_and_gets_the_message(
    world: World, ana: Phone, bob: Phone
) -> None:
    ana.send_text(BOB, "one")
    await settle()
    bob.send_text(ANA, "two")
    await settle()
    bob.signal.drop_session(f"{ana.account.lid}_1:0")
    ana.send_text(BOB, "three")
    await settle()
    assert [(line.text, line.error) for line in bob.lines if line.direction == "in"] == [("one", ""), ("three", "")]


async def test_what_a_phone_can_never_read_is_shown_with_the_reason(world: World, ana: Phone, bob: Phone) -> None:
    sender, _, _ = await pair(world, ana, bob)
    bob.go_online()
    sender.message(bob.account.lid_jid(), bob.account.lid_jid())
    await settle()
    line = bob.lines[-1]
    assert line.text is None
    assert line.error
    assert sender.got("receipt", type="retry")[0].child("keys", "identity").data == bob.signal.identity.public


async def test_a_groups_message_reaches_every_other_device_key_first(world: World, ana: Phone, bob: Phone) -> None:
    sender, receiver, target = await pair(world, ana, bob)
    creation = Node("create", {"subject": "Friends"}, [Node("participant", {"jid": bob.account.lid_jid()})])
    group = sender.ask("w:g2", creation, type_="set", to=Jid("", GROUP_SERVER)).child("group")
    jid = Jid(group.get("id"), GROUP_SERVER)
    assert receiver.got("notification", type="w:gp2")[0].child("create", "group").get("subject") == "Friends"
    key = Node("to", {"jid": target}, [Node("enc", {"v": "2", "type": "pkmsg"}, b"key")])
    content = [Node("participants", {}, [key]), Node("enc", {"v": "2", "type": "skmsg"}, b"text")]
    sender.send(Node("message", {"id": "G1", "to": jid, "type": "text", "phash": "2:wrong"}, content))
    got = receiver.got("message", id="G1")[0]
    assert [enc.data for enc in got.all("enc")] == [b"key", b"text"]
    assert (got.get("from"), got.get("participant")) == (str(jid), f"{ana.account.lid}:1@lid")
    assert sender.got("ack", id="G1")[0].get("phash").startswith("2:")
    assert sender.got("message", id="G1") == []


async def test_who_is_not_in_a_group_neither_sends_to_it_nor_asks_about_it(
    world: World, ana: Phone, bob: Phone
) -> None:
    sender, _, _ = await pair(world, ana, bob)
    group = bob.create_group("Bob alone", [])
    assert sender.ask("w:g2", Node("query"), to=group).child("error").get("code") == "403"
    sender.send(Node("message", {"id": "G1", "to": group, "type": "text"}, [Node("enc", {"type": "skmsg"}, b"x")]))
    assert sender.got("ack", id="G1")[0].get("error") == "403"
    assert sender.ask("w:g2", Node("query"), to=Jid("1", GROUP_SERVER)).child("error").get("code") == "404"


async def test_phones_talk_in_groups(world: World, ana: Phone, bob: Phone) -> None:
    group = ana.create_group("Friends", [BOB])
    ana.send_text(str(group), "hello all")
    await settle()
    assert [(line.chat, line.text) for line in bob.lines] == [(str(group), "hello all")]


async def test_typing_is_shown_to_who_is_there_and_forgotten_otherwise(world: World, ana: Phone, bob: Phone) -> None:
    sender, receiver, _ = await pair(world, ana, bob)
    sender.send(Node("chatstate", {"to": bob.account.lid_jid()}, [Node("composing")]))
    assert receiver.got("chatstate")[0].child("composing")
    receiver.leave()
    sender.send(Node("chatstate", {"to": bob.account.lid_jid()}, [Node("composing")]))
    receiver.log_in()
    assert receiver.got("chatstate") == []
