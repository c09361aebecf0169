"""The queue of a session's messages, when the database goes away at the worst moment."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection

from sessions_app.engine import events as ev
from sessions_app.hosting.sending import Outbox
from sessions_app.models import Draft, Message, WhatsAppSession

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def session() -> WhatsAppSession:
    return WhatsAppSession.objects.create(
        session_id="shop", name="Shop", status="CONNECTED", desired="running", creds={}
    )


@pytest.fixture
def engine() -> list[ev.SendMessage]:
    """What the engine was told."""
    return []


@pytest.fixture
def outbox(session: WhatsAppSession, engine: list[ev.SendMessage]) -> Outbox:
    running: Any = SimpleNamespace(
        session=session,
        lease=SimpleNamespace(epoch=session.lease_epoch),
        phase="running",
        engine=SimpleNamespace(send=engine.append),
        news=lambda: None,
    )
    return Outbox(running)


def breaks_after(statement: str) -> Any:
    """The connection breaks once, after the database has done this and before it could say so."""
    broken = []

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if sql.startswith(statement) and not broken:
            broken.append(sql)
            raise OperationalError("server closed the connection unexpectedly")
        return result

    return connection.execute_wrapper(wrapper)


def test_a_message_that_was_marked_as_the_connection_broke_is_sent_once_it_is_back(session, outbox, engine):
    first, second = (session.send_text("5511987650002", text, by="tester") for text in ("one", "two"))
    with breaks_after('UPDATE "sessions_app_message" SET "status"'), pytest.raises(OperationalError):
        outbox.send_queued()
    assert Message.objects.get(pk=first.pk).status == "sending"
    assert engine == []

    outbox.send_queued()

    assert [command.text for command in engine] == ["one", "two"]
    assert {first.status, second.status} == {"queued"}
    assert set(Message.objects.values_list("status", flat=True)) == {"sending"}


def test_what_the_engine_holds_is_not_sent_again_after_such_a_break(session, outbox, engine):
    session.send_text("5511987650002", "one", by="tester")
    outbox.send_queued()
    session.send_text("5511987650002", "two", by="tester")
    outbox.grew = True
    with breaks_after('UPDATE "sessions_app_message" SET "status"'), pytest.raises(OperationalError):
        outbox.send_queued()

    outbox.send_queued()
    outbox.send_queued()

    assert [command.text for command in engine] == ["one", "two"]


def test_what_is_about_a_message_on_its_way_waits_for_it_and_keeps_its_chat_waiting(session, outbox, engine):
    first = session.send_text("5511987650002", "one", by="tester")
    session.send(Draft("5511987650002", "👍", "reaction", about=first), by="tester")
    session.send_text("5511987650002", "two", by="tester")
    session.send_text("5511987650003", "other", by="tester")

    outbox.send_queued()
    assert [command.text for command in engine] == ["one", "other"]

    Message.objects.filter(pk=first.pk).update(status="sent", message_id="3EB0")
    outbox.grew = True
    outbox.send_queued()
    assert [command.text for command in engine] == ["one", "other", "👍", "two"]
    assert engine[2].about["message_id"] == "3EB0"


def test_what_is_about_a_message_that_was_never_sent_fails_and_holds_nobody_up(session, outbox, engine):
    first = session.send_text("5511987650002", "one", by="tester")
    reaction = session.send(Draft("5511987650002", "👍", "reaction", about=first), by="tester")
    session.send_text("5511987650002", "two", by="tester")
    Message.objects.filter(pk=first.pk).update(status="failed")

    outbox.send_queued()

    assert [command.text for command in engine] == ["two"]
    reaction.refresh_from_db()
    assert (reaction.status, reaction.reason) == ("failed", "nothing-to-answer")
