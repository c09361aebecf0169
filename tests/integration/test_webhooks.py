"""The event log and its way to webhooks: in order, at least once, signed, and given up after a day."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.models import OrmQ

from sessions_app import delivery, outbox, tasks, webhooks
from sessions_app.engine.events import MessageReceived
from sessions_app.hosting import messages
from sessions_app.lifecycle import Event, Status
from sessions_app.models import (
    DeliveryTurn,
    EventName,
    OutboxEvent,
    Webhook,
    WebhookDelivery,
    WebhookStream,
    WhatsAppSession,
)
from sessions_app.reasons import Reason
from tests.receivers import Call, Receiver, Reply, receiver
from tests.rows import make_session

pytestmark = pytest.mark.django_db(transaction=True)
_S = WebhookDelivery.State


@pytest.fixture(autouse=True)
def _loopback_is_allowed(settings: Any) -> None:
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = True


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def session() -> WhatsAppSession:
    return make_session(session_id="shop")


def make_webhook(hook: Receiver, session: WhatsAppSession | None = None, events: tuple[str, ...] = ("*",)) -> Webhook:
    made = Webhook(url=hook.url, session=session, session_code=session.session_id if session else "", events=events)
    made.rotate()
    made.save()
    return made


def happen(session: WhatsAppSession, number: int = 1, name: EventName = EventName.SESSION_QR) -> None:
    for index in range(number):
        with transaction.atomic():
            OutboxEvent.write(session, name, {"index": index})


def deliver() -> int:
    """What a worker does, without staying for retries."""
    return delivery.deliver(budget=20.0, linger=0.0)


def make_due() -> None:
    """As if the time until the next retries had passed."""
    WebhookStream.objects.filter(next_attempt_at__isnull=False).update(next_attempt_at=timezone.now())


def received(**over: Any) -> MessageReceived:
    fields = {
        "session": "shop",
        "epoch": 1,
        "chat": "5511900000001@s.whatsapp.net",
        "sender": "5511900000001@s.whatsapp.net",
        "message_id": "M1",
        "text": "hello",
        "kind": "text",
        "timestamp": 1_700_000_000,
        "at": 1_700_000_000.0,
    }
    return MessageReceived(**(fields | over))


# --- the log ----------------------------------------------------------------------


def test_a_status_change_and_its_event_are_written_together_or_not_at_all(session):
    with pytest.raises(RuntimeError), transaction.atomic():
        session.apply(Event.CONNECTION_LOST, Reason.CONNECTION_CUT, epoch=0)
        raise RuntimeError("the transaction fails")
    assert not OutboxEvent.objects.exists()

    session.refresh_from_db()
    session.apply(Event.CONNECTION_LOST, Reason.CONNECTION_CUT, epoch=0)

    event = OutboxEvent.objects.get()
    told = event.data["session"]
    assert (event.name, told["status"], told["reason"]) == ("session.status", "WAITING", "connection-cut")
    assert set(told) == set(session.to_dict())
    assert "creds" not in told


def test_a_change_under_an_old_epoch_writes_no_event(session):
    assert session.apply(Event.CONNECTION_LOST, epoch=7) is False
    assert not OutboxEvent.objects.exists()


def test_a_message_that_is_read_twice_from_the_spool_is_told_once(session):
    messages.record_received(session, [received(), received(message_id="M2", text="again")])
    messages.record_received(session, [received(), received(message_id="M3")])

    told = [event.data["message"] for event in OutboxEvent.objects.order_by("pk")]
    assert [message["text"] for message in told] == ["hello", "again", "hello"]
    assert set(told[0]) == {"id", "direction", "chat", "sender", "text", "type", "status", "reason", "created_at"}


def test_a_message_that_the_phone_wrote_is_told_as_sent_and_not_as_received(session):
    messages.record_received(session, [received(from_me=True)])
    event = OutboxEvent.objects.get()
    assert (event.name, event.data["message"]["status"]) == ("message.status", "sent")


def test_events_are_numbered_in_the_order_in_which_they_happened(session):
    happen(session, 3)
    assert outbox.publish() == 3
    happen(session, 2)
    assert outbox.publish() == 2
    assert [e.data["index"] for e in outbox.after(0)] == [0, 1, 2, 0, 1]
    assert list(outbox.after(0).values_list("position", flat=True)) == [1, 2, 3, 4, 5]


@pytest.mark.only_postgresql
def test_an_event_that_commits_late_is_not_lost_to_who_has_read_a_later_one(session):
    first_written, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic():
                OutboxEvent.write(session, EventName.SESSION_QR, {"who": "slow"})
                first_written.set()
                assert go_on.wait(10)
        finally:
            connections.close_all()

    thread = threading.Thread(target=slow)
    thread.start()
    assert first_written.wait(10)
    with transaction.atomic():
        OutboxEvent.write(session, EventName.SESSION_QR, {"who": "fast"})
    outbox.publish()
    seen = list(outbox.after(0))
    go_on.set()
    thread.join()
    outbox.publish()

    assert [event.data["who"] for event in seen] == ["fast"]
    rest = list(outbox.after(seen[-1].position))
    assert [event.data["who"] for event in rest] == ["slow"]
    assert rest[0].pk < seen[0].pk  # the primary key would have hidden it


def test_two_who_publish_at_once_give_no_position_twice(session):
    happen(session, 30)
    barrier = threading.Barrier(4)

    def run() -> None:
        try:
            barrier.wait(10)
            outbox.publish()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert list(outbox.after(0).values_list("position", flat=True)) == list(range(1, 31))


# --- delivery ---------------------------------------------------------------------


def test_an_event_is_posted_with_a_signature_that_the_secret_verifies(hook, session):
    webhook = make_webhook(hook)
    happen(session)

    deliver()

    call = hook.next()
    assert call.json["event"] == call.headers["x-oxy-event"] == "session.qr"
    assert call.json["session_id"] == "shop"
    assert set(call.json) == {"id", "event", "session_id", "created_at", "data"}
    parts = dict(part.split("=") for part in call.headers["x-oxy-signature"].split(","))
    expected = hmac.new(webhook.secret.encode(), parts["t"].encode() + b"." + call.body, hashlib.sha256).hexdigest()
    assert parts["v1"] == expected
    assert abs(int(parts["t"]) - time.time()) < 30
    row = WebhookDelivery.objects.get()
    assert str(row.code) == call.headers["x-oxy-delivery"]
    assert (row.status, row.response_status, row.attempts) == (_S.DELIVERED, 204, 1)
    assert WebhookStream.objects.get().next_attempt_at is None


def test_the_secret_is_not_in_the_row_nor_in_a_log(hook, session, caplog):
    webhook = make_webhook(hook)
    hook.reply = lambda call: (500, b"no", {})
    happen(session)
    deliver()
    assert webhook.secret.encode() not in bytes(webhook.sealed_secret)
    assert webhook.secret not in caplog.text
    assert hook.url not in caplog.text


def test_a_webhook_gets_only_its_session_and_its_events(hook, session):
    other = make_session(session_id="other")
    make_webhook(hook, session, ("message.status",))
    happen(other, name=EventName.MESSAGE_STATUS)
    happen(session, name=EventName.SESSION_QR)
    happen(session, name=EventName.MESSAGE_STATUS)

    deliver()

    assert [(call.json["session_id"], call.json["event"]) for call in hook.calls] == [("shop", "message.status")]


def test_a_failing_delivery_holds_back_its_session_and_no_other(hook, session):
    other = make_session(session_id="other")
    make_webhook(hook)
    hook.reply = lambda call: (503, b"busy", {}) if call.json["session_id"] == "shop" else (200, b"ok", {})
    happen(session, 3)
    happen(other, 2)

    deliver()

    by_session = {
        code: [c.json["data"]["index"] for c in hook.calls if c.json["session_id"] == code]
        for code in ("shop", "other")
    }
    assert by_session == {"shop": [0], "other": [0, 1]}
    failed = WebhookDelivery.objects.get(status=_S.FAILED)
    assert (failed.response_status, failed.excerpt) == (503, "busy")
    assert failed.next_attempt_at > timezone.now()
    assert Webhook.objects.get().failing_since is None  # the other session's success


def test_retries_keep_the_order_and_the_delivery_id(hook, session):
    webhook = make_webhook(hook)
    hook.reply = lambda call: (500, b"", {}) if len(hook.calls) <= 2 else (200, b"", {})
    happen(session, 3)

    deliver()
    webhook.refresh_from_db()
    assert webhook.failing_since is not None
    for _ in range(2):
        make_due()
        deliver()

    assert [call.json["data"]["index"] for call in hook.calls] == [0, 0, 0, 1, 2]
    assert len({call.headers["x-oxy-delivery"] for call in hook.calls[:3]}) == 1
    assert len({call.body for call in hook.calls[:3]}) == 1
    assert list(WebhookDelivery.objects.order_by("pk").values_list("status", "attempts")) == [
        (_S.DELIVERED, 3),
        (_S.DELIVERED, 1),
        (_S.DELIVERED, 1),
    ]
    webhook.refresh_from_db()
    assert webhook.failing_since is None


def test_each_retry_waits_longer_up_to_an_hour():
    waits = [delivery.delay(failures) for failures in range(1, 40)]
    assert delivery.FIRST_RETRY * delivery.JITTER <= waits[0] <= delivery.FIRST_RETRY
    assert all(wait <= delivery.LONGEST_RETRY for wait in waits)
    assert min(waits[12:]) >= delivery.LONGEST_RETRY * delivery.JITTER


def test_what_fails_for_a_day_is_given_up_and_the_next_one_goes_out(hook, session, caplog):
    make_webhook(hook)
    hook.reply = lambda call: (500, b"", {}) if call.json["data"]["index"] < 2 else (200, b"", {})
    happen(session, 3)
    outbox.publish()
    old = WebhookDelivery.objects.order_by("pk")[:2]
    WebhookDelivery.objects.filter(pk__in=[d.pk for d in old]).update(created_at=timezone.now() - timedelta(hours=25))

    deliver()
    make_due()
    deliver()

    assert list(WebhookDelivery.objects.order_by("pk").values_list("status", flat=True)) == [
        _S.GIVEN_UP,
        _S.GIVEN_UP,
        _S.DELIVERED,
    ]
    assert "webhook_given_up" in caplog.text


def test_a_redirect_is_a_failure_and_is_not_followed(hook, session):
    make_webhook(hook)
    hook.reply = lambda call: (302, b"", {"Location": hook.url})
    happen(session)
    deliver()
    assert len(hook.calls) == 1
    assert WebhookDelivery.objects.get().response_status == 302


def test_nobody_listening_is_said_in_words(session):
    with receiver() as gone:
        make_webhook(gone)
    happen(session)
    deliver()
    row = WebhookDelivery.objects.get()
    assert (row.status, row.response_status) == (_S.FAILED, None)
    assert row.excerpt == "The host does not accept connections."


def test_without_the_setting_loopback_gets_nothing(hook, session, settings):
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = False
    make_webhook(hook)
    happen(session)
    deliver()
    assert not hook.calls
    assert "private" in WebhookDelivery.objects.get().excerpt


def test_a_worker_that_was_killed_gives_its_stream_back_when_the_claim_runs_out(hook, session):
    make_webhook(hook)
    happen(session)
    outbox.publish()
    WebhookStream.objects.update(claim="0" * 32, claimed_until=timezone.now() + timedelta(seconds=30))
    DeliveryTurn.objects.update_or_create(pk=1, defaults={"running_until": timezone.now() - timedelta(seconds=1)})

    assert deliver() == 0
    WebhookStream.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert deliver() == 1
    assert len(hook.calls) == 1


def test_one_task_delivers_at_a_time(hook, session):
    make_webhook(hook)
    happen(session)
    outbox.publish()
    DeliveryTurn.objects.update_or_create(pk=1, defaults={"running_until": timezone.now() + timedelta(seconds=30)})
    assert deliver() == 0
    assert not hook.calls


def test_many_streams_go_out_side_by_side(hook):
    sessions = [make_session(session_id=f"s{n}") for n in range(4)]
    make_webhook(hook)
    together = threading.Barrier(4)

    def reply(call: Call) -> Reply:
        together.wait(10)  # breaks, and fails, unless four are under way at once
        return (200, b"", {})

    hook.reply = reply
    for session in sessions:
        happen(session)
    deliver()
    assert WebhookDelivery.objects.filter(status=_S.DELIVERED).count() == 4


def test_an_event_that_happens_during_a_turn_goes_out_in_it(hook, session):
    make_webhook(hook)
    other = make_session(session_id="other")

    def reply(call: Call) -> Reply:
        if len(hook.calls) == 1:
            happen(other)
            connection.close()
        return (200, b"", {})

    hook.reply = reply
    happen(session)
    assert deliver() == 2
    assert [call.json["session_id"] for call in hook.calls] == ["shop", "other"]


def test_a_short_retry_is_waited_for(hook, session, monkeypatch):
    monkeypatch.setattr(delivery, "FIRST_RETRY", 0.3)
    make_webhook(hook)
    hook.reply = lambda call: (500 if len(hook.calls) == 1 else 200, b"", {})
    happen(session)
    assert delivery.deliver(budget=20.0, linger=2.0) == 2
    assert WebhookDelivery.objects.get().status == _S.DELIVERED


# --- the queue --------------------------------------------------------------------


def test_a_burst_of_events_queues_one_task(hook, session):
    make_webhook(hook)
    happen(session, 5)
    assert [import_string(row.func()) for row in OrmQ.objects.all()] == [tasks.deliver_webhooks]
    deliver()
    happen(session)
    assert OrmQ.objects.count() == 2


def test_without_a_webhook_nothing_is_queued(session):
    happen(session)
    assert not OrmQ.objects.exists()


def test_a_task_that_was_lost_is_queued_again_after_a_while(hook, session):
    make_webhook(hook)
    happen(session)
    OrmQ.objects.all().delete()
    happen(session)
    assert not OrmQ.objects.exists()
    DeliveryTurn.objects.update(queued_until=timezone.now() - timedelta(seconds=1))
    happen(session)
    assert OrmQ.objects.count() == 1


def test_a_fault_of_the_queue_does_not_fail_the_fact(hook, session, monkeypatch):
    make_webhook(hook)

    def fail() -> None:
        raise RuntimeError("no queue")

    monkeypatch.setattr(tasks, "queue_delivery", fail)
    assert session.apply(Event.CONNECTION_LOST, Reason.CONNECTION_CUT, epoch=0)
    assert WhatsAppSession.objects.get().status == Status.WAITING
    deliver()
    assert len(hook.calls) == 1


# --- what people ask --------------------------------------------------------------


def test_a_delivery_that_ended_is_sent_again_beside_the_others(hook, session):
    make_webhook(hook)
    happen(session)
    deliver()
    first = WebhookDelivery.objects.get()
    hook.reply = lambda call: (500 if call.json["id"] == 1 else 200, b"", {})
    happen(session)

    again = webhooks.send_again(first)
    deliver()

    assert again.pk != first.pk
    assert hook.ids.count(1) == 2
    assert 2 in hook.ids  # the failing repeat holds nothing back
    again.refresh_from_db()
    assert again.status == _S.FAILED


def test_sending_again_what_waits_for_its_retry_tries_it_now(hook, session):
    make_webhook(hook)
    hook.reply = lambda call: (500 if len(hook.calls) == 1 else 200, b"", {})
    happen(session)
    deliver()
    waiting = WebhookDelivery.objects.get()
    assert webhooks.send_again(waiting).pk == waiting.pk
    deliver()
    assert WebhookDelivery.objects.get().status == _S.DELIVERED


def test_a_test_goes_to_the_webhook_that_was_asked_and_to_nobody_else(hook, session):
    with receiver() as other:
        make_webhook(other)
        webhooks.ping(make_webhook(hook, session, ("message.received",)))
        deliver()
        assert not other.calls
    assert [call.json["event"] for call in hook.calls] == ["ping"]
    assert not outbox.after(0).exists()


def test_a_webhook_that_is_off_collects_nothing_and_keeps_what_waited(hook, session):
    webhook = make_webhook(hook)
    happen(session)
    outbox.publish()
    Webhook.objects.update(active=False)
    happen(session)
    assert deliver() == 0
    Webhook.objects.update(active=True)
    webhooks.wake(webhook)
    deliver()
    assert [call.json["data"]["index"] for call in hook.calls] == [0]
    assert WebhookDelivery.objects.count() == 1


def test_the_end_of_a_session_is_told_to_its_webhook(hook, session):
    make_webhook(hook, session)
    with transaction.atomic():
        WhatsAppSession.objects.filter(pk=session.pk).delete()
        OutboxEvent.write(session, EventName.SESSION_DELETED, {"session_id": "shop"})
    happen(make_session(session_id="shop"))  # another session under the same name

    deliver()

    assert [call.json["event"] for call in hook.calls] == ["session.deleted"]


def test_old_events_are_pruned_and_what_waits_is_kept(hook, session):
    make_webhook(hook)
    happen(session)
    deliver()
    hook.reply = lambda call: (500, b"", {})
    happen(session)
    deliver()
    happen(session)
    OutboxEvent.objects.filter(pk__in=list(OutboxEvent.objects.order_by("pk").values_list("pk", flat=True)[:2])).update(
        at=timezone.now() - timedelta(days=8)
    )
    outbox.publish()

    assert outbox.prune() == 1

    assert [event.position for event in outbox.after(0)] == [2, 3]
    assert outbox.first_position() == 2
