"""Messages that the recipient cannot read: they are sent again, and what cannot be sent again is not called delivered."""

from __future__ import annotations

import pytest

from sessions_app.lifecycle import Status
from sessions_app.models import Message, WhatsAppSession
from simulator import Handset, Simulator
from tests.protocol.hosts import eventually, pair, wait_for_status

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA = "5511987650001", "5511987650002"
MANY = 12


def forget_sessions(sim: Simulator, phone: Handset) -> None:
    """The phone can read nothing any more that was encrypted for it."""
    sim.call(sim.world.phones[phone.number].signal.sessions.clear)


def test_a_message_that_cannot_be_read_nor_repeated_is_said_to_have_failed(sim, host):
    bia = sim.phone(BIA, name="Bia")
    shop = pair(WhatsAppSession.objects.create(session_id="shop", name="Shop"), sim.phone(ANA, name="Ana"))
    shop.send_text(BIA, "first", by="tester")
    bia.wait_for_text("first")
    bia.send_text(ANA, "yes?")
    eventually(lambda: Message.objects.filter(direction="in").exists(), "an answer: the session is confirmed")
    bia.go_offline()
    sent = shop.send_text(BIA, "second", by="tester")
    eventually(lambda: Message.objects.filter(pk=sent.pk, status="sent").exists(), "the second message on its way")

    host.kill_engines()
    wait_for_status(shop, Status.WAITING)
    wait_for_status(shop, Status.CONNECTED)
    forget_sessions(sim, bia)
    bia.go_online()

    eventually(lambda: Message.objects.filter(pk=sent.pk, status="failed").exists(), "the second message failed")
    assert Message.objects.get(pk=sent.pk).reason == "unreadable"


def test_messages_that_are_asked_for_again_all_at_once_arrive_beside_new_ones(sim, host):
    bia = sim.phone(BIA, name="Bia")
    shop = pair(WhatsAppSession.objects.create(session_id="shop", name="Shop"), sim.phone(ANA, name="Ana"))
    shop.send_text(BIA, "first", by="tester")
    bia.wait_for_text("first")
    bia.send_text(ANA, "yes?")
    eventually(lambda: Message.objects.filter(direction="in").exists(), "an answer: the session is confirmed")
    texts = [f"number {number}" for number in range(2 * MANY)]
    bia.go_offline()
    for text in texts[:MANY]:
        shop.send_text(BIA, text, by="tester")
    eventually(lambda: Message.objects.filter(status="sent").count() == MANY, "the messages on their way")
    forget_sessions(sim, bia)
    bia.go_online()
    for text in texts[MANY:]:
        shop.send_text(BIA, text, by="tester")

    eventually(lambda: Message.objects.filter(status="delivered").count() == 1 + 2 * MANY, "every message delivered")
    assert sorted(line.text or "" for line in bia.inbox) == sorted(["first", *texts])
