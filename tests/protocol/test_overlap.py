"""Two sessions that write to each other in the same moment: the library itself would lose some of that in silence."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from sessions_app.models import Message, WhatsAppSession
from simulator import Simulator
from tests.protocol.hosts import eventually, pair

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA = "5511987650001", "5511987650002"
EACH = 150


def linked(sim: Simulator, name: str, number: str) -> WhatsAppSession:
    return pair(WhatsAppSession.objects.create(session_id=name, name=name), sim.phone(number, name=name))


def received(session: WhatsAppSession) -> set[str]:
    return set(Message.objects.filter(session=session, direction="in").values_list("text", flat=True))


def sent(status: str) -> int:
    return Message.objects.filter(direction="out", status=status).count()


def test_of_two_bursts_against_each_other_every_message_arrives(sim, host):
    ana, bia = linked(sim, "ana", ANA), linked(sim, "bia", BIA)
    for number in range(EACH):
        ana.send_text(BIA, f"to bia {number}", by="tester")
        bia.send_text(ANA, f"to ana {number}", by="tester")
    eventually(lambda: sent("delivered") == 2 * EACH, "every message delivered", within=60)
    eventually(lambda: len(received(ana)) == len(received(bia)) == EACH, "every message on the other side", within=10)


def test_a_message_that_the_live_store_refuses_for_a_while_goes_out_once(sim, host, tmp_path):
    ana, bia = linked(sim, "ana", ANA), linked(sim, "bia", BIA)
    ana.send_text(BIA, "first", by="tester")
    eventually(lambda: "first" in received(bia), "the first message")
    with closing(sqlite3.connect(tmp_path / "stores" / "ana" / "store.db", timeout=10)) as store:
        store.execute(
            "CREATE TRIGGER refuse BEFORE UPDATE ON whatsmeow_sessions"
            " BEGIN SELECT RAISE(ABORT, 'stale signal session'); END"
        )
        message = ana.send_text(BIA, "second", by="tester")
        eventually(lambda: Message.objects.filter(pk=message.pk, status="sending").exists(), "the message to be tried")
        store.execute("DROP TRIGGER refuse")
    eventually(lambda: "second" in received(bia), "the second message")
    assert Message.objects.filter(session=bia, text="second").count() == 1
