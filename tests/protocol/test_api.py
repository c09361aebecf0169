"""The API with a real host and the simulator: two accounts that talk to each other, told what to do over HTTP alone."""

from __future__ import annotations

import base64
import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from sessions_app.api import waiting
from sessions_app.models import WhatsAppSession
from tests.api import ApiClient
from tests.protocol.hosts import eventually

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA = "5511987650001", "5511987650002"


@pytest.fixture
def api(db: None) -> ApiClient:
    return ApiClient()


def wait_for_status(api: ApiClient, name: str, status: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        body: dict[str, Any] = api.get(f"/api/sessions/{name}").json()
        return body if body.get("status") == status else None

    return eventually(look, f"{name} {status}")


def pair_by_qr(api: ApiClient, name: str, phone: Any) -> dict[str, Any]:
    assert api.post("/api/sessions", {"session_id": name, "name": name.title()}).status_code == 201
    assert api.post(f"/api/sessions/{name}/start").status_code == 202
    code = eventually(
        lambda: (answer := api.get(f"/api/sessions/{name}/qr")).status_code == 200 and answer.json(), "a code"
    )
    assert (code["index"], code["of"]) == (1, 6)
    phone.scan(code["code"])
    return wait_for_status(api, name, "CONNECTED")


def pair_by_code(api: ApiClient, name: str, phone: Any, number: str) -> dict[str, Any]:
    assert api.post("/api/sessions", {"session_id": name, "name": name.title()}).status_code == 201
    answer = api.post(f"/api/sessions/{name}/pairing-code", {"phone": f"+{number}"})
    assert answer.status_code == 200, answer.json()
    phone.enter_code(answer.json()["code"])
    return wait_for_status(api, name, "CONNECTED")


def message(api: ApiClient, name: str, code: str, *statuses: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        body: dict[str, Any] = api.get(f"/api/sessions/{name}/messages/{code}").json()
        return body if body["status"] in statuses else None

    return eventually(look, f"a message {' or '.join(statuses)}")


def test_two_accounts_talk_to_each_other(sim, host, api):
    shop = pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    bakery = pair_by_code(api, "bakery", sim.phone(BIA, name="Bia"), BIA)
    assert (shop["phone"], bakery["phone"]) == (ANA, BIA)
    assert shop["has_creds"]
    assert shop["creds_size"] > 500

    sent = [api.post("/api/sessions/shop/messages", {"to": f"+{BIA}", "text": f"n{n}"}).json()["id"] for n in range(5)]
    answered = api.post("/api/sessions/bakery/messages", {"to": ANA, "text": "thanks"}).json()["id"]

    for code in sent:
        message(api, "shop", code, "delivered", "read")
    message(api, "bakery", answered, "delivered", "read")
    inbox = api.get("/api/sessions/bakery/messages?direction=in").json()
    assert [item["text"] for item in inbox["items"]] == ["n4", "n3", "n2", "n1", "n0"]
    assert {item["status"] for item in inbox["items"]} == {"received"}
    (thanks,) = api.get("/api/sessions/shop/messages?direction=in").json()["items"]
    assert thanks["text"] == "thanks"


def test_what_is_sent_while_the_session_is_down_goes_out_when_it_is_up(sim, host, api):
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    assert api.post("/api/sessions/shop/stop").status_code == 202
    wait_for_status(api, "shop", "STOPPED")

    first = api.post("/api/sessions/shop/messages", {"to": BIA, "text": "later"}, idempotency_key="k").json()
    again = api.post("/api/sessions/shop/messages", {"to": BIA, "text": "later"}, idempotency_key="k").json()
    gone = api.post("/api/sessions/shop/messages", {"to": BIA, "text": "too late", "expires_in": 1}).json()
    assert first == again
    assert first["status"] == "queued"
    row = WhatsAppSession.objects.get().messages.get(code=gone["id"])
    eventually(lambda: timezone.now() > row.expires_at, "its end")
    assert api.post("/api/sessions/shop/start").status_code == 202

    message(api, "shop", first["id"], "delivered", "read")
    assert message(api, "shop", gone["id"], "failed")["reason"] == "queue-expired"
    assert [line.text for line in bia.inbox] == ["later"]


def test_a_number_that_is_not_on_whatsapp_gets_nothing_and_is_told(sim, host, api):
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))

    nobody = api.post("/api/sessions/shop/messages", {"to": "+55 11 98765-9999", "text": "hello?"}).json()["id"]
    somebody = api.post("/api/sessions/shop/messages", {"to": BIA, "text": "hello"}).json()["id"]

    assert message(api, "shop", nobody, "failed")["reason"] == "not-on-whatsapp"
    message(api, "shop", somebody, "delivered", "read")
    assert [line.text for line in bia.inbox] == ["hello"]


def test_a_group_gets_what_is_sent_to_its_address(sim, host, api):
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    group = bia.create_group("Neighbours", [ANA])

    sent = api.post("/api/sessions/shop/messages", {"to": group, "text": "to all"}).json()["id"]

    bia.wait_for_text("to all")
    assert message(api, "shop", sent, "sent", "delivered", "read")["chat"] == group


def test_a_backup_answers_with_what_it_found(sim, host, api):
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))

    backup = api.post("/api/sessions/shop/backup")

    assert backup.status_code == 200
    assert backup.json()["keys"] > 800
    assert api.get("/api/sessions/shop").json()["keys"] > 800


def test_a_session_that_is_deleted_unlinks_the_phone_and_is_gone(sim, host, api):
    ana = sim.phone(ANA, name="Ana")
    pair_by_qr(api, "shop", ana)

    assert api.delete("/api/sessions/shop").status_code == 202

    eventually(lambda: api.get("/api/sessions/shop").status_code == 404, "the session's end")
    assert not ana.devices


def test_a_logout_is_told_and_the_session_can_be_paired_again(sim, host, api):
    ana = sim.phone(ANA, name="Ana")
    pair_by_qr(api, "shop", ana)
    assert api.post("/api/sessions/shop/logout").status_code == 202
    gone = wait_for_status(api, "shop", "LOGGED_OUT")
    assert (gone["reason"], gone["has_creds"], gone["keys"]) == ("logged-out-here", False, 0)
    assert api.post("/api/sessions/shop/messages", {"to": BIA, "text": "x"}).json()["code"] == "not-linked"

    code = api.post("/api/sessions/shop/pairing-code", {"phone": ANA}).json()["code"]
    ana.enter_code(code)
    wait_for_status(api, "shop", "CONNECTED")


def test_a_pairing_code_where_whatsapp_is_away_is_no_endless_wait(sim, host, api, monkeypatch):
    monkeypatch.setattr(waiting, "PATIENCE", 1.0)
    api.post("/api/sessions", {"session_id": "shop", "name": "Shop"})
    sim.stop()
    answer = api.post("/api/sessions/shop/pairing-code", {"phone": ANA})
    assert (answer.status_code, answer.json()["code"]) == (504, "still-under-way")


def test_no_answer_and_no_log_holds_key_material(sim, host, api, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    api.post("/api/sessions/shop/messages", {"to": BIA, "text": "a private word"})
    bia.wait_for_text("a private word")
    api.post("/api/sessions/shop/backup")
    answers = [
        api.get(f"/api/sessions{part}").content.decode()
        for part in ("", "/shop", "/shop/events", "/shop/messages?direction=in")
    ]
    api.post("/api/sessions/shop/stop")
    wait_for_status(api, "shop", "STOPPED")

    secrets = {form for value in key_material(tmp_path / "stores" / "shop" / "store.db") for form in forms(value)}
    assert len(secrets) > 1000
    said = capfd.readouterr()
    assert "lease_acquired" in caplog.text
    for output in (caplog.text, said.out, said.err, *answers):
        assert not [secret for secret in secrets if secret in output]
        assert "a private word" not in output
        assert "2@" not in output  # how the text of a QR code begins
        assert api.token.digest not in output


def key_material(live_store: Path) -> set[bytes]:
    """The private halves and the states that the library keeps of this session."""
    columns = {
        "whatsmeow_device": ("noise_key", "identity_key", "signed_pre_key", "adv_key"),
        "whatsmeow_pre_keys": ("key",),
        "whatsmeow_sessions": ("session",),
    }
    with closing(sqlite3.connect(live_store)) as store:
        return {
            row[0]
            for table, names in columns.items()
            for name in names
            for row in store.execute(f"SELECT {name} FROM {table}")
        }


def forms(value: bytes) -> list[str]:
    """How a key could look in a text."""
    coded = base64.b64encode(value).decode().rstrip("=")
    return [value.hex(), value.hex().upper(), coded, coded.translate(str.maketrans("+/", "-_")), repr(value)]
