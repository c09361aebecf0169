"""Messages that came in, as rows: once each, none in silence."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sessions_app.engine.events import MessageReceived, MessageUndecryptable, ReceiptReceived
from sessions_app.hosting import messages, reactions
from sessions_app.models import Message, WhatsAppSession

pytestmark = pytest.mark.django_db
BIA, BIA_LID = "5511987650002@s.whatsapp.net", "200000000000002@lid"


@pytest.fixture
def session() -> WhatsAppSession:
    return WhatsAppSession.objects.create(session_id="shop", name="Shop")


def received(message_id: str = "A1", **over: Any) -> MessageReceived:
    fields = {
        "session": "shop",
        "epoch": 1,
        "at": 0.0,
        "chat": BIA,
        "sender": BIA,
        "text": "hi",
        "timestamp": 1_790_000_000,
    }
    return MessageReceived(message_id=message_id, **(fields | over))


def undecryptable(message_id: str = "A1") -> MessageUndecryptable:
    return MessageUndecryptable(session="shop", epoch=1, at=0.0, message_id=message_id, chat=BIA, sender=BIA)


def texts() -> list[tuple[str, str]]:
    return list(Message.objects.order_by("pk").values_list("kind", "text"))


def test_a_spool_that_is_read_again_adds_nothing(session):
    messages.record_received(session, [received()])
    messages.record_received(session, [received(), received("A2", text="new")])
    assert texts() == [("text", "hi"), ("text", "new")]


def test_a_message_nobody_can_read_is_written_down(session):
    reactions.react(cast(Any, SimpleNamespace(session=session)), undecryptable())
    assert texts() == [("unreadable", "")]


def test_the_second_coming_of_a_known_message_is_no_loss(session):
    messages.record_received(session, [received()])
    messages.record_unreadable(session, undecryptable())
    assert texts() == [("text", "hi")]


def test_what_is_sent_again_after_a_retry_takes_the_place_of_what_could_not_be_read(session):
    messages.record_unreadable(session, undecryptable())
    messages.record_received(session, [received()])
    assert texts() == [("text", "hi")]


def test_somebody_named_by_an_lid_is_kept_under_the_number_that_stands_beside_it(session):
    messages.record_received(session, [received(chat=BIA_LID, sender=BIA_LID, sender_alt=BIA)])
    row = Message.objects.get()
    assert (row.chat, row.sender) == (BIA, BIA)


def test_a_group_stays_a_group_whoever_writes(session):
    group = "120363000000000001@g.us"
    messages.record_received(session, [received(chat=group, sender=BIA_LID, sender_alt=BIA, is_group=True)])
    row = Message.objects.get()
    assert (row.chat, row.sender) == (group, BIA)


def test_text_that_no_database_takes_is_made_printable(session):
    messages.record_received(session, [received(text="a\0b")])
    assert texts() == [("text", "a\N{REPLACEMENT CHARACTER}b")]


@pytest.mark.parametrize(
    ("kinds", "status"),
    [(["delivered"], "delivered"), (["read"], "read"), (["read", "delivered"], "read"), (["retry"], "sent")],
)
def test_receipts_move_a_message_on_and_never_back(session, kinds, status):
    Message.objects.create(session=session, direction="out", status="sent", message_id="B1", chat=BIA)
    for kind in kinds:
        messages.record_receipt(
            session,
            ReceiptReceived(session="shop", epoch=1, at=0.0, chat=BIA, sender=BIA, message_ids=("B1",), kind=kind),
        )
    assert Message.objects.get().status == status


def test_a_sender_key_does_not_take_the_place_of_the_message_that_it_opens(session):
    messages.record_received(session, [received(kind="empty", text=""), received(kind="conversation")])
    assert texts() == [("conversation", "hi")]


def test_a_reaction_names_our_message_and_one_to_a_stranger_names_none(session):
    asked = session.messages.create(direction="out", chat=BIA, status="sent", message_id="Q1")
    reaction = {"kind": "reactionMessage", "text": "👍"}
    messages.record_received(session, [received("A1", about="Q1", **reaction), received("A2", about="Q2", **reaction)])
    first, second = Message.objects.filter(direction="in").order_by("pk")
    assert (first.about, first.type, second.about) == (asked.code, "reaction", None)
    assert first.to_dict()["about"] == str(asked.code)
    assert "about" not in second.to_dict()
