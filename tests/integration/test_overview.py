"""The overview: sorting, filters in the URL, asking many sessions at once, counters, charts, and a mass return."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from sessions_app import charts, overview
from sessions_app.lifecycle import Command, Status
from sessions_app.models import Message, Sample, SessionCommand, SessionEvent, WhatsAppSession
from tests.pages import page, tag, text
from tests.rows import make_host, make_session, make_staff

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_staff())
    return client


def names(html: str) -> list[str]:
    """The sessions of the list, from the top."""
    return re.findall(r'<th scope="row"><a [^>]*>([^<]*)</a>', html)


# --- order and filters -----------------------------------------------------------


def three() -> None:
    now = timezone.now()
    make_session(Status.WAITING, name="B", phone="552", owner="Zoe", last_connected_at=now - timedelta(hours=2))
    make_session(Status.CONNECTED, name="A", phone="553", owner="Rui", last_connected_at=now)
    make_session(Status.NEW, name="C", phone="551", owner="Eva")


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("", "ABC"),
        ("name", "ABC"),
        ("-name", "CBA"),
        ("number", "CBA"),
        ("-number", "ABC"),
        ("owner", "CAB"),
        ("status", "ACB"),
        ("connected", "BAC"),
        ("-connected", "ABC"),
        ("creds", "ABC"),
    ],
)
def test_the_list_is_sorted_by_its_url_and_who_has_no_value_stands_at_the_end(
    staff: Client, sort: str, order: str
) -> None:
    three()
    assert "".join(names(page(staff, f"/?sort={sort}"))) == order


def test_a_heading_says_how_the_list_is_sorted_and_turns_it_round(staff: Client) -> None:
    three()
    html = page(staff, "/?q=5&sort=owner")
    assert re.search(r'<th scope="col" aria-sort="ascending"><a href="\?q=5&amp;sort=-owner">Owner', html)
    assert re.search(r'<th scope="col"><a href="\?q=5&amp;sort=number">Number', html)
    assert html.count("aria-sort") == 1


def test_the_list_is_filtered_by_owner_and_worker_and_says_so(staff: Client) -> None:
    three()
    WhatsAppSession.objects.filter(name="A").update(lease_host=make_host(name="worker-7"))
    assert names(page(staff, "/?owner=Eva")) == ["C"]
    html = page(staff, "/?worker=worker-7&status=CONNECTED")
    assert names(html) == ["A"]
    assert re.search(r'<a href="\?status=CONNECTED" class="chip">Worker: <b>worker-7</b>', html)


def test_a_number_is_found_as_people_write_it(staff: Client) -> None:
    make_session(name="Bakery", phone="5511900000001")
    make_session(name="Florist", phone="5521900000002")
    assert names(page(staff, "/?q=%2B55 (11) 90000-0001")) == ["Bakery"]
    assert names(page(staff, "/?q=%2B")) == []


def test_the_filters_survive_a_search_and_a_change_of_the_order(staff: Client) -> None:
    three()
    html = page(staff, "/?owner=Eva&status=NEW&sort=-owner")
    for name, value in (("owner", "Eva"), ("status", "NEW")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in html
    assert '<option value="-owner" selected>' in html


# --- messages of today -------------------------------------------------------------


def test_messages_of_today_are_counted_for_each_session(staff: Client) -> None:
    busy, quiet = make_session(name="Busy"), make_session(name="Quiet")
    for _ in range(3):
        Message.objects.create(session=busy, direction="in", chat="x", status="received")
    old = Message.objects.create(session=quiet, direction="in", chat="x", status="received")
    Message.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=1, minutes=1))
    html = page(staff, "/")
    assert re.findall(r'data-label="Messages today">(\d+)<', html) == ["3", "0"]


# --- asking many ----------------------------------------------------------------------


def ids(*sessions: WhatsAppSession) -> list[str]:
    return [session.session_id for session in sessions]


def test_ticked_sessions_are_asked_and_the_answer_says_who_could_not(staff: Client) -> None:
    first, second = make_session(name="A"), make_session(name="B")
    stopped, left = make_session(Status.STOPPED, name="C"), make_session(name="D")
    response = staff.post("/sessions/ask", {"verb": "stop", "session": ids(first, second, stopped)}, headers=HTMX)
    said = text(response.content.decode())
    assert response.status_code == 200
    assert "“Stop” was asked of 2 sessions. It is not possible for 1: 1 × Stopped." in said
    assert {c.session_id for c in SessionCommand.objects.filter(verb="stop", requested_by="ana")} == {
        first.pk,
        second.pk,
    }
    assert set(SessionEvent.objects.values_list("session", "kind", "actor")) == {
        (first.pk, "command", "ana"),
        (second.pk, "command", "ana"),
    }
    for session in (first, second, left):
        session.refresh_from_db()
    assert (first.desired, second.desired, left.desired) == ("stopped", "stopped", "running")


def test_all_that_match_are_asked_and_nobody_else(staff: Client) -> None:
    for n in range(3):
        make_session(Status.STOPPED, name=f"shop {n}", owner="Rui", desired="stopped")
    other = make_session(Status.STOPPED, name="other", desired="stopped")
    staff.post("/sessions/ask?owner=Rui", {"verb": "start", "which": "all", "session": ids(other)})
    assert WhatsAppSession.objects.filter(desired="running").count() == 3
    assert not other.commands.exists()


def test_nothing_ticked_is_told_and_asks_nothing(staff: Client) -> None:
    make_session()
    response = staff.post("/sessions/ask", {"verb": "stop"}, headers=HTMX)
    assert response.status_code == 409
    assert "Tick the sessions first." in response.content.decode()
    assert not SessionCommand.objects.exists()


@pytest.mark.parametrize("verb", ["delete", "logout", "explode", ""])
def test_what_destroys_is_never_asked_of_many_here(staff: Client, verb: str) -> None:
    session = make_session()
    assert staff.post("/sessions/ask", {"verb": verb, "session": ids(session)}).status_code == 404
    assert not SessionCommand.objects.exists()


def test_asking_many_costs_as_many_queries_as_asking_few(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    rows = WhatsAppSession.objects.filter(status=Status.CONNECTED)
    make_session()
    with django_assert_num_queries(6) as few:
        rows.request_all(Command.STOP, by="ana")
    for n in range(60):
        make_session(name=f"shop {n}", lease_host=make_host(name=f"worker-{n}"))
    with django_assert_num_queries(len(few.captured_queries)):
        assert rows.request_all(Command.STOP, by="ana") == (61, {})


def test_a_session_that_is_being_deleted_is_asked_nothing() -> None:
    make_session(deleting=True)
    assert WhatsAppSession.objects.all().request_all(Command.STOP, by="ana") == (0, {"DELETING": 1})


# --- a mass return and charts -----------------------------------------------------------


def test_a_mass_return_shows_how_many_are_back(staff: Client) -> None:
    for n in range(overview.MANY):
        make_session(Status.CONNECTING, name=f"coming {n}")
    for n in range(7):
        make_session(Status.CONNECTED, name=f"back {n}")
    make_session(Status.STOPPED)
    html = page(staff, "/")
    assert 'value="7" max="12"' in tag(html, "return")
    assert "7 of 12 sessions are connected" in html


def test_a_few_sessions_on_their_way_are_everyday_life(staff: Client) -> None:
    make_session(Status.CONNECTING)
    assert not tag(page(staff, "/"), "return")


def test_the_charts_say_in_words_what_they_draw(staff: Client) -> None:
    make_session()
    assert "Charts of the last day appear here" in page(staff, "/")
    now = timezone.now()
    for minutes, connected in ((600, 9), (300, 4), (0, 8)):
        Sample.objects.create(
            at=now - timedelta(minutes=minutes), connected=connected, wanted=10, received=connected, sent=1
        )
    shown = text(page(staff, "/"))
    assert "8 of 10 now, at least 4 in the last day" in shown
    assert "8 received and 1 sent in the last one, at most 10 in the last day" in shown


def test_a_new_sample_is_drawn(staff: Client) -> None:
    make_session()
    for connected in (3, 5):
        Sample.objects.create(connected=connected, wanted=9, at=timezone.now())
        assert f"{connected} of 9 now" in text(page(staff, "/"))


def test_a_gap_in_the_samples_is_a_gap_in_the_line() -> None:
    now = timezone.now()
    samples = [(now - timedelta(minutes=minutes), 2.0) for minutes in (700, 695, 60, 55)]
    drawn = charts.draw([charts.Line(charts.by_step(samples, now, min), "ok")], "x")
    assert drawn.count("<path") == 2


def test_a_dip_between_two_points_of_the_line_is_seen() -> None:
    now = timezone.now()
    values = charts.by_step([(now - timedelta(minutes=m), v) for m, v in ((3, 9.0), (2, 1.0), (1, 9.0))], now, min)
    assert [value for value in values if value is not None] == [1.0]
