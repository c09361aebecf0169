"""Sessions and commands over HTTP, with no host: what is written down, what is refused, what is shown."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from PIL import Image

from sessions_app.api import waiting
from sessions_app.hosting import rounds
from sessions_app.lifecycle import Command, Status
from sessions_app.models import AuthBlob, SessionCommand, WhatsAppSession
from sessions_app.vault import crypto
from tests.api import ApiClient

pytestmark = pytest.mark.django_db
FIELDS = {"session_id", "name", "owner", "status", "reason", "desired", "phone", "jid", "push_name", "has_creds", "keys",
          "creds_size", "last_connected_at", "last_backup_at", "host", "created_at", "updated_at"}  # fmt: skip


@pytest.fixture
def client(db: None) -> ApiClient:
    return ApiClient(name="bot")


def session(status: Status = Status.NEW, **fields: Any) -> WhatsAppSession:
    return WhatsAppSession.objects.create(**{"session_id": "shop", "name": "Shop", "status": status} | fields)


def commands() -> list[tuple[str, str]]:
    return list(SessionCommand.objects.values_list("verb", "outcome"))


# --- make, list, read, change ---------------------------------------------------


def test_a_session_is_made_and_read_in_the_contracts_shape(client):
    made = client.post("/api/sessions", {"session_id": "shop", "name": " Shop ", "owner": "acme"})

    assert made.status_code == 201
    body = made.json()
    assert set(body) == FIELDS
    assert (body["session_id"], body["name"], body["owner"], body["status"]) == ("shop", "Shop", "acme", "NEW")
    assert (body["desired"], body["has_creds"], body["keys"], body["creds_size"]) == ("stopped", False, 0, 0)
    assert client.get("/api/sessions/shop").json() == body
    assert client.get("/api/sessions").json() == {"items": [body], "count": 1}


def test_a_session_gets_an_id_where_none_is_named(client):
    body = client.post("/api/sessions", {"name": "Shop"}).json()
    assert WhatsAppSession.objects.get().session_id == body["session_id"]


def test_an_id_that_is_taken_is_a_conflict(client):
    session()
    answer = client.post("/api/sessions", {"session_id": "shop", "name": "Other"})
    assert (answer.status_code, answer.json()["code"]) == (409, "session-exists")


def test_the_vault_is_counted_and_not_shown(client):
    mine = session(creds={"noiseKey": {"private": "sealed-text"}})
    AuthBlob.objects.create(session=mine, data_key="pre-key-1", data_value=b"sealed-bytes")
    session(session_id="other")

    body = client.get("/api/sessions/shop").json()

    assert (body["has_creds"], body["keys"]) == (True, 1)
    assert body["creds_size"] > 30
    assert client.get("/api/sessions").json()["items"][1] == body
    assert "sealed" not in str(body)


def test_a_list_is_paged_and_filtered(client):
    for n in range(5):
        session(Status.CONNECTED if n % 2 else Status.NEW, session_id=f"s{n}", name=f"N{n}", owner="acme" if n else "")

    page = client.get("/api/sessions?limit=2&offset=1").json()
    assert ([item["session_id"] for item in page["items"]], page["count"]) == (["s1", "s2"], 5)
    assert client.get("/api/sessions?status=CONNECTED").json()["count"] == 2
    assert client.get("/api/sessions?owner=acme").json()["count"] == 4
    assert client.get("/api/sessions?owner=").json()["count"] == 1


@pytest.mark.django_db
def test_a_list_of_many_costs_as_many_queries_as_one_of_few(client, django_assert_num_queries):
    session()
    client.get("/api/sessions")
    for n in range(20):
        session(session_id=f"s{n}", creds={"me": {}})
    with django_assert_num_queries(4):  # the token, its count, the page, the number of all
        client.get("/api/sessions")


def test_a_change_changes_what_is_given_and_nothing_else(client):
    session(owner="acme")

    body = client.patch("/api/sessions/shop", {"name": "Uptown"}).json()

    assert (body["name"], body["owner"]) == ("Uptown", "acme")
    assert client.patch("/api/sessions/shop", {}).json() == body
    assert client.patch("/api/sessions/shop", {"owner": ""}).json()["owner"] == ""


def test_a_proxy_is_sealed_used_and_never_shown(client):
    made = client.post("/api/sessions", {"session_id": "shop", "name": "S", "proxy_url": "http://u:pass@proxy:3128"})

    row = WhatsAppSession.objects.get()
    assert b"pass" not in bytes(row.proxy_url)
    assert crypto.unseal(bytes(row.proxy_url), "shop", "proxy-url") == b"http://u:pass@proxy:3128"
    shown = made.content + client.get("/api/sessions/shop/events").content
    assert b"pass" not in shown
    client.patch("/api/sessions/shop", {"proxy_url": None})
    assert WhatsAppSession.objects.get().proxy_url is None


# --- commands ---------------------------------------------------------------------


def test_a_command_is_written_down_in_the_tokens_name(client):
    session()

    answer = client.post("/api/sessions/shop/start")

    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["desired"]) == ("NEW", "running")
    row = SessionCommand.objects.get()
    assert (row.verb, row.requested_by) == ("start", "API: bot")
    assert client.get("/api/sessions/shop/events").json()["items"][0]["actor"] == "API: bot"


def test_a_command_that_the_status_does_not_allow_says_what_it_allows(client):
    session(Status.STOPPED)

    answer = client.post("/api/sessions/shop/stop")

    assert answer.status_code == 409
    assert answer.json() | {"error": ""} == {
        "error": "", "code": "not-allowed", "status_now": "STOPPED", "allowed": ["delete", "start"]
    }  # fmt: skip
    assert commands() == []


def test_a_deletion_is_asked_for_once_and_can_be_forced(client):
    session(Status.STOPPED)

    assert client.delete("/api/sessions/shop?force=true").status_code == 202
    again = client.delete("/api/sessions/shop")

    assert (again.status_code, again.json()["allowed"]) == (409, [])
    assert SessionCommand.objects.get().arguments == {"force": True}


def test_an_answer_that_no_host_gives_is_a_504_and_the_command_is_withdrawn(client, monkeypatch):
    monkeypatch.setattr(waiting, "PATIENCE", 0.05)
    session()

    answer = client.post("/api/sessions/shop/pairing-code", {"phone": "+55 11 98765-0001"})

    assert (answer.status_code, answer.json()["code"]) == (504, "host-did-not-answer")
    assert commands() == [("pairing-code", "withdrawn")]
    # What the request wished for is not wished any more: a host that comes later shows no codes to nobody.
    assert WhatsAppSession.objects.get().desired == "stopped"
    assert not WhatsAppSession.objects.claimable().exists()
    assert client.get("/api/sessions/shop/events").json()["items"][0]["detail"]["outcome"] == "withdrawn"


def test_an_answer_that_comes_too_late_is_a_504_that_says_so(client, monkeypatch):
    monkeypatch.setattr(waiting, "PATIENCE", 0.05)
    monkeypatch.setattr(waiting, "sleep", lambda _: SessionCommand.objects.update(taken_at=timezone.now()))
    session(Status.CONNECTED, creds={})

    answer = client.post("/api/sessions/shop/backup")

    assert (answer.status_code, answer.json()["code"]) == (504, "still-under-way")
    assert commands() == [("backup", "")]


def test_what_a_host_refuses_is_a_409_with_its_sentence(client, monkeypatch):
    def host(_: float) -> None:
        SessionCommand.objects.get().finish(SessionCommand.Outcome.FAILED, "WhatsApp said no.")

    monkeypatch.setattr(waiting, "sleep", host)
    session(Status.CONNECTED, creds={})
    answer = client.post("/api/sessions/shop/backup")
    assert (answer.status_code, answer.json()) == (409, {"error": "WhatsApp said no.", "code": "refused"})


def test_of_a_host_that_takes_and_a_caller_who_withdraws_one_wins():
    taken, withdrawn = (session(session_id=name).request(Command.START, by="x") for name in ("a", "b"))
    mine = SessionCommand.objects.filter

    assert mine(pk=taken.pk, taken_at=None).update(taken_at=timezone.now())  # as the supervisor does
    assert not taken.withdraw()
    assert withdrawn.withdraw()
    assert not mine(pk=withdrawn.pk, taken_at=None).update(taken_at=timezone.now())


def test_a_withdrawal_keeps_what_was_wished_after_the_command():
    shop = session()
    first = shop.request(Command.PAIRING_CODE, by="x", phone="1")
    shop.request(Command.START, by="y")

    assert shop.withdraw(first, desired="stopped")
    assert WhatsAppSession.objects.get().desired == "running"


@pytest.mark.parametrize("phone", ["", "123", "12x4567890", "0551198765", "+999123456789", "+551", "9" * 16, None, 55])
def test_a_number_that_cannot_exist_is_refused_before_anything_is_asked(client, phone):
    session()
    answer = client.post("/api/sessions/shop/pairing-code", {"phone": phone})
    assert (answer.status_code, answer.json()["field"]) == (422, "phone")
    assert commands() == []


# --- codes --------------------------------------------------------------------------


@pytest.fixture
def shown(db: None) -> WhatsAppSession:
    shop = session(Status.PAIRING)
    current = rounds.begin(shop, epoch=1)
    rounds.show_code(current, "2@first", timezone.now().timestamp() - 60)
    rounds.show_code(current, "2@second", timezone.now().timestamp())
    return shop


def test_the_code_is_json_with_its_place_and_end(client, shown):
    answer = client.get("/api/sessions/shop/qr")

    body = answer.json()
    assert (body["code"], body["index"], body["of"]) == ("2@second", 2, 6)
    assert body["expires_at"].endswith("Z")
    assert answer["Cache-Control"] == "no-store"


def test_the_code_is_the_picture_that_accept_prefers(client, shown):
    png = client.get("/api/sessions/shop/qr", accept="image/png")
    svg = client.get("/api/sessions/shop/qr", accept="image/svg+xml, application/json;q=0.5")

    assert png["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(png.content)).width > 100
    assert svg["Content-Type"] == "image/svg+xml"
    assert svg.content.startswith(b"<svg")
    for anything in ("*/*", "application/json, image/png;q=0.9", "text/html"):
        assert client.get("/api/sessions/shop/qr", accept=anything).json()["code"] == "2@second"


def test_no_code_is_a_409_that_says_what_to_do(client):
    shop = session()
    answer = client.get("/api/sessions/shop/qr")
    assert (answer.status_code, answer.json()["code"]) == (409, "no-qr")
    assert "start" in answer.json()["allowed"]

    rounds.show_code(rounds.begin(shop, epoch=1), "2@old", (timezone.now() - timedelta(seconds=61)).timestamp())
    assert client.get("/api/sessions/shop/qr").status_code == 409


def test_reading_is_not_enough_to_see_a_code(shown):
    assert ApiClient(scopes=["read", "send", "vault", "admin"]).get("/api/sessions/shop/qr").status_code == 403
