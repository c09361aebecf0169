"""The part of a session's page that links a phone."""

from __future__ import annotations

import re

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from sessions_app.lifecycle import Command, Status
from sessions_app.numbers import clean_phone
from sessions_app.vault import crypto
from tests.pages import button_names, session_page, tag
from tests.rows import make_round, make_session, make_staff

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_staff())
    return client


def test_a_live_code_is_drawn_with_its_place_in_the_round_and_its_end(staff: Client) -> None:
    session = make_session(Status.PAIRING, creds=None)
    live = make_round(session)
    html = session_page(staff, session)
    assert live.expires_at is not None
    assert 'data-state="live"' in tag(html, "qr")
    assert f'data-expires="{int(live.expires_at.timestamp() * 1000)}"' in tag(html, "qr")
    assert re.search(r'id="qr-count"[^>]*>code 3 of 6<', html)
    assert "<path" in html and "data-code" not in html
    now = int(re.search(r'id="clock" data-now="(\d+)"', html).group(1))  # type: ignore[union-attr]
    assert abs(now - timezone.now().timestamp() * 1000) < 5000


def test_a_code_that_ran_out_is_dead_and_its_text_is_gone(staff: Client, settings: Settings) -> None:
    settings.OXY_SIMULATOR = True
    session = make_session(Status.PAIRING, creds=None)
    make_round(session, seconds_left=-0.1)
    html = session_page(staff, session)
    assert 'data-state="dead"' in tag(html, "qr")
    assert "data-code" not in html
    assert f'hx-post="/sessions/{session.session_id}/restart"' in tag(html, "new-round")
    assert "New round" in button_names(html)


def test_a_round_that_ended_offers_a_new_one(staff: Client) -> None:
    session = make_session(Status.NEW, reason="pairing-timed-out", creds=None)
    make_round(session, seconds_left=-60, ended_at=timezone.now(), outcome="timeout")
    html = session_page(staff, session)
    assert 'data-state="dead"' in tag(html, "qr")
    assert f'hx-post="/sessions/{session.session_id}/start"' in tag(html, "new-round")


def test_a_new_round_that_was_asked_for_is_not_offered_again(staff: Client) -> None:
    session = make_session(Status.NEW, creds=None)
    make_round(session, seconds_left=-60, ended_at=timezone.now(), outcome="timeout")
    session.request(Command.START, by="ana")
    html = session_page(staff, session)
    assert 'data-state="none"' in tag(html, "qr")
    assert "Waiting for a worker to begin" in html
    assert not tag(html, "new-round")


def test_the_round_that_linked_a_phone_is_no_dead_code(staff: Client) -> None:
    session = make_session(Status.LOGGED_OUT, creds=None)
    make_round(session, seconds_left=-60, ended_at=timezone.now(), outcome="paired")
    html = session_page(staff, session)
    assert 'data-state="none"' in tag(html, "qr")
    assert "New round" in button_names(html)


def test_a_code_that_no_key_opens_is_not_shown(staff: Client) -> None:
    session = make_session(Status.PAIRING, creds=None)
    make_round(session, sealed_code=b"\1not a sealed value, by far", sealed_pairing_code=b"\1nor is this one here")
    assert 'data-state="dead"' in tag(session_page(staff, session), "qr")


def test_no_code_is_shown_of_a_session_that_does_not_pair(staff: Client) -> None:
    session = make_session(Status.CONNECTED)
    make_round(session)
    assert not tag(session_page(staff, session), "qr")


def test_a_pairing_code_is_shown_with_the_phone_it_is_for(staff: Client) -> None:
    session = make_session(Status.PAIRING, creds=None)
    sealed = crypto.seal(b"ABCD-1234", session.session_id, "pairing-code")
    make_round(session, sealed_pairing_code=sealed, pairing_code_phone="5511987650001")
    html = session_page(staff, session)
    assert re.search(r'id="pairing-code"[^>]*>ABCD-1234<', html)
    assert "on the phone +55 11 98765-0001" in html


@pytest.mark.parametrize(
    ("written", "digits"),
    [
        ("5511987650001", "5511987650001"),
        ("+55 (11) 98765-0001", "5511987650001"),
        ("0055 11 98765.0001", "5511987650001"),
        (" +1\u00a0202\u2011555\u20110100 ", "12025550100"),
    ],
)
def test_a_number_is_taken_as_people_write_it(written: str, digits: str) -> None:
    assert clean_phone(written) == digits


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("shop", "not-digits"),
        ("+55 11 9876x-0001", "not-digits"),
        ("٥٥١١٩٨٧٦٥", "not-digits"),
        ("", "not-digits"),
        ("011987650001", "no-country"),
        ("+0 11 98765", "no-country"),
        ("+55 1", "too-short"),
        ("5511987650001234", "too-long"),
    ],
)
def test_a_number_that_cannot_be_one_is_refused_with_a_reason(written: str, code: str) -> None:
    with pytest.raises(ValidationError) as refused:
        clean_phone(written)
    assert refused.value.code == code


def test_a_pairing_code_is_asked_for_with_the_cleaned_number(staff: Client) -> None:
    session = make_session(Status.PAIRING, creds=None)
    url = f"/sessions/{session.session_id}/pairing-code"
    response = staff.post(url, {"phone": "+55 11 98765-0001"}, headers=HTMX)
    assert response.status_code == 200
    command = session.commands.get()
    assert (command.verb, command.arguments) == ("pairing-code", {"phone": "5511987650001"})


def test_a_wrong_number_is_answered_beside_the_field_and_nothing_is_asked(staff: Client) -> None:
    session = make_session(Status.PAIRING, creds=None)
    response = staff.post(f"/sessions/{session.session_id}/pairing-code", {"phone": "12"}, headers=HTMX)
    assert response.status_code == 422
    html = response.content.decode()
    assert 'hx-swap-oob="true"' in tag(html, "phone-error")
    assert "This number is too short." in html
    assert not session.commands.exists()
