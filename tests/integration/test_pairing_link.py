"""Pairing links: one phone, one session, one hour, and nothing else to be seen."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.test import Client
from django.utils import timezone

from sessions_app.lifecycle import Status
from sessions_app.models import AlreadyLinked, Message, PairingLink, WhatsAppSession
from sessions_app.routing import websockets
from tests.pages import button_names, page, session_page, tag, text
from tests.rows import QR_TEXT, SECRET, make_round, make_session, make_staff

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


def make_customer(session: WhatsAppSession) -> tuple[Client, PairingLink]:
    """A browser that has opened a new link of this session."""
    link, token = PairingLink.issue(session, by="ana")
    customer = Client()
    assert customer.post("/pair/open", {"token": token}).status_code == 204
    return customer, link


# --- staff make it --------------------------------------------------------------------


def test_staff_make_a_link_that_is_shown_once_and_kept_as_a_hash(client: Client) -> None:
    client.force_login(make_staff())
    session = make_session(Status.NEW, creds=None)
    made = client.post(f"/sessions/{session.session_id}/link").content.decode()
    token = re.search(r'id="link" class="secret">http://testserver/pair/#([\w-]{40,})<', made).group(1)  # type: ignore[union-attr]

    link = PairingLink.objects.get()
    assert link.digest == hashlib.sha256(token.encode()).hexdigest()
    assert timedelta(minutes=59) < link.expires_at - timezone.now() < timedelta(minutes=61)
    assert token not in page(client, f"/sessions/{session.session_id}/link")
    assert token not in session_page(client, session)
    assert [(event.kind, event.actor) for event in session.events.all()] == [("link", "ana")]


def test_a_new_link_ends_the_one_before_and_a_link_can_be_taken_back(client: Client) -> None:
    client.force_login(make_staff())
    session = make_session(Status.NEW, creds=None)
    first, _ = PairingLink.issue(session, by="ana")
    second, _ = PairingLink.issue(session, by="ana")
    first.refresh_from_db()
    assert (first.in_force, second.in_force) == (False, True)
    client.post(f"/sessions/{session.session_id}/link", {"revoke": "yes"})
    second.refresh_from_db()
    assert not second.in_force


# --- a customer uses it ------------------------------------------------------------------


def test_a_customer_sees_the_code_and_nothing_else(client: Client) -> None:
    session = make_session(
        Status.PAIRING, creds={"noiseKey": SECRET}, name="Shop of Ana", owner="Ana Maria", phone="551"
    )
    make_session(name="Another shop")
    make_round(session)
    Message.objects.create(session=session, direction="in", chat="x", text="private words", status="received")
    customer, _ = make_customer(session)
    html = page(customer, "/pair/")
    assert 'data-state="live"' in tag(html, "qr")
    assert re.search(r'id="qr-count"[^>]*>code 3 of 6<', html)
    for hidden in (
        "Shop of Ana",
        "Ana Maria",
        session.session_id,
        "private words",
        SECRET,
        QR_TEXT,
        "Another shop",
        "/admin/",
    ):
        assert hidden not in html
    assert button_names(html) == {"New round", "Get a code", "Português"}


def test_a_link_opens_nothing_of_the_console(client: Client) -> None:
    session = make_session(Status.NEW, creds=None)
    customer, _ = make_customer(session)
    sid = session.session_id
    for path in ("/", f"/sessions/{sid}/", f"/sessions/{sid}/link", "/numbers/check", "/webhooks/", "/admin/"):
        assert customer.get(path).status_code == 302, path
    for path in (f"/sessions/{sid}/start", f"/sessions/{sid}/send", f"/sessions/{sid}/expect", "/sessions/ask"):
        assert customer.post(path).status_code == 302, path
    assert not session.commands.exists()


def test_without_a_link_the_page_says_what_is_missing_and_asks_nothing() -> None:
    stranger = Client()
    html = page(stranger, "/pair/")
    assert tag(html, "no-link") and not tag(html, "qr") and not tag(html, "feed")
    for token in ("", "x" * 43, "x" * 5000):
        assert stranger.post("/pair/open", {"token": token}).status_code == 404
    for path in ("/pair/round", "/pair/code"):
        assert stranger.post(path, {"phone": "5511987650001"}).status_code == 403
    assert stranger.get("/pair/number").status_code == 403


def test_a_customer_asks_for_codes_in_the_name_of_the_link() -> None:
    session = make_session(Status.NEW, creds=None)
    customer, _ = make_customer(session)
    assert "Show a QR code" in button_names(page(customer, "/pair/"))
    assert customer.post("/pair/round", headers=HTMX).status_code == 200
    answer = customer.post("/pair/code", {"phone": "+55 11 98765-0001"}, headers=HTMX)
    assert 'id="panel-pairing"' in answer.content.decode()
    assert [(c.verb, c.requested_by, c.arguments) for c in session.commands.order_by("pk")] == [
        ("start", "pairing link of ana", {}),
        ("pairing-code", "pairing link of ana", {"phone": "5511987650001"}),
    ]
    assert "too short" in customer.post("/pair/code", {"phone": "12"}, headers=HTMX).content.decode()


@pytest.mark.parametrize("status", [Status.CONNECTED, Status.STOPPED, Status.WAITING, Status.FAILED, Status.BANNED])
def test_a_link_neither_stops_nor_restarts_what_is_linked(status: Status) -> None:
    session = make_session(status)
    customer, _ = make_customer(session)
    assert customer.post("/pair/round", headers=HTMX).status_code == 409
    assert not session.commands.exists()
    assert not tag(page(customer, "/pair/"), "qr")


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ({"used_at": timezone.now()}, "The phone is linked. You can close this page."),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "This link is no longer valid."),
        ({"revoked_at": timezone.now()}, "This link is no longer valid."),
    ],
)
def test_a_link_that_has_ended_shows_that_and_does_nothing(ended: dict[str, object], said: str) -> None:
    session = make_session(Status.PAIRING, creds=None)
    make_round(session)
    customer, link = make_customer(session)
    PairingLink.objects.filter(pk=link.pk).update(**ended)
    html = page(customer, "/pair/")
    assert said in html
    assert not tag(html, "qr") and "data-expires" not in html
    assert customer.post("/pair/round", headers=HTMX).status_code == 403
    assert not session.commands.exists()


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("pairing-timed-out", "WhatsApp allows four, and tells only the phone."),
        ("wrong-number", "Another phone than the expected one was linked"),
        ("passkey-needed", "WhatsApp asks this account for a passkey"),
    ],
)
def test_what_happened_is_told_in_plain_words_with_the_next_step(reason: str, said: str) -> None:
    customer, _ = make_customer(make_session(Status.NEW, creds=None, reason=reason))
    shown = text(page(customer, "/pair/"))
    assert said in shown and "What to do:" in shown


def test_a_reason_that_is_not_about_linking_is_not_told() -> None:
    customer, _ = make_customer(make_session(Status.LOGGED_OUT, creds=None, reason="vault-unreadable"))
    assert "ENCRYPTION" not in page(customer, "/pair/")


def test_a_passkey_is_explained_step_by_step(client: Client) -> None:
    client.force_login(make_staff())
    html = session_page(client, make_session(Status.NEW, creds=None, reason="passkey-needed"))
    assert tag(html, "passkey-steps")
    assert not tag(session_page(client, make_session(Status.NEW, creds=None)), "passkey-steps")


# --- the customer's feed -------------------------------------------------------------------


async def feed(customer: Client | None) -> WebsocketCommunicator:
    headers = [(b"origin", b"http://testserver"), (b"host", b"testserver")]
    if customer:
        headers.append((b"cookie", f"sessionid={customer.cookies['sessionid'].value}".encode()))
    socket = WebsocketCommunicator(websockets(), "/ws/pair?lang=en", headers)
    await socket.connect()
    return socket


@pytest.mark.django_db(transaction=True)
async def test_the_customers_feed_shows_the_linking_and_nothing_else(settings: object) -> None:
    session = await database_sync_to_async(make_session)(Status.PAIRING, creds=None, name="Shop of Ana")
    await database_sync_to_async(make_round)(session)
    customer, _ = await database_sync_to_async(make_customer)(session)
    socket = await feed(customer)
    shown = await socket.receive_from(5)
    assert set(re.findall(r'id="panel-(\w+)"', shown)) == {"outcome", "pairing", "code"}
    assert "Shop of Ana" not in shown and session.session_id not in shown
    await socket.disconnect()


@pytest.mark.django_db(transaction=True)
async def test_nobody_without_a_link_has_the_customers_feed() -> None:
    socket = await feed(None)
    assert await socket.receive_output(5) == {"type": "websocket.close", "code": 4401}


# --- the expected number ----------------------------------------------------------------------


def test_a_session_is_bound_to_a_number_and_freed_again(client: Client) -> None:
    client.force_login(make_staff())
    session = make_session(Status.NEW, creds=None)
    address = f"/sessions/{session.session_id}/expect"
    shown = client.post(address, {"phone": "+55 11 98765-0001"}, headers=HTMX).content.decode()
    assert "Only +55 11 98765-0001 may be linked" in shown
    session.refresh_from_db()
    assert session.expected_phone == "5511987650001"
    assert session.expects("551187650001") and not session.expects("5511987650002")
    assert client.post(address, {"phone": "12"}, headers=HTMX).status_code == 422
    client.post(address, {"phone": ""}, headers=HTMX)
    assert session.expects("5511987650002")


def test_a_session_is_not_bound_to_another_number_than_the_one_that_is_linked() -> None:
    session = make_session(phone="5511987650001", paired_at=timezone.now())
    with pytest.raises(AlreadyLinked):
        session.expect("5511987650002", by="ana")
    session.expect("5511987650001", by="ana")
