"""Webhooks over HTTP."""

from __future__ import annotations

import json
import typing
from typing import Any

import pytest
from django.db import transaction

from sessions_app import delivery
from sessions_app.api.webhooks import Event
from sessions_app.models import EventName, OutboxEvent, Webhook, WebhookDelivery
from sessions_app.models.webhooks import ALL_EVENTS, SUBSCRIBABLE
from tests.api import ApiClient
from tests.receivers import receiver
from tests.rows import make_session

pytestmark = pytest.mark.django_db(transaction=True)
PUBLIC = "https://93.184.216.34/hook"


@pytest.fixture
def api() -> ApiClient:
    return ApiClient()


def made(api: ApiClient, **body: Any) -> Any:
    response = api.post("/api/webhooks", {"url": PUBLIC, **body})
    assert response.status_code == 201, response.content
    return response.json()


def test_a_webhook_is_made_and_its_secret_shown_once(api):
    webhook = made(api, events=["message.received"])
    assert webhook["secret"].startswith("whsec_")
    assert (webhook["session_id"], webhook["active"]) == (None, True)

    read = api.get(f"/api/webhooks/{webhook['id']}").json()
    listed = api.get("/api/webhooks").json()

    assert "secret" not in read
    assert listed == {"items": [read], "count": 1}
    assert Webhook.objects.get().secret == webhook["secret"]


def test_the_names_of_events_are_the_ones_that_the_document_lists():
    assert set(typing.get_args(Event)) == {ALL_EVENTS, *SUBSCRIBABLE}


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://10.0.0.5/x",
        "http://[::1]/x",
        "http://[::ffff:192.168.1.1]/x",
        "http://169.254.169.254/latest",
        "http://100.64.0.1/x",
        "http://localhost:8000/x",
        "http://2130706433/x",
        "ftp://93.184.216.34/x",
        "https://user:word@93.184.216.34/x",
        "nonsense",
        "https://",
    ],
)
def test_an_address_that_may_not_be_called_is_refused_with_a_sentence(api, url):
    response = api.post("/api/webhooks", {"url": url})
    assert response.status_code == 422
    assert response.json()["code"] == "bad-url"
    assert not Webhook.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": PUBLIC, "events": []},
        {"url": PUBLIC, "events": ["no.such"]},
        {"url": PUBLIC, "color": "red"},
        {"url": 5},
    ],
)
def test_a_wrong_body_is_refused(api, body):
    response = api.post("/api/webhooks", body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid")


def test_a_webhook_is_changed_rotated_and_deleted(api):
    webhook = made(api)
    url = f"/api/webhooks/{webhook['id']}"

    changed = api.patch(url, {"active": False, "events": ["session.status", "session.qr", "session.qr"]}).json()
    assert (changed["active"], changed["events"], changed["url"]) == (False, ["session.status", "session.qr"], PUBLIC)
    assert api.patch(url, {"url": "http://10.0.0.1/"}).json()["code"] == "bad-url"
    secret = api.post(f"{url}/rotate").json()["secret"]
    assert secret == Webhook.objects.get().secret != webhook["secret"]
    assert api.delete(url).status_code == 204
    assert api.get(url).json()["code"] == "webhook-not-found"


def test_webhooks_need_the_scope_admin():
    api = ApiClient(scopes=["read", "send", "control", "vault"])
    for response in (api.get("/api/webhooks"), api.post("/api/webhooks", {"url": PUBLIC})):
        assert (response.status_code, response.json()["code"]) == (403, "missing-scope")


def test_a_limited_token_sees_and_makes_webhooks_of_its_sessions_alone(api):
    mine, other = make_session(session_id="mine"), make_session(session_id="other")
    theirs, everybody = made(api, session_id="other"), made(api)
    limited = ApiClient(sessions=[mine])

    assert limited.post("/api/webhooks", {"url": PUBLIC}).status_code == 403
    assert limited.post("/api/webhooks", {"url": PUBLIC, "session_id": other.session_id}).status_code == 404
    ours = made(limited, session_id="mine")

    assert [item["id"] for item in limited.get("/api/webhooks").json()["items"]] == [ours["id"]]
    for foreign in (theirs, everybody):
        assert limited.get(f"/api/webhooks/{foreign['id']}").status_code == 404
        assert limited.delete(f"/api/webhooks/{foreign['id']}").status_code == 404


def test_deliveries_are_listed_and_sent_again(api, settings):
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = True
    session = make_session(session_id="shop")
    with receiver() as hook:
        hook.reply = lambda call: (200, b"thanks", {})
        webhook = made(api, url=hook.url)
        with transaction.atomic():
            OutboxEvent.write(session, EventName.SESSION_QR, {"index": 1})
        delivery.deliver(linger=0)
        url = f"/api/webhooks/{webhook['id']}/deliveries"

        first = api.get(url, accept="application/json").json()["items"][0]
        assert (first["status"], first["response_status"], first["response_excerpt"]) == ("delivered", 200, "thanks")
        assert (first["event"], first["session_id"]) == ("session.qr", "shop")
        assert api.get(f"{url}?status=given-up").json()["count"] == 0

        again = api.post(f"{url}/{first['id']}/redeliver")
        assert again.status_code == 202
        assert again.json()["event_id"] == first["event_id"]
        delivery.deliver(linger=0)
        assert hook.calls[0].body == hook.calls[1].body
        assert [call.headers["x-oxy-delivery"] for call in hook.calls] == [first["id"], again.json()["id"]]

        assert api.post(f"/api/webhooks/{webhook['id']}/test").status_code == 202
        delivery.deliver(linger=0)
        assert json.loads(hook.calls[2].body)["event"] == "ping"
    assert WebhookDelivery.objects.count() == 3


def test_what_does_not_exist_is_404(api):
    webhook = made(api)
    nobody = "00000000-0000-0000-0000-000000000000"
    assert api.get("/api/webhooks/nonsense").status_code == 404
    assert api.get(f"/api/webhooks/{nobody}/deliveries").status_code == 404
    for unknown in (nobody, "nonsense"):
        answer = api.post(f"/api/webhooks/{webhook['id']}/deliveries/{unknown}/redeliver")
        assert (answer.status_code, answer.json()["code"]) == (404, "delivery-not-found")
