"""Webhooks in the console and the admin."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from sessions_app import delivery, webhooks
from sessions_app.models import EventName, OutboxEvent, Webhook, WebhookDelivery
from tests.pages import button_names, page, text
from tests.receivers import receiver
from tests.rows import make_session, make_staff

pytestmark = pytest.mark.django_db(transaction=True)
PUBLIC = "https://93.184.216.34/hook"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_staff())
    return client


def make(client: Client, **fields: Any) -> str:
    """Make a webhook on the page; the page that answers."""
    response = client.post("/webhooks/new", {"url": PUBLIC, **fields})
    assert response.status_code == 200
    return response.content.decode()


def secret_in(html: str) -> str:
    found = re.search(r'id="secret"[^>]*>([^<]*)<', html)
    return found[1] if found else ""


@pytest.mark.parametrize("path", ["/webhooks/", "/webhooks/00000000-0000-0000-0000-000000000000/"])
def test_only_staff_comes_in(client: Client, path: str) -> None:
    assert client.get(path)["Location"] == f"/login/?next={path}"


def test_the_secret_is_on_the_page_that_follows_and_on_no_other(staff: Client) -> None:
    secret = secret_in(make(staff))
    webhook = Webhook.objects.get()
    assert secret == webhook.secret
    for path in (f"/webhooks/{webhook.code}/", "/webhooks/"):
        assert secret not in page(staff, path)


def test_an_address_of_a_private_network_is_refused_in_words(staff: Client) -> None:
    response = staff.post("/webhooks/new", {"url": "http://10.0.0.1/x", "events": ["message.received"]})
    assert response.status_code == 422
    html = response.content.decode()
    assert "private or local network" in html
    assert 'value="http://10.0.0.1/x"' in html
    assert re.search(r'value="message.received" checked', html)


def test_a_session_that_does_not_exist_is_refused(staff: Client) -> None:
    assert staff.post("/webhooks/new", {"url": PUBLIC, "session_id": "nowhere"}).status_code == 422
    assert not Webhook.objects.exists()


def test_a_webhook_of_one_session_and_some_events_is_made_and_changed(staff: Client) -> None:
    session = make_session(session_id="shop")
    make(staff, session_id="shop", events=["message.received", "session.status"])
    webhook = Webhook.objects.get()
    assert (webhook.session_id, webhook.events) == (session.pk, ["session.status", "message.received"])

    staff.post(f"/webhooks/{webhook.code}/change", {"url": f"{PUBLIC}/2"})

    webhook.refresh_from_db()
    assert (webhook.url, webhook.events, webhook.session_id) == (f"{PUBLIC}/2", ["*"], session.pk)


def test_it_is_switched_rotated_and_deleted(staff: Client) -> None:
    old = secret_in(make(staff))
    webhook = Webhook.objects.get()
    url = f"/webhooks/{webhook.code}"

    staff.post(f"{url}/disable")
    assert "Switch on" in button_names(page(staff, f"{url}/"))
    staff.post(f"{url}/enable")
    assert "Switch off" in button_names(page(staff, f"{url}/"))
    new = secret_in(staff.post(f"{url}/rotate").content.decode())
    assert new not in ("", old)
    assert staff.get(f"{url}/rotate").status_code == 405
    assert staff.post(f"{url}/explode").status_code == 404
    staff.post(f"{url}/delete")
    assert not Webhook.objects.exists()


def test_each_delivery_shows_its_answer_and_can_be_sent_again(staff: Client, settings: Any) -> None:
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = True
    session = make_session(session_id="shop")
    with receiver() as hook:
        hook.reply = lambda call: (418, b"<script>alert(1)</script> teapot", {})
        make(staff, url=hook.url)
        with transaction.atomic():
            OutboxEvent.write(session, EventName.SESSION_QR, {})
        delivery.deliver(linger=0)
        row = WebhookDelivery.objects.get()
        url = f"/webhooks/{row.webhook.code}/"

        html = page(staff, url)
        assert "418" in text(html)
        assert "teapot" in html
        assert "<script>alert" not in html
        assert "Failing" in text(page(staff, "/webhooks/"))

        hook.reply = lambda call: (200, b"", {})
        assert "Try now" in button_names(html)
        staff.post(f"{url}deliveries/{row.code}/again")
        delivery.deliver(linger=0)
        assert "Send again" in button_names(page(staff, url))
        staff.post(f"{url}deliveries/{row.code}/again")
        delivery.deliver(linger=0)
    assert len(hook.calls) == 3
    assert page(staff, f"{url}?status=failed").count("data-delivery") == 0


def test_the_admin_shows_webhooks_and_no_secret(staff: Client) -> None:
    secret = secret_in(make(staff))
    webhook = Webhook.objects.get()
    webhooks.ping(webhook)
    for path in ("webhook", "webhookdelivery", "outboxevent"):
        page(staff, f"/admin/sessions_app/{path}/")
    html = page(staff, f"/admin/sessions_app/webhook/{webhook.pk}/change/")
    assert secret not in html
    assert "sealed" not in html
