"""What is asked of WhatsApp over HTTP, as far as no host is needed: who may, when, and how long it is waited for."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connections

from sessions_app import pruning
from sessions_app.api import waiting
from sessions_app.models import Message, Question, ReceivedFile, WhatsAppSession
from tests.api import ApiClient

pytestmark = pytest.mark.django_db(transaction=True)
BIA = "5511987650002@s.whatsapp.net"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.0)


@pytest.fixture
def client(db: None) -> ApiClient:
    return ApiClient()


@pytest.fixture
def shop(db: None) -> WhatsAppSession:
    return WhatsAppSession.objects.create(session_id="shop", name="Shop", status="CONNECTED", creds={"me": {}})


@pytest.fixture
def photo(shop: WhatsAppSession) -> Message:
    content = {"mimetype": "image/png", "size": 9}
    message = shop.messages.create(
        direction="in", chat=BIA, sender=BIA, status="received", kind="imageMessage", message_id="A1", content=content
    )
    ReceivedFile.of(message, b"where it is").save()
    return message


@pytest.fixture
def addresses(photo: Message) -> list[str]:
    return [f"/api/sessions/shop/{part}" for part in ("groups", f"numbers/{BIA[:13]}", f"messages/{photo.code}/media")]


def answering(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """A host that answers the next question at once."""
    monkeypatch.setattr(waiting, "PATIENCE", 20.0)
    create = Question.objects.create

    def created(**values: Any) -> Question:
        row = create(**values)

        def settle() -> None:
            Question.settle(row.pk, session_id="shop", **fields)
            connections.close_all()

        threading.Thread(target=settle).start()
        return row

    monkeypatch.setattr(Question.objects, "create", created)


def test_where_no_host_answers_the_question_is_withdrawn(client, addresses):
    for address in addresses:
        answer = client.get(address)
        assert (answer.status_code, answer.json()["code"]) == (504, "host-did-not-answer")
    assert not Question.objects.exists()


def test_a_host_that_is_at_it_and_gets_no_answer_is_told_apart(client, addresses, monkeypatch):
    create = Question.objects.create
    monkeypatch.setattr(Question.objects, "create", lambda **values: create(**values, taken_at="2026-01-01T00:00Z"))
    for address in addresses:
        assert client.get(address).json()["code"] == "whatsapp-did-not-answer"


def test_only_a_connected_session_can_be_asked(client, shop, addresses):
    for status in ("STOPPED", "WAITING", "NEW"):
        WhatsAppSession.objects.update(status=status)
        for address in addresses:
            answer = client.get(address)
            assert (answer.status_code, answer.json()["code"]) == (409, "not-connected")
            assert answer.json()["status_now"] == status


def test_a_question_that_failed_is_refused(client, addresses, monkeypatch):
    create = Question.objects.create
    more = {"answered_at": "2026-01-01T00:00Z", "failed": True}
    monkeypatch.setattr(Question.objects, "create", lambda **values: create(**values, **more))
    for address in addresses:
        assert client.get(address).json()["code"] == "refused"


@pytest.mark.parametrize("phone", ["12", "abc", "+999123456789", "55119876500021234"])
def test_a_number_that_cannot_be_is_asked_of_nobody(client, shop, phone):
    answer = client.get(f"/api/sessions/shop/numbers/{phone}")
    assert (answer.status_code, answer.json()["field"]) == (422, "phone")


def test_a_number_may_be_written_as_people_do(client, shop, monkeypatch):
    answering(monkeypatch, exists=True, jid=BIA)
    answer = client.get("/api/sessions/shop/numbers/+55 11 98765-0002")
    assert answer.json() == {"phone": BIA[:13], "exists": True, "jid": BIA}


def test_the_file_of_a_message_comes_under_its_name_and_never_as_a_page(client, photo, monkeypatch):
    answering(monkeypatch, found=True, data=b"the bytes")
    answer = client.get(f"/api/sessions/shop/messages/{photo.code}/media")
    assert (answer.content, answer["Content-Type"]) == (b"the bytes", "image/png")
    assert answer["Content-Disposition"] == 'attachment; filename="image"'
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cache-Control"] == "no-store"
    assert not Question.objects.exists()


@pytest.mark.parametrize(
    ("mimetype", "filename", "shown", "disposition"),
    [
        ("text/html\r\nX: y", "a\r\nb.html", "application/octet-stream", "a"),
        ("audio/ogg; codecs=opus", "", "audio/ogg; codecs=opus", 'filename="image"'),
        ("", 'me"nu.pdf', "application/octet-stream", "nu.pdf"),
    ],
)
def test_a_files_name_cannot_break_the_answer(client, photo, monkeypatch, mimetype, filename, shown, disposition):
    Message.objects.update(content={"mimetype": mimetype, "filename": filename, "size": 9})
    answering(monkeypatch, found=True, data=b"the bytes")
    answer = client.get(f"/api/sessions/shop/messages/{photo.code}/media")
    assert (answer.status_code, answer["Content-Type"]) == (200, shown)
    assert answer["Content-Disposition"].startswith("attachment")
    assert disposition in answer["Content-Disposition"]


def test_a_file_that_is_gone_or_too_large_is_said_to_be(client, photo, monkeypatch, settings):
    address = f"/api/sessions/shop/messages/{photo.code}/media"
    with monkeypatch.context() as patch:
        answering(patch, found=False)
        assert (client.get(address).status_code, client.get(address).json()["code"]) == (410, "file-gone")
    with monkeypatch.context() as patch:
        answering(patch, found=True)
        assert client.get(address).json()["code"] == "too-large"
    settings.OXY_FILE_LIMIT = 8
    assert client.get(address).status_code == 413


def test_a_text_has_no_file(client, shop):
    text = shop.messages.create(direction="in", chat=BIA, sender=BIA, status="received", text="hi")
    assert client.get(f"/api/sessions/shop/messages/{text.code}/media").json()["code"] == "file-not-found"
    assert client.get("/api/sessions/shop/messages/nonsense/media").json()["code"] == "message-not-found"


def test_what_a_dead_process_asked_is_pruned(shop):
    Question.objects.create(session=shop, kind="groups")
    pruning.prune()
    assert Question.objects.exists()
    Question.objects.update(asked_at="2026-01-01T00:00Z")
    pruning.prune()
    assert not Question.objects.exists()
