"""Files of messages: what is taken, where they wait, and what is fetched from an address by whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone
from django_q.models import OrmQ

from sessions_app import fetching, pruning, tasks
from sessions_app.engine import events as ev
from sessions_app.hosting.keeper import FILES_NAME
from sessions_app.hosting.sending import Outbox
from sessions_app.models import DraftFile, Message, MessageFile, OutboxEvent, WhatsAppSession
from sessions_app.vault import rotation
from tests.api import ApiClient
from tests.receivers import Receiver, receiver
from tests.samples import JPEG, MP3, MP4, OGG, PDF, PNG, b64

pytestmark = pytest.mark.django_db(transaction=True)
MESSAGES = "/api/sessions/shop/messages"
TO = {"to": "5511987650002"}


@pytest.fixture
def client(db: None) -> ApiClient:
    return ApiClient(name="bot")


@pytest.fixture
def shop(db: None) -> WhatsAppSession:
    return WhatsAppSession.objects.create(
        session_id="shop", name="Shop", status="CONNECTED", desired="running", creds={"me": {}}
    )


@pytest.fixture
def engine() -> list[ev.SendMessage]:
    """What the engine was told."""
    return []


@pytest.fixture
def outbox(shop: WhatsAppSession, engine: list[ev.SendMessage], tmp_path: Any) -> Outbox:
    running: Any = SimpleNamespace(
        session=shop,
        phase="running",
        directory=tmp_path,
        lease=SimpleNamespace(epoch=shop.lease_epoch),
        intake=SimpleNamespace(write_through=lambda: None),
        engine=SimpleNamespace(send=engine.append),
        news=lambda: None,
    )
    return Outbox(running)


@pytest.fixture
def shelf(settings: Any) -> Iterator[Receiver]:
    """Where files are fetched from."""
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = True
    with receiver() as running:
        running.reply = lambda call: (200, PNG, {"Content-Type": "text/plain"})
        yield running


def message(client: ApiClient, code: str) -> dict[str, Any]:
    return dict(client.get(f"{MESSAGES}/{code}").json())


# --- uploads ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "file", "mimetype"),
    [
        ("image", {"data": b64(PNG)}, "image/png"),
        ("image", {"data": b64(JPEG)}, "image/jpeg"),
        ("document", {"data": b64(PDF), "filename": "menu.txt"}, "application/pdf"),
        ("document", {"data": b64(b"a,b\n1,2\n"), "filename": "list.csv"}, "text/csv"),
        ("document", {"data": b64(b"what?"), "filename": "thing"}, "application/octet-stream"),
        ("audio", {"data": b64(MP3)}, "audio/mpeg"),
        ("audio", {"data": b64(OGG)}, "audio/ogg"),
        ("audio", {"data": b64(OGG), "voice": True}, "audio/ogg; codecs=opus"),
        ("video", {"data": b64(MP4)}, "video/mp4"),
    ],
)
def test_a_file_is_queued_under_the_type_that_its_bytes_have(client, shop, field, file, mimetype):
    taken = client.post(MESSAGES, TO | {field: file})

    assert taken.status_code == 202, taken.json()
    shown = message(client, taken.json()["id"])
    assert (shown["type"], shown["status"], shown["content"]["mimetype"]) == (field, "queued", mimetype)
    stored = MessageFile.objects.get()
    assert b64(stored.data) == file["data"]
    assert stored.size == shown["content"]["size"] == len(stored.data)
    assert stored.data[:16] not in bytes(stored.sealed)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"image": {"data": b64(PDF)}}, "image"),
        ({"video": {"data": b64(PNG)}}, "video"),
        ({"audio": {"data": b64(MP3), "voice": True}}, "audio"),
        ({"image": {}}, "image"),
        ({"image": {"data": "", "url": None}}, "image"),
        ({"image": {"data": "not base64!"}}, "image"),
        ({"image": {"data": b64(PNG), "url": "https://example.com/a.png"}}, "image"),
        ({"image": {"data": b64(PNG), "filename": "a.png"}}, "image.filename"),
        ({"document": {"data": b64(PDF)}}, "document.filename"),
        ({"document": {"data": b64(PDF), "filename": "../menu.pdf"}}, "document.filename"),
        ({"audio": {"data": b64(MP3)}, "text": "a caption"}, "text"),
        ({"image": {"data": b64(PNG)}, "video": {"data": b64(MP4)}}, "video"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(client, shop, body, field):
    answer = client.post(MESSAGES, TO | body)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid", field)
    assert not Message.objects.exists()


def test_a_file_has_a_size_and_all_that_wait_have_one_together(client, shop, settings):
    settings.OXY_FILE_LIMIT = len(PNG) - 1
    answer = client.post(MESSAGES, TO | {"image": {"data": b64(PNG)}})
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
    body = json.dumps(TO | {"image": {"data": "A" * (settings.OXY_FILE_LIMIT * 2 + 600 * 1024)}})
    assert client.post(MESSAGES, body).status_code == 413

    settings.OXY_FILE_LIMIT, settings.OXY_FILES_LIMIT = 1024, len(PNG)
    answers = [client.post(MESSAGES, TO | {"image": {"data": b64(PNG)}}) for __ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 429]
    assert answers[1].json()["code"] == "queue-full"
    assert client.post(MESSAGES, TO | {"text": "no file"}).status_code == 202


def test_a_file_of_many_megabytes_is_taken_on_the_address_of_messages_alone(client, shop):
    large = PNG + bytes(9 * 1024 * 1024)
    assert client.post(MESSAGES, TO | {"image": {"data": b64(large)}}).status_code == 202
    assert client.post("/api/sessions", {"name": b64(large)}).status_code == 413


def test_lists_do_not_read_files(client, shop, django_assert_num_queries):
    client.post(MESSAGES, TO | {"image": {"data": b64(PNG)}})
    with django_assert_num_queries(5) as seen:
        client.get(MESSAGES)
    assert not any("messagefile" in query["sql"] for query in seen.captured_queries)


def test_the_engine_gets_a_file_for_as_long_as_it_sends_it(client, shop, outbox, engine, tmp_path):
    code = client.post(MESSAGES, TO | {"image": {"data": b64(PNG)}, "text": "a bike"}).json()["id"]

    outbox.send_queued()

    (command,) = engine
    written = tmp_path / FILES_NAME / code
    assert (command.kind, command.text, command.path) == ("image", "a bike", str(written))
    assert written.read_bytes() == PNG
    assert written.stat().st_mode & 0o077 == 0
    assert MessageFile.objects.exists()
    outbox.on_sent(ev.MessageSent(session="shop", ref=code, message_id="3EB0", timestamp=1))
    assert not written.exists()
    assert not MessageFile.objects.exists()
    assert message(client, code)["status"] == "sent"


def test_a_file_whose_sending_never_began_is_kept_for_the_next_try(client, shop, outbox, engine, tmp_path):
    code = client.post(MESSAGES, TO | {"image": {"data": b64(PNG)}}).json()["id"]
    outbox.send_queued()
    outbox.on_failed(ev.CommandFailed(session="shop", command="SendMessage", error="x", ref=code))
    assert not list((tmp_path / FILES_NAME).iterdir())

    outbox.send_queued()

    assert [command.ref for command in engine] == [code, code]
    assert (tmp_path / FILES_NAME / code).read_bytes() == PNG
    refused = ev.CommandFailed(session="shop", command="SendMessage", error="x", ref=code, tried=True, not_uploaded=True)  # fmt: skip
    outbox.on_failed(refused)
    assert message(client, code)["reason"] == "file-not-taken"
    assert not MessageFile.objects.exists()


def test_a_file_whose_key_is_gone_fails_alone(client, shop, outbox, engine, settings):
    client.post(MESSAGES, TO | {"image": {"data": b64(PNG)}})
    MessageFile.objects.update(sealed=b"\1" + bytes(60))
    client.post(MESSAGES, TO | {"text": "after it"})
    outbox.send_queued()
    assert [command.text for command in engine] == ["after it"]
    assert Message.objects.get(kind="image").reason == "file-unreadable"


def test_files_of_messages_that_ended_are_forgotten(client, shop):
    for __ in range(2):
        client.post(MESSAGES, TO | {"image": {"data": b64(PNG)}})
    Message.objects.filter(pk=Message.objects.first().pk).update(status="failed")
    pruning.prune()
    assert MessageFile.objects.count() == 1


def test_files_move_to_a_new_key_with_everything_else(client, shop, settings):
    client.post(MESSAGES, TO | {"image": {"data": b64(PNG)}})
    client.post(MESSAGES, TO | {"image": {"url": "https://example.com/a.png"}})
    old = settings.OXY_ENCRYPTION_KEYS
    settings.OXY_ENCRYPTION_KEYS = ["bmV3LWtleS1uZXcta2V5LW5ldy1rZXktbmV3LWtleSE=", *old]
    assert rotation.rotate().moved >= 2
    settings.OXY_ENCRYPTION_KEYS = settings.OXY_ENCRYPTION_KEYS[:1]
    first, second = MessageFile.objects.select_related("message__session").order_by("pk")
    assert (first.data, second.url) == (PNG, "https://example.com/a.png")


# --- from an address ------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/a.png", "http://169.254.169.254/a", "http://localhost/a", "file:///etc/passwd", "ftp://example.com/a",
     "https://user:secret@example.com/a", "nonsense"],
)  # fmt: skip
def test_an_address_that_may_not_be_called_is_refused_at_once(client, shop, url):
    answer = client.post(MESSAGES, TO | {"image": {"url": url}})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-url")
    assert "secret" not in answer.content.decode()
    assert not Message.objects.exists()


def test_a_file_is_fetched_by_a_task_and_its_message_then_goes_out_in_its_turn(client, shop, outbox, engine, shelf):
    code = client.post(MESSAGES, TO | {"image": {"url": shelf.url}, "text": "a bike"}).json()["id"]
    client.post(MESSAGES, TO | {"text": "after it"})
    client.post(MESSAGES, {"to": "5511987650003", "text": "elsewhere"})
    assert OrmQ.objects.get().func() == "sessions_app.tasks.fetch_file"
    assert shelf.url.encode() not in bytes(MessageFile.objects.get().sealed_url)
    outbox.send_queued()
    assert [command.text for command in engine] == ["elsewhere"]

    assert tasks.fetch_file(MessageFile.objects.get().pk)

    assert message(client, code)["content"] == {"mimetype": "image/png", "size": len(PNG)}
    outbox.grew = True
    outbox.send_queued()
    assert [command.text for command in engine] == ["elsewhere", "a bike", "after it"]
    assert MessageFile.objects.get().data == PNG


def test_a_file_whose_task_was_lost_is_fetched_by_the_schedule_and_by_one_at_a_time(client, shop, shelf):
    client.post(MESSAGES, TO | {"image": {"url": shelf.url}})
    OrmQ.objects.all().delete()
    assert tasks.fetch_files() == 1
    pk = MessageFile.objects.get().pk
    assert fetching.fetch(pk)
    assert not fetching.fetch(pk)
    assert len(shelf.calls) == 1
    assert tasks.fetch_files() == 0


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ((404, b"", {}), "file-not-fetched"),
        ((200, b"", {}), "file-not-fetched"),
        ((200, PDF, {}), "file-wrong-type"),
        ((200, PNG + bytes(2000), {}), "file-too-large"),
        ((302, b"", {"Location": "http://169.254.169.254/latest"}), "file-not-fetched"),
        ((302, b"", {"Location": "/hook"}), "file-not-fetched"),
        ((302, b"", {"Location": "http://[nonsense"}), "file-not-fetched"),
        ((302, b"", {"Location": "ftp://example.com/a.png"}), "file-not-fetched"),
    ],
)
def test_what_cannot_be_had_from_there_ends_the_message(client, shop, shelf, settings, reply, reason):
    settings.OXY_FILE_LIMIT = 1024
    shelf.reply = lambda call: reply
    code = client.post(MESSAGES, TO | {"image": {"url": shelf.url}}).json()["id"]

    assert not fetching.fetch(MessageFile.objects.get().pk)

    shown = message(client, code)
    assert (shown["status"], shown["reason"]) == ("failed", reason)
    assert OutboxEvent.objects.filter(name="message.status").last().data["message"]["reason"] == reason
    assert not MessageFile.objects.exists()


def test_a_redirect_is_followed(client, shop, shelf):
    answers = [(302, b"", {"Location": "/there"}), (200, PNG, {})]
    shelf.reply = lambda call: answers.pop(0)
    client.post(MESSAGES, TO | {"image": {"url": shelf.url}})
    assert fetching.fetch(MessageFile.objects.get().pk)


def test_a_redirect_from_a_public_place_to_a_private_one_is_not_followed(client, shop, shelf, settings, monkeypatch):
    """The first address is let through here, as a public one would be; the second is checked like any."""
    shelf.reply = lambda call: (302, b"", {"Location": shelf.url})
    client.post(MESSAGES, TO | {"image": {"url": shelf.url}})
    request = fetching.outbound.Client.request

    def once(self: Any, *args: Any, **more: Any) -> Any:
        answer = request(self, *args, **more)
        settings.OXY_WEBHOOK_ALLOW_PRIVATE = False
        return answer

    monkeypatch.setattr(fetching.outbound.Client, "request", once)
    assert not fetching.fetch(MessageFile.objects.get().pk)
    assert len(shelf.calls) == 1
    assert Message.objects.get().reason == "file-not-fetched"


def test_a_host_in_trouble_is_asked_again_and_then_given_up(client, shop, shelf):
    shelf.reply = lambda call: (503, b"", {})
    client.post(MESSAGES, TO | {"image": {"url": shelf.url}})
    pk = MessageFile.objects.get().pk
    for attempt in range(3):
        assert not fetching.fetch(pk)
        assert not fetching.fetch(pk)  # not before its time
        assert len(shelf.calls) == attempt + 1
        MessageFile.objects.update(due_at=F("due_at") - timedelta(minutes=5))
    assert Message.objects.get().reason == "file-not-fetched"


def test_a_file_whose_fetching_kills_the_worker_is_given_up_too(client, shop, shelf, monkeypatch):
    client.post(MESSAGES, TO | {"image": {"url": shelf.url}})
    pk = MessageFile.objects.get().pk

    def dies(url: str) -> bytes:
        raise SystemExit

    monkeypatch.setattr(fetching, "_get", dies)
    for __ in range(3):
        with pytest.raises(SystemExit):
            fetching.fetch(pk)
        assert Message.objects.get().status == "queued"
        MessageFile.objects.update(due_at=F("due_at") - timedelta(minutes=5))
    assert not fetching.fetch(pk)
    assert Message.objects.get().reason == "file-not-fetched"


def test_a_file_of_a_message_that_has_expired_is_fetched_no_more(client, shop, shelf):
    client.post(MESSAGES, TO | {"image": {"url": shelf.url}, "expires_in": 1})
    Message.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    tasks.give_up_expired_messages()
    assert tasks.fetch_files() == 0
    assert not MessageFile.objects.exists()


def test_a_draft_with_a_file_survives_in_the_database_alone(shop):
    """What is queued needs nothing of the process that took it."""
    from sessions_app.models import Draft

    shop.send(Draft("5511987650002", kind="image", content={"mimetype": "image/png"}, file=DraftFile(PNG)), by="t")
    assert MessageFile.objects.select_related("message__session").get().data == PNG
