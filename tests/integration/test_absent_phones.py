"""Warnings that a session's phone was not heard of: in the timeline once, on the page for as long as it is so."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from sessions_app import panels, tasks
from sessions_app.lifecycle import Status
from sessions_app.models import SessionEvent, WhatsAppSession
from tests.rows import make_host, make_session

pytestmark = pytest.mark.django_db


def away(days: float) -> WhatsAppSession:
    return make_session(Status.CONNECTED, phone_seen_at=timezone.now() - timedelta(days=days))


def warned(session: WhatsAppSession) -> list[str]:
    return list(
        SessionEvent.objects.filter(session=session, kind="phone").order_by("pk").values_list("reason", flat=True)
    )


def test_ten_days_are_warned_of_once_and_twelve_once_more():
    session = away(10.1)
    assert tasks.warn_of_absent_phones() == 1
    assert tasks.warn_of_absent_phones() == 0
    assert warned(session) == ["phone-away"]

    WhatsAppSession.objects.update(phone_seen_at=timezone.now() - timedelta(days=12.1))
    assert tasks.warn_of_absent_phones() == 1
    assert warned(session) == ["phone-away", "phone-away-long"]


def test_a_phone_that_is_found_absent_late_is_warned_of_with_the_sharper_warning_alone():
    session = away(13)
    assert (tasks.warn_of_absent_phones(), tasks.warn_of_absent_phones()) == (1, 0)
    assert warned(session) == ["phone-away-long"]


def test_a_phone_seen_lately_or_never_is_no_matter():
    away(9.9)
    make_session(Status.CONNECTED, session_id="imported")
    assert tasks.warn_of_absent_phones() == 0


@pytest.mark.parametrize(("days", "words"), [(9, ""), (10.5, "10 days"), (12.5, "12 days")])
def test_the_page_says_it_with_the_next_step(days, words):
    make_host()
    said = panels.session_warnings(away(days))
    assert bool(said) == bool(words)
    assert all(words in line and "open WhatsApp" in line for line in said)
