"""Messages over HTTP, with no host: what is queued, what is refused, and what a repeat does."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils import timezone

from sessions_app import tasks
from sessions_app.api.app import api
from sessions_app.api.message_schemas import KINDS, NewMessage
from sessions_app.models import IdempotentRequest, Message, OutboxEvent, WhatsAppSession
from tests.api import ApiClient

pytestmark = pytest.mark.django_db
MESSAGES = "/api/sessions/shop/messages"
HELLO = {"to": "+55 11 98765-0002", "text": "hello"}


@pytest.fixture
def client(db: None) -> ApiClient:
    return ApiClient(name="bot")


@pytest.fixture
def shop(db: None) -> WhatsAppSession:
    return WhatsAppSession.objects.create(session_id="shop", name="Shop", status="STOPPED", creds={"me": {}})


def test_a_text_is_queued_and_can_be_read(client, shop):
    taken = client.post(MESSAGES, HELLO)

    assert taken.status_code == 202
    assert set(taken.json()) == {"id", "status"}
    message = client.get(f"{MESSAGES}/{taken.json()['id']}").json()
    assert message | {"created_at": ""} == {
        "id": taken.json()["id"], "direction": "out", "chat": "5511987650002@s.whatsapp.net", "sender": "",
        "text": "hello", "type": "text", "status": "queued", "reason": "", "created_at": "",
    }  # fmt: skip
    assert client.get(MESSAGES).json() == {"items": [message], "count": 1}
    assert Message.objects.get().requested_by == "API: bot"


@pytest.mark.parametrize(
    ("to", "chat"),
    [
        ("5511987650002", "5511987650002@s.whatsapp.net"),
        ("00 55 (11) 98765.0002", "5511987650002@s.whatsapp.net"),
        ("5511987650002@s.whatsapp.net", "5511987650002@s.whatsapp.net"),
        ("123456789012345@lid", "123456789012345@lid"),
        ("120363000000000001@g.us", "120363000000000001@g.us"),
    ],
)
def test_numbers_and_addresses_are_taken_as_people_write_them(client, shop, to, chat):
    assert client.post(MESSAGES, HELLO | {"to": to}).status_code == 202
    assert Message.objects.get().chat == chat


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"to": "1"}, "to"),
        ({"to": "+999 123 456 789"}, "to"),
        ({"to": "ana@example.com"}, "to"),
        ({"to": "5511987650002:3@s.whatsapp.net"}, "to"),
        ({"to": "status@broadcast"}, "to"),
        ({"to": 5511987650002}, "to"),
        ({"text": ""}, "text"),
        ({"text": "a\0b"}, "text"),
        ({"text": "\ud800"}, "text"),
        ({"text": "x" * 65_537}, "text"),
        ({"text": None}, "text"),
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": "60"}, "expires_in"),
        ({"expires_in": True}, "expires_in"),
        ({"texts": "x"}, "texts"),
        ({"reply_to": "nonsense"}, "reply_to"),
        ({"reply_to": str(uuid.uuid4())}, "reply_to"),
        ({"reaction": {"message": str(uuid.uuid4()), "emoji": "👍"}}, "text"),
        ({"location": {"latitude": 1, "longitude": 1}, "contact": {"name": "a", "phone": "5511987650002"}}, "contact"),
    ],
)
def test_a_wrong_field_is_named_and_its_value_is_not_repeated(client, shop, change, field):
    answer = client.post(MESSAGES, HELLO | change)

    assert answer.status_code == 422
    assert (answer.json()["code"], answer.json()["field"]) == ("invalid", field)
    assert f"“{field}”" in answer.json()["error"]
    assert not Message.objects.exists()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"reaction": {"message": str(uuid.uuid4()), "emoji": "👍"}}, "reaction.message"),
        ({"reaction": {"message": "x", "emoji": "👍"}}, "reaction.message"),
        ({"reaction": {"message": str(uuid.uuid4()), "emoji": "x" * 17}}, "reaction.emoji"),
        ({"reaction": {"message": str(uuid.uuid4()), "emoji": ""}, "reply_to": str(uuid.uuid4())}, "reply_to"),
        ({"location": {"latitude": 91, "longitude": 0}}, "location.latitude"),
        ({"location": {"latitude": 1}}, "location.longitude"),
        ({"location": {"latitude": "1", "longitude": 0}}, "location.latitude"),
        ({"location": {"latitude": 1, "longitude": 0, "name": "a\0b"}}, "location.name"),
        ({"location": []}, "location"),
        ({"contact": {"name": "", "phone": "5511987650002"}}, "contact.name"),
        ({"contact": {"name": "Cara", "phone": "12"}}, "contact.phone"),
        ({"contact": {"name": "Cara", "phone": "5511987650002", "mail": "x"}}, "contact.mail"),
    ],
)
def test_a_wrong_part_of_a_kind_is_named(client, shop, body, field):
    answer = client.post(MESSAGES, {"to": HELLO["to"]} | body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert not Message.objects.exists()


def test_not_a_number_is_no_place(client, shop):
    text = '{"to": "5511987650002", "location": {"latitude": NaN, "longitude": 1e999}}'
    assert client.post(MESSAGES, text).status_code in (400, 422)
    assert not Message.objects.exists()


def test_every_kind_is_queued_as_what_it_is(client, shop):
    chat = "5511987650002@s.whatsapp.net"
    asked = shop.messages.create(
        direction="in", chat=chat, sender=chat, status="received", message_id="Q1", text="open?"
    )
    about = str(asked.code)
    for body, shown in (
        ({"text": "yes", "reply_to": about}, ("text", "yes", {"about": about})),
        ({"reaction": {"message": about, "emoji": "👍"}}, ("reaction", "👍", {"about": about})),
        ({"reaction": {"message": about, "emoji": ""}}, ("reaction", "", {"about": about})),
        ({"location": {"latitude": 1, "longitude": 2}}, ("location", "", {"content": {"latitude": 1.0, "longitude": 2.0}})),
        (
            {"contact": {"name": " Cara ", "phone": "+55 11 98765-0003"}, "reply_to": about},
            ("contact", "Cara", {"content": {"phone": "5511987650003"}, "about": about}),
        ),
    ):  # fmt: skip
        code = client.post(MESSAGES, {"to": HELLO["to"]} | body).json()["id"]
        message = client.get(f"{MESSAGES}/{code}").json()
        more = {name: message[name] for name in ("content", "about") if name in message}
        assert (message["type"], message["text"], more) == shown


def test_only_what_was_sent_in_the_same_chat_can_be_answered(client, shop):
    elsewhere = client.post(MESSAGES, HELLO | {"to": "5511987650009"}).json()["id"]
    failed = client.post(MESSAGES, HELLO).json()["id"]
    Message.objects.filter(code=failed).update(status="failed")
    for code in (elsewhere, failed):
        answer = client.post(MESSAGES, HELLO | {"reply_to": code})
        assert (answer.status_code, answer.json()["field"]) == (422, "reply_to")


def test_the_document_has_a_valid_example_of_every_kind():
    body = api.get_openapi_schema()["paths"]["/api/sessions/{session_id}/messages"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"]
    examples = {name: each["value"] for name, each in body["content"]["application/json"]["examples"].items()}
    assert {NewMessage.model_validate(example).kind for example in examples.values()} == {"text", *KINDS}


def test_a_session_without_a_phone_sends_nothing(client):
    WhatsAppSession.objects.create(session_id="shop", name="Shop")
    answer = client.post(MESSAGES, HELLO)
    assert (answer.status_code, answer.json()["code"]) == (409, "not-linked")


def test_the_queue_has_an_end(client, shop, settings):
    settings.OXY_QUEUE_LIMIT = 2
    answers = [client.post(MESSAGES, HELLO) for __ in range(3)]

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == "queue-full"
    assert int(answers[2]["Retry-After"]) > 0
    Message.objects.filter(pk=Message.objects.first().pk).update(status="sent")
    assert client.post(MESSAGES, HELLO).status_code == 202


def test_a_message_is_given_up_when_its_time_has_passed(client, shop):
    short = client.post(MESSAGES, HELLO | {"expires_in": 60}).json()["id"]
    client.post(MESSAGES, HELLO)
    for message in Message.objects.all():
        Message.objects.filter(pk=message.pk).update(expires_at=message.expires_at - timedelta(minutes=2))

    assert tasks.give_up_expired_messages() == 1

    message = client.get(f"{MESSAGES}/{short}").json()
    assert (message["status"], message["reason"]) == ("failed", "queue-expired")
    assert OutboxEvent.objects.get(name="message.status").data["message"] == message
    assert tasks.give_up_expired_messages() == 0


def test_lists_are_the_latest_first_and_filtered(client, shop):
    for n in range(3):
        client.post(MESSAGES, {"to": f"551198765000{n}", "text": str(n)})
    Message.objects.filter(text="1").update(status="sent")

    assert [m["text"] for m in client.get(f"{MESSAGES}?limit=2").json()["items"]] == ["2", "1"]
    assert client.get(f"{MESSAGES}?status=sent").json()["count"] == 1
    assert client.get(f"{MESSAGES}?direction=in").json()["count"] == 0
    assert client.get(f"{MESSAGES}?chat=5511987650000@s.whatsapp.net").json()["count"] == 1


@pytest.mark.parametrize("name", ["nonsense", str(uuid.uuid4()), "1", "%00"])
def test_a_message_that_is_not_there_is_a_404(client, shop, name):
    answer = client.get(f"{MESSAGES}/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "message-not-found")


def test_a_message_of_another_session_is_not_there(client, shop):
    other = WhatsAppSession.objects.create(session_id="other", name="Other")
    message = client.post(MESSAGES, HELLO).json()["id"]
    assert client.get(f"/api/sessions/{other.session_id}/messages/{message}").status_code == 404


# --- repeats --------------------------------------------------------------------------


def test_a_repeat_gets_the_first_answer_and_sends_nothing(client, shop):
    first = client.post(MESSAGES, HELLO, idempotency_key="order-1")
    Message.objects.update(status="sent")
    second = client.post(MESSAGES, HELLO, idempotency_key="order-1")

    assert (second.status_code, second.json()) == (202, first.json())
    assert ("Idempotent-Replayed" in first, second["Idempotent-Replayed"]) == (False, "true")
    assert Message.objects.count() == 1
    assert client.post(MESSAGES, HELLO, idempotency_key="order-2").json() != first.json()


def test_a_key_with_another_body_or_session_is_refused(client, shop):
    WhatsAppSession.objects.create(session_id="other", name="Other", creds={})
    client.post(MESSAGES, HELLO, idempotency_key="order-1")

    for answer in (
        client.post(MESSAGES, HELLO | {"text": "other"}, idempotency_key="order-1"),
        client.post("/api/sessions/other/messages", HELLO, idempotency_key="order-1"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")
    assert Message.objects.count() == 1


def test_a_key_belongs_to_its_token(client, shop):
    first = client.post(MESSAGES, HELLO, idempotency_key="order-1")
    assert ApiClient().post(MESSAGES, HELLO, idempotency_key="order-1").json() != first.json()


def test_a_request_that_was_refused_leaves_its_key_free(client, shop, settings):
    settings.OXY_QUEUE_LIMIT = 0
    assert client.post(MESSAGES, HELLO, idempotency_key="order-1").status_code == 429
    settings.OXY_QUEUE_LIMIT = 1
    assert client.post(MESSAGES, HELLO, idempotency_key="order-1").status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_a_key_has_a_length(client, shop, key):
    assert client.post(MESSAGES, HELLO, idempotency_key=key).status_code == 422


@pytest.mark.django_db(transaction=True)
def test_of_many_repeats_at_once_one_sends(client, shop):
    def send(_: int) -> dict[str, str]:
        try:
            return client.post(MESSAGES, HELLO, idempotency_key="order-1").json()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(16)))

    assert Message.objects.count() == 1
    assert answers == [{"id": str(Message.objects.get().code), "status": "queued"}] * 16


@pytest.mark.django_db(transaction=True)
def test_the_queues_limit_is_exact_when_many_send_at_once(client, shop, settings):
    settings.OXY_QUEUE_LIMIT = 5

    def send(_: int) -> int:
        try:
            return client.post(MESSAGES, HELLO).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(12))) == [202] * 5 + [429] * 7


def test_old_keys_are_forgotten(client, shop):
    client.post(MESSAGES, HELLO, idempotency_key="order-1")
    assert IdempotentRequest.forget_old() == 0
    IdempotentRequest.objects.update(created_at=timezone.now() - timedelta(days=31))
    assert IdempotentRequest.forget_old() == 1
