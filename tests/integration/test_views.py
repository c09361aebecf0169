"""The staff console by HTTP."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from django.utils.html import escape
from pytest_django import DjangoAssertNumQueries, Settings

from sessions_app import lifecycle, overview, panels, reasons, words
from sessions_app.lifecycle import Command, Status
from sessions_app.models import Backup, Message, SessionCommand, WhatsAppSession
from tests.pages import button_names, page, session_page, tag, text
from tests.rows import QR_TEXT, SECRET, make_host, make_round, make_session, make_staff

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_staff())
    return client


# --- who may come in -----------------------------------------------------------


PATHS = ["/", "/sessions/shop/", "/sessions/shop/confirm/delete"]


@pytest.mark.parametrize("path", PATHS)
def test_anonymous_visitors_are_sent_to_the_login_page(client: Client, path: str) -> None:
    make_session(session_id="shop")
    response = client.get(path)
    assert (response.status_code, response["Location"]) == (302, f"/login/?next={path}")


@pytest.mark.parametrize("path", PATHS)
def test_people_who_are_no_staff_are_sent_to_the_login_page(client: Client, path: str) -> None:
    make_session(session_id="shop")
    client.force_login(User.objects.create_user("bob"))
    assert client.get(path)["Location"] == f"/login/?next={path}"
    assert "bob, who is not a member of the staff" in page(client, "/login/")


def test_a_command_of_somebody_who_is_no_staff_is_not_taken(client: Client) -> None:
    session = make_session(session_id="shop")
    client.force_login(User.objects.create_user("bob"))
    assert client.post("/sessions/shop/stop")["Location"] == "/login/?next=/"
    assert client.post("/sessions/shop/stop", headers=HTMX)["HX-Redirect"] == "/login/"
    assert client.post("/sessions/new", {"name": "mine"})["Location"] == "/login/?next=/"
    assert not session.commands.exists()
    assert WhatsAppSession.objects.count() == 1


def test_staff_sign_in_and_reach_the_page_they_wanted(client: Client) -> None:
    make_session(session_id="shop")
    make_staff(password="long-enough-77")
    form = {"username": "ana", "password": "long-enough-77", "next": "/sessions/shop/"}
    assert client.post("/login/", form)["Location"] == "/sessions/shop/"


def test_people_who_are_no_staff_cannot_sign_in(client: Client) -> None:
    User.objects.create_user("bob", password="long-enough-77")
    response = client.post("/login/", {"username": "bob", "password": "long-enough-77"})
    assert response.status_code == 200
    assert "staff account" in response.content.decode()


def test_a_forged_form_changes_nothing() -> None:
    session = make_session(session_id="shop")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_staff())
    assert strict.post("/sessions/shop/stop").status_code == 403
    assert not session.commands.exists()


# --- the list -------------------------------------------------------------------


def test_the_list_shows_what_identifies_a_session(staff: Client) -> None:
    host = make_host(name="worker-7")
    make_session(Status.WAITING, phone="5511987650001", lease_host=host, reason="whatsapp-unreachable")
    shown = text(page(staff, "/"))
    for expected in ("Waiting", "Shop", "+55 11 98765-0001", "Ana", "worker-7", "WhatsApp could not be reached."):
        assert expected in shown


def test_an_empty_list_says_how_to_begin(staff: Client) -> None:
    assert "No sessions yet" in page(staff, "/")


def test_the_list_is_searched_and_filtered_by_its_url(staff: Client) -> None:
    make_session(name="Bakery", phone="5511900000001")
    make_session(Status.FAILED, name="Florist", phone="5521900000002")
    assert "Florist" not in page(staff, "/?q=bake")
    assert "Florist" in page(staff, "/?q=%2B5521")
    assert "Bakery" not in page(staff, "/?status=FAILED")
    assert "No session matches." in page(staff, "/?q=nothing")
    assert "Bakery" in page(staff, "/?status=NONSENSE&page=77")


def test_the_feed_of_a_filtered_list_has_the_same_filter(staff: Client) -> None:
    make_session()
    assert 'ws-connect="/ws/sessions?q=a%26b&amp;page=1&amp;lang=en"' in page(staff, "/?q=a%26b")


def test_a_long_list_is_paged_and_costs_as_many_queries_as_a_short_one(
    staff: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_session(name="first")
    staff.get("/")
    with django_assert_num_queries(8) as short:
        staff.get("/")
    for n in range(overview.PAGE_SIZE + 5):
        make_session(name=f"shop {n:03}", lease_host=make_host(name=f"worker-{n}"))
    with django_assert_num_queries(len(short.captured_queries)):
        html = page(staff, "/")
    assert html.count("<tr data-session") == overview.PAGE_SIZE
    assert "page 1 of 2" in html
    assert page(staff, "/?page=2").count("<tr data-session") == 6


def test_a_name_is_shown_as_text(staff: Client) -> None:
    session = make_session(name="<script>alert(1)</script>", push_name="<b>x</b>")
    for html in (page(staff, "/"), session_page(staff, session)):
        assert "<script>alert" not in html
        assert "<b>x</b>" not in html


# --- a new session ----------------------------------------------------------------


def test_a_new_session_is_made_started_and_shown(staff: Client) -> None:
    response = staff.post("/sessions/new", {"name": "Bakery", "owner": "Rui"})
    session = WhatsAppSession.objects.get()
    assert response["Location"] == f"/sessions/{session.session_id}/"
    assert (session.name, session.owner, session.desired) == ("Bakery", "Rui", "running")
    assert [(c.verb, c.requested_by) for c in session.commands.all()] == [("start", "ana")]


def test_a_session_without_a_name_is_not_made(staff: Client) -> None:
    response = staff.post("/sessions/new", {"name": " "})
    assert response.status_code == 422
    assert "Name: This field is required." in text(response.content.decode())
    assert not WhatsAppSession.objects.exists()


# --- a session's page ---------------------------------------------------------------


@pytest.mark.parametrize("status", list(Status))
def test_a_page_shows_its_status_in_words_and_only_the_buttons_that_it_allows(staff: Client, status: Status) -> None:
    session = make_session(status)
    html = session_page(staff, session)
    assert f'data-status="{status}"' in tag(html, "status")
    assert str(words.STATUSES[status].label) in html

    allowed = lifecycle.allowed(status)
    expected = {str(words.COMMANDS[command]) for command in allowed} | {"Sign out", "Português"}
    if Command.PAIRING_CODE in allowed:
        expected = expected - {"Start", "Restart"} | {"Save"}
        expected |= {"Show a QR code"} if status != Status.PAIRING else set()
    assert button_names(html) == expected


@pytest.mark.parametrize("reason", [reason for reason in reasons.Reason if reason])
def test_every_reason_is_told_with_its_next_step(staff: Client, reason: reasons.Reason) -> None:
    session = make_session(Status.FAILED, reason=reason.value)
    html = session_page(staff, session)
    explanation = reasons.explain(reason)
    assert escape(explanation.sentence) in html
    assert (escape(explanation.action) in html) == bool(explanation.action) or not explanation.action


def test_an_unknown_reason_does_not_break_a_page(staff: Client) -> None:
    assert "from-the-future" in session_page(staff, make_session(Status.FAILED, reason="from-the-future"))


def test_a_page_shows_who_is_connected(staff: Client) -> None:
    html = session_page(staff, make_session(phone="5511987650001", push_name="Loja da Ana"))
    assert re.search(r'id="phone"[^>]*>\+55 11 98765-0001<', html)
    assert re.search(r'id="push-name"[^>]*>Loja da Ana<', html)


def test_the_timeline_says_what_why_who_and_where(staff: Client) -> None:
    session = make_session(lease_host=make_host(name="worker-7"))
    session.record("command", actor="rui", command="restart")
    session.record("status", status="WAITING", reason="connection-cut", actor="whatsapp")
    session.record("vault", source="disk", keys=812)
    shown = text(session_page(staff, session))
    for expected in (
        "Asked to restart", "rui · worker-7", "Waiting The connection to WhatsApp was cut.", "· WhatsApp ·",
        "source: disk", "keys: 812",
    ):  # fmt: skip
        assert expected in shown


def test_messages_and_backups_are_listed(staff: Client) -> None:
    session = make_session()
    chat = "5511987650002@s.whatsapp.net"
    Message.objects.create(session=session, direction="in", chat=chat, text="bom dia", status="received")
    Message.objects.create(
        session=session, direction="out", chat=chat, text="olá", status="failed", reason="not-answering"
    )
    Backup.objects.create(session=session, keys=3, bytes=2048, duration_ms=7, differed=1)
    shown = text(session_page(staff, session))
    for expected in (
        "bom dia",
        "from +55 11 98765-0002",
        "olá",
        "failed",
        ": The connection is open",
        "1 key differed",
    ):
        assert expected in shown


def test_no_page_shows_a_secret(staff: Client) -> None:
    session = make_session(Status.PAIRING)
    make_round(session)
    session.blobs.create(data_key="pre-key-1", data_value=SECRET.encode())
    for path in ("/", f"/sessions/{session.session_id}/", f"/sessions/{session.session_id}/confirm/delete"):
        html = page(staff, path)
        assert SECRET not in html
        assert escape(QR_TEXT) not in html and QR_TEXT not in html


def test_a_page_costs_a_constant_number_of_queries(
    staff: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    session = make_session()
    session_page(staff, session)
    with django_assert_num_queries(10) as few:
        session_page(staff, session)
    for _ in range(20):
        session.record("status", status="WAITING", reason="connection-cut")
        Message.objects.create(session=session, direction="in", chat="x", text="y", status="received")
        Backup.objects.create(session=session, keys=1, bytes=1, duration_ms=1)
    with django_assert_num_queries(len(few.captured_queries)):
        session_page(staff, session)


def test_a_session_that_does_not_exist_is_not_found(staff: Client) -> None:
    response = staff.get("/sessions/nobody/")
    assert response.status_code == 404
    assert "There is no such page" in response.content.decode()


# --- commands -----------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["stop", "restart", "backup", "logout", "delete"])
def test_a_command_is_written_down_with_who_asked(staff: Client, verb: str) -> None:
    session = make_session(Status.CONNECTED)
    response = staff.post(f"/sessions/{session.session_id}/{verb}", headers=HTMX)
    assert response.status_code == 200
    assert 'id="panel-state"' in response.content.decode()
    assert [(c.verb, c.requested_by) for c in session.commands.all()] == [(verb, "ana")]


def test_a_command_that_the_status_does_not_allow_is_a_conflict_with_a_sentence(staff: Client) -> None:
    session = make_session(Status.STOPPED)
    response = staff.post(f"/sessions/{session.session_id}/stop", headers=HTMX)
    assert response.status_code == 409
    assert "“Stop” is not possible while the session is “Stopped”." in response.content.decode()
    assert not session.commands.exists()


def test_without_scripts_a_refused_command_is_told_on_the_page(staff: Client) -> None:
    session = make_session(Status.STOPPED)
    response = staff.post(f"/sessions/{session.session_id}/logout", follow=True)
    assert "“Log out” is not possible" in response.content.decode()


@pytest.mark.parametrize("verb", [command.value for command in Command])
def test_a_get_gives_no_command(staff: Client, verb: str) -> None:
    session = make_session(Status.CONNECTED)
    assert staff.get(f"/sessions/{session.session_id}/{verb}").status_code == 405
    assert not SessionCommand.objects.exists()


def test_a_verb_that_does_not_exist_is_not_found(staff: Client) -> None:
    session = make_session()
    assert staff.post(f"/sessions/{session.session_id}/explode").status_code == 404
    assert staff.get(f"/sessions/{session.session_id}/confirm/stop").status_code == 404


@pytest.mark.parametrize(("verb", "button"), [("delete", "Delete this session"), ("logout", "Log out this session")])
def test_what_destroys_is_asked_for_with_what_will_be_lost(staff: Client, verb: str, button: str) -> None:
    session = make_session(Status.CONNECTED, phone="5511987650001")
    session.blobs.create(data_key="pre-key-1", data_value=b"x")
    Message.objects.create(session=session, direction="in", chat="x", text="y", status="received")
    html = page(staff, f"/sessions/{session.session_id}/confirm/{verb}")
    assert button in button_names(html)
    assert "+55 11 98765-0001" in html
    assert "the credentials and 1 key" in html
    assert ("1 message" in html) == (verb == "delete")


def test_a_deleted_session_leaves_to_the_list_and_is_marked(staff: Client) -> None:
    session = make_session(Status.CONNECTED)
    response = staff.post(f"/sessions/{session.session_id}/delete", follow=True)
    assert response.redirect_chain == [("/", 302)]
    assert "“Shop” is being deleted." in response.content.decode()
    assert "Deleting…" in response.content.decode()
    session.refresh_from_db()
    assert session.deleting


def test_a_command_under_way_and_one_that_failed_are_told(staff: Client) -> None:
    session = make_session(Status.CONNECTED)
    command = session.request(Command.BACKUP, by="ana")
    assert "“Back up now” was asked for; waiting for a worker." in session_page(staff, session)
    SessionCommand.objects.filter(pk=command.pk).update(taken_at=timezone.now())
    assert "“Back up now” is under way." in session_page(staff, session)
    command.finish(SessionCommand.Outcome.FAILED, "The disk is full.")
    assert "“Back up now” did not work: The disk is full." in text(session_page(staff, session))


def test_a_command_that_nobody_answers_is_not_waited_for_for_ever(staff: Client) -> None:
    session = make_session(Status.NEW, creds=None)
    session.request(Command.START, by="ana")
    session.commands.update(created_at=timezone.now() - panels.PATIENCE - timedelta(seconds=1))
    assert "Show a QR code" in button_names(session_page(staff, session))


# --- the installation -----------------------------------------------------------------


def test_every_page_warns_while_no_worker_runs(staff: Client) -> None:
    session = make_session()
    paths = ("/", f"/sessions/{session.session_id}/", f"/sessions/{session.session_id}/confirm/delete", "/admin/")
    for path in paths:
        assert "No worker is running" in page(staff, path)
    make_host(name="dead", beat_at=timezone.now() - timedelta(minutes=5))
    assert "No worker is running" in page(staff, "/")
    make_host(name="alive")
    for path in paths:
        assert "No worker is running" not in page(staff, path)


def test_every_page_warns_where_a_worker_cannot_write_to_its_path(staff: Client) -> None:
    make_host(path_fell_back=True, session_path="/tmp/sessions")
    for path in ("/", "/admin/"):
        assert "Worker worker-1 cannot write to the session path, so it uses /tmp/sessions." in page(staff, path)


def test_nobody_who_is_not_staff_learns_about_workers(client: Client) -> None:
    assert "worker" not in page(client, "/login/").lower()


def test_the_simulator_is_announced_on_every_page_and_only_then(staff: Client, settings: Settings) -> None:
    session = make_session()
    paths = ("/login/", "/", f"/sessions/{session.session_id}/", "/admin/")
    for path in paths:
        assert "nothing here reaches WhatsApp" not in page(staff, path)
    settings.OXY_SIMULATOR = True
    for path in paths:
        assert "nothing here reaches WhatsApp" in page(staff, path)


def test_a_simulated_phone_gets_the_code_from_the_page_and_never_by_a_url(staff: Client, settings: Settings) -> None:
    settings.OXY_SIMULATOR, settings.OXY_SIMULATOR_CONTROL = True, "http://127.0.0.1:8099"
    session = make_session(Status.PAIRING, creds=None)
    make_round(session)
    html = session_page(staff, session)
    assert f'data-code="{escape(QR_TEXT)}" data-control="http://127.0.0.1:8099"' in tag(html, "qr")
    assert html.count(escape(QR_TEXT)) == 1
    assert "Scan with the simulated phone" in button_names(html)


def test_no_page_needs_what_the_content_security_policy_forbids(staff: Client) -> None:
    session = make_session(Status.PAIRING, creds=None)
    make_round(session)
    connected = make_session(Status.CONNECTED)
    for path in (
        "/", "/login/", f"/sessions/{session.session_id}/", f"/sessions/{connected.session_id}/",
        f"/sessions/{connected.session_id}/confirm/delete", "/admin/sessions_app/whatsappsession/",
        f"/admin/sessions_app/whatsappsession/{session.pk}/change/",
    ):  # fmt: skip
        response: Any = staff.get(path)
        assert "default-src 'self'" in response["Content-Security-Policy"]
        html = response.content.decode()
        assert not re.search(r"<[^>]+\sstyle=", html), path
        assert not re.search(r"<[^>]+\son\w+=", html), path
        assert "<style" not in html, path
        inline = [t for t in re.findall(r"<script[^>]*>", html) if "src=" not in t and "application/json" not in t]
        assert not inline, path


def test_the_first_administrator_is_made_once_and_can_sign_in(client: Client) -> None:
    said, again = StringIO(), StringIO()
    call_command("ensure_admin", stdout=said)
    call_command("ensure_admin", stdout=again)
    found = re.search(r"Sign in as (\S+) with the password (\S+) ", said.getvalue())
    assert found and again.getvalue() == ""
    response = client.post("/login/", {"username": found[1], "password": found[2]})
    assert (response.status_code, response["Location"]) == (302, "/")
