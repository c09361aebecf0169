"""What a session's page offers beside its state: messages with ticks, keys to take along, webhooks, and what destroys."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.test import Client

from sessions_app import numbers, webhooks
from sessions_app.lifecycle import Event, Status
from sessions_app.models import Message
from tests.pages import button_names, page, session_page, tag, text
from tests.rows import make_host, make_session, make_staff

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}
BIA = "5511987650002"


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_staff())
    return client


# --- messages ----------------------------------------------------------------------


def test_a_test_message_is_queued_with_the_number_as_people_write_it(staff: Client) -> None:
    session = make_session(phone="5511987650001")
    response = staff.post(
        f"/sessions/{session.session_id}/send", {"to": "+55 (11) 98765-0002", "text": " hi "}, headers=HTMX
    )
    message = session.messages.get()
    assert (message.chat, message.text, message.status) == (f"{BIA}@s.whatsapp.net", " hi ", "queued")
    assert message.requested_by == "ana"
    content = response.content.decode()
    assert response.status_code == 200
    assert 'id="panel-messages"' in content
    assert re.search(r'<textarea id="send-text"[^>]*hx-swap-oob="true"></textarea>', content)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"to": "12", "text": "x"}, "This number is too short."),
        ({"to": "", "text": "x"}, "Write a phone number first."),
        ({"to": BIA, "text": ""}, "Write a text first."),
        ({"to": "+99912345678", "text": "x"}, "No country has this country code."),
        ({"to": "bia@example.org", "text": "x"}, "An address ends in @s.whatsapp.net"),
    ],
)
def test_what_cannot_be_sent_is_said_beside_the_form_and_what_was_typed_stays(
    staff: Client, given: dict[str, str], said: str
) -> None:
    session = make_session(phone="5511987650001")
    response = staff.post(f"/sessions/{session.session_id}/send", given, headers=HTMX)
    content = response.content.decode()
    assert response.status_code == 422
    assert said in content and "textarea" not in content
    assert not session.messages.exists()


def test_a_session_with_no_phone_offers_no_form_and_sends_nothing(staff: Client) -> None:
    session = make_session(Status.NEW, creds=None)
    assert not tag(session_page(staff, session), "send")
    response = staff.post(f"/sessions/{session.session_id}/send", {"to": BIA, "text": "x"}, headers=HTMX)
    assert response.status_code == 422
    assert "No phone is linked" in response.content.decode()


@pytest.mark.parametrize(
    ("status", "symbol"),
    [("queued", "waiting"), ("sending", "waiting"), ("sent", "tick"), ("delivered", "ticks"), ("read", "ticks")],
)
def test_an_outgoing_message_shows_its_ticks_and_their_word(staff: Client, status: str, symbol: str) -> None:
    session = make_session(phone="5511987650001")
    Message.objects.create(session=session, direction="out", chat=f"{BIA}@s.whatsapp.net", text="x", status=status)
    shown = session_page(staff, session)
    ticks = shown[shown.index('class="ticks') :].split("</span>")[0]
    assert f"icons.svg#{symbol}" in ticks
    assert ticks.endswith(status)
    assert ("ticks-read" in ticks) == (status == "read")


@pytest.mark.parametrize(
    ("kind", "words", "content", "shown"),
    [
        ("text", "hi", None, "hi"),
        ("conversation", "hi", None, "hi"),
        ("imageMessage", "the shop", None, "Picture the shop"),
        ("audioMessage", "", None, "Audio"),
        ("reaction", "👍", None, "Reaction 👍"),
        ("reaction", "", None, "Reaction taken back"),
        ("location", "Shop", {"latitude": 1.5, "longitude": -2, "address": "Av. 1"}, "Place Shop Av. 1 (1.50000, -2.00000)"),
        ("contactMessage", "Cara", {"phone": "5511987650003"}, "Contact Cara +55 11 98765-0003"),
        ("contactMessage", "Cara", {"phone": ""}, "Contact Cara"),
        ("unreadable", "", None, "A message that could not be read"),
        ("somethingNewMessage", "", None, "somethingNewMessage"),
    ],
)  # fmt: skip
def test_a_message_says_what_it_is(staff: Client, kind: str, words: str, content: Any, shown: str) -> None:
    session = make_session(phone="5511987650001")
    Message.objects.create(
        session=session, direction="in", chat=f"{BIA}@s.whatsapp.net", text=words, status="received", kind=kind, content=content
    )  # fmt: skip
    bubble = session_page(staff, session).split('<div class="bubble">')[1].split("</div>")[0]
    assert html.unescape(re.sub(r"<[^>]+>", "", bubble)) == shown


# --- numbers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("5511", "+55 11"),
        ("5511987650001", "+55 11 98765-0001"),
        ("0055 11 98765", "+55 11 98765"),
        ("+1 202555", "+1 202-555"),
        ("", ""),
        ("+", "+"),
        ("shop", "shop"),
        ("1" * 30, "1" * 30),
    ],
)
def test_a_number_is_written_as_its_country_does_while_it_is_typed(typed: str, shown: str) -> None:
    assert numbers.as_typed(typed) == shown


def test_a_number_is_checked_on_the_server(staff: Client) -> None:
    good = staff.get("/numbers/check", {"phone": "5511987650001"}).json()
    assert good == {"shown": "+55 11 98765-0001", "problem": ""}
    assert "too short" in staff.get("/numbers/check", {"phone": "5511"}).json()["problem"]
    assert Client().get("/numbers/check", {"phone": "5511"}).status_code == 302


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("5511987650001", "551187650001", True),
        ("5215512345678", "525512345678", True),
        ("5491123456789", "541123456789", True),
        ("5511987650001", "5511987650002", False),
        ("5511987650001", "5521987650001", False),
        ("12025550100", "12025550100", True),
    ],
)
def test_one_telephone_is_known_with_and_without_the_digit_of_an_older_plan(one: str, other: str, same: bool) -> None:
    assert numbers.same_line(one, other) == numbers.same_line(other, one) == same


# --- keys to take along ------------------------------------------------------------------


def test_a_running_session_is_not_downloaded(staff: Client) -> None:
    session = make_session(phone="5511987650001")
    assert "Download" not in button_names(page(staff, f"/sessions/{session.session_id}/export"))
    response = staff.post(f"/sessions/{session.session_id}/export", follow=True)
    assert "Stop it first: two copies must never run" in response.content.decode()
    assert not session.events.filter(kind="export").exists()


# --- webhooks, the worker, dangers -------------------------------------------------------------


def test_the_webhooks_of_this_session_are_linked(staff: Client) -> None:
    session, other = make_session(), make_session(name="Other")
    for address, whose in (
        ("https://mine.example/", session),
        ("https://all.example/", None),
        ("https://o.example/", other),
    ):
        webhooks.make(address, session=whose, by="ana")
    html = session_page(staff, session)
    hooks = html[html.index('id="hooks"') :].split("</ul>")[0]
    assert "mine.example" in hooks and "all.example" in hooks and "o.example" not in hooks


def test_the_worker_is_shown_with_its_version_and_its_lease(staff: Client) -> None:
    host = make_host(name="worker-7", version="0.1.0", library="neonize 0.5.2")
    shown = text(session_page(staff, make_session(lease_host=host, lease_epoch=12)))
    assert "worker-7" in shown and "0.1.0 · neonize 0.5.2" in shown and "number 12" in shown


def test_the_danger_zone_names_what_will_be_lost(staff: Client) -> None:
    shown = text(session_page(staff, make_session(phone="5511987650001")))
    assert "Unlinks the phone +55 11 98765-0001, then deletes its credentials and keys, its messages" in shown
    assert "Messages and timeline stay; to connect again, somebody must scan a new code." in shown


def test_a_host_says_in_plain_words_which_working_file_it_began_with(staff: Client) -> None:
    session = make_session()
    session.record("vault", source="vault", why="the machine has restarted; stale Signal sessions dropped")
    shown = text(session_page(staff, session))
    assert "The working file was rebuilt from the stored copy. Signal sessions that may be stale were dropped" in shown
    assert "why:" not in shown


def test_how_long_it_was_away_is_in_the_timeline(staff: Client) -> None:
    session = make_session()
    session.record("recovery", seconds=2.87)
    assert re.search(r"Connected again.*seconds\W+2\.87", text(session_page(staff, session)), re.DOTALL)


def test_the_timeline_says_where_and_with_which_library_a_connection_was_made(staff: Client) -> None:
    host = make_host(name="worker-7", library="neonize 0.5.2")
    session = make_session(Status.CONNECTING, lease_host=host, lease_epoch=3)
    session.apply(Event.CONNECTED, epoch=3, actor="whatsapp")
    shown = text(page(staff, f"/sessions/{session.session_id}/"))
    assert "library: neonize 0.5.2" in shown and "WhatsApp · worker-7" in shown
