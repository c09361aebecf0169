"""Django admin: inspect without secrets, and ask through the lifecycle."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from sessions_app import lifecycle, words
from sessions_app.admin import VERBS
from sessions_app.admin_rows import MachineAdmin
from sessions_app.lifecycle import Command, Status
from sessions_app.models import (
    Alert,
    AuthBlob,
    Backup,
    Host,
    Message,
    OwnerLimit,
    PairingLink,
    PairingRound,
    SessionCommand,
    SessionEvent,
    WhatsAppSession,
)
from tests.rows import QR_TEXT, SECRET, make_host, make_round, make_session, make_staff

pytestmark = pytest.mark.django_db

LIST = "/admin/sessions_app/whatsappsession/"
MACHINE_ROWS = [Alert, PairingLink, Host, AuthBlob, SessionEvent, SessionCommand, PairingRound, Backup, Message]


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_staff())
    return client


def page(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, (path, response.status_code)
    return response.content.decode()


def change_page(session: WhatsAppSession) -> str:
    return f"{LIST}{session.pk}/change/"


def verbs_offered(html: str) -> set[str]:
    return set(re.findall(r'action="[^"]*/ask/([\w-]+)/"', html))


def full_session() -> WhatsAppSession:
    """A session with a row of every kind, and secrets wherever one can be."""
    session = make_session(Status.PAIRING, phone="5511987650001", lease_host=make_host())
    make_round(session)
    session.blobs.create(data_key="pre-key-1", data_value=SECRET.encode() * 100)
    session.record("status", status="WAITING", reason="connection-cut")
    session.request(Command.STOP, by="rui")
    PairingLink.issue(session, by="rui")
    Alert.objects.create(
        kind=Alert.Kind.DOWN, subject=session.session_id, sentence="It is down.", began_at=timezone.now()
    )
    Backup.objects.create(session=session, keys=1, bytes=2, duration_ms=3)
    Message.objects.create(session=session, direction="in", chat="551@s.whatsapp.net", text="oi", status="received")
    return session


# --- looking ------------------------------------------------------------------


def test_the_list_shows_every_status_as_a_word(staff: Client) -> None:
    for status in Status:
        make_session(status, name=f"shop {status}")
    html = page(staff, LIST)
    for status in Status:
        assert re.search(rf'data-status="{status}">.*?</svg>{words.STATUSES[status].label}<', html)


def test_the_list_is_filtered_and_searched(staff: Client) -> None:
    make_session(name="Bakery", phone="5511900000001")
    make_session(Status.FAILED, name="Florist")
    assert "Florist" not in page(staff, f"{LIST}?q=bakery")
    assert "Bakery" in page(staff, f"{LIST}?q=55119000")
    assert ">Bakery<" not in page(staff, f"{LIST}?status__exact=FAILED")


def test_a_session_is_explained(staff: Client) -> None:
    html = page(staff, change_page(make_session(Status.FAILED, reason="vault-unreadable")))
    assert "The stored credentials cannot be read" in html
    assert "Check OXY_ENCRYPTION_KEYS" in html


def test_no_admin_page_shows_a_secret(staff: Client) -> None:
    session = full_session()
    paths = [LIST, change_page(session)]
    for model in MACHINE_ROWS:
        row = model._default_manager.all()[0]
        base = f"/admin/sessions_app/{model.__name__.lower()}/"
        paths += [base, f"{base}{row.pk}/change/"]
    for path in paths:
        html = page(staff, path)
        assert SECRET not in html, path
        assert QR_TEXT not in html and "2@nobody" not in html, path
        assert "noiseKey" not in html, path


def test_keys_are_listed_by_name_and_size_and_their_content_is_not_even_read(staff: Client) -> None:
    session = full_session()
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        html = page(staff, f"/admin/sessions_app/authblob/?session__id__exact={session.pk}")
    assert "pre-key-1" in html and "KB" in html
    selects = [q["sql"] for q in queries.captured_queries if 'FROM "sessions_app_authblob"' in q["sql"]]
    assert selects
    assert not any(re.search(r'(?<!\()"sessions_app_authblob"."data_value"(?!\))', sql) for sql in selects)


@pytest.mark.parametrize("model", MACHINE_ROWS)
def test_rows_that_machines_write_cannot_be_edited(staff: Client, model: type[Model]) -> None:
    full_session()
    row = model._default_manager.all()[0]
    base = f"/admin/sessions_app/{model.__name__.lower()}/"
    assert staff.get(f"{base}add/").status_code == 403
    assert staff.post(f"{base}{row.pk}/change/", {}).status_code == 403
    assert staff.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert 'name="_save"' not in page(staff, f"{base}{row.pk}/change/")
    assert "delete_selected" not in page(staff, base)
    assert isinstance(admin.site._registry[model], MachineAdmin)


def test_console_and_admin_lead_to_each_other(staff: Client) -> None:
    session = make_session()
    console = f"/sessions/{session.session_id}/"
    assert f'href="{console}"' in page(staff, change_page(session))
    assert f'href="{change_page(session)}"' in page(staff, console)


def test_people_who_are_no_staff_do_not_get_in(client: Client) -> None:
    client.force_login(User.objects.create_user("bob"))
    assert client.get(LIST).status_code == 302


# --- writing ------------------------------------------------------------------


def test_a_session_is_made_and_renamed_and_nothing_else_can_be_typed(staff: Client) -> None:
    staff.post(f"{LIST}add/", {"session_id": "shop", "name": "Shop", "owner": ""})
    session = WhatsAppSession.objects.get()
    assert (session.session_id, session.status) == ("shop", "NEW")
    staff.post(change_page(session), {"name": "Bakery", "owner": "Rui", "session_id": "other", "status": "CONNECTED"})
    session.refresh_from_db()
    assert (session.session_id, session.name, session.owner, session.status) == ("shop", "Bakery", "Rui", "NEW")


def test_renaming_touches_nothing_that_a_host_writes_meanwhile(staff: Client) -> None:
    session = make_session(Status.CONNECTING)
    original = admin.site._registry[WhatsAppSession].save_model

    def host_is_faster(request: object, obj: WhatsAppSession, form: object, change: bool) -> None:
        WhatsAppSession.objects.filter(pk=obj.pk).update(status=Status.CONNECTED, creds={"noiseKey": "newer"})
        original(request, obj, form, change)  # type: ignore[arg-type]

    admin.site._registry[WhatsAppSession].save_model = host_is_faster  # type: ignore[method-assign, assignment]
    try:
        staff.post(change_page(session), {"name": "Bakery", "owner": "Ana"})
    finally:
        del admin.site._registry[WhatsAppSession].save_model
    session.refresh_from_db()
    assert (session.name, session.status, session.creds) == ("Bakery", "CONNECTED", {"noiseKey": "newer"})


# --- asking -------------------------------------------------------------------


@pytest.mark.parametrize("status", list(Status))
def test_a_button_is_there_exactly_where_the_lifecycle_allows_it(staff: Client, status: Status) -> None:
    session = make_session(status)
    expected = {verb.value for verb in VERBS if verb in lifecycle.allowed(status)}
    assert verbs_offered(page(staff, change_page(session))) == expected


@pytest.mark.parametrize("verb", VERBS)
def test_a_get_on_a_button_changes_nothing(staff: Client, verb: Command) -> None:
    session = make_session(Status.CONNECTED)
    assert staff.get(f"{LIST}{session.pk}/ask/{verb}/").status_code == 200
    assert not SessionCommand.objects.exists()


@pytest.mark.parametrize("verb", ["stop", "restart", "backup", "logout", "delete"])
def test_a_button_writes_the_command_down_and_the_admins_log_says_who(staff: Client, verb: str) -> None:
    session = make_session(Status.CONNECTED)
    response = staff.post(f"{LIST}{session.pk}/ask/{verb}/", follow=True)
    assert "was asked for." in response.content.decode()
    assert [(c.verb, c.requested_by) for c in session.commands.all()] == [(verb, "ana")]
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.change_message) == ("ana", str(words.COMMANDS[Command(verb)]))


def test_a_command_that_is_not_allowed_is_refused_with_a_sentence(staff: Client) -> None:
    session = make_session(Status.STOPPED)
    response = staff.post(f"{LIST}{session.pk}/ask/stop/", follow=True)
    assert "“Stop” is not possible while the session is “Stopped”." in response.content.decode()
    assert not SessionCommand.objects.exists()


def test_what_is_no_verb_of_admin_is_not_found(staff: Client) -> None:
    session = make_session(Status.NEW)
    assert staff.post(f"{LIST}{session.pk}/ask/pairing-code/").status_code == 404
    assert staff.post(f"{LIST}{session.pk}/ask/explode/").status_code == 404
    assert staff.post(f"{LIST}999999/ask/stop/").status_code == 404


def test_logging_out_says_what_is_lost_before_it_is_done(staff: Client) -> None:
    session = make_session(Status.CONNECTED, phone="5511987650001")
    html = page(staff, f"{LIST}{session.pk}/ask/logout/")
    assert "Their credentials and keys are lost for good" in html and "+55 11 98765-0001" in html


def test_a_session_is_never_deleted_as_a_row(staff: Client) -> None:
    session = make_session(Status.CONNECTED)
    assert staff.post(f"{LIST}{session.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in page(staff, LIST)
    staff.post(LIST, {"action": "delete_selected", "_selected_action": [session.pk], "post": "yes"})
    staff.post(f"{LIST}{session.pk}/ask/delete/")
    session.refresh_from_db()
    assert session.deleting


def test_an_action_asks_all_that_are_ticked_and_tells_how_many_refused(
    staff: Client, django_assert_max_num_queries: Any
) -> None:
    running = [make_session(Status.CONNECTED, name=f"A {n}") for n in range(30)]
    stopped = make_session(Status.STOPPED, name="B")
    chosen = {"action": "stop", "_selected_action": [session.pk for session in (*running, stopped)]}
    with django_assert_max_num_queries(25):
        staff.post(LIST, chosen)
    html = page(staff, LIST)
    assert "“Stop” was asked of 30 sessions. It is not possible for 1: 1 × Stopped." in html
    assert {c.session_id for c in SessionCommand.objects.all()} == {session.pk for session in running}
    assert set(LogEntry.objects.values_list("object_id", flat=True)) == {str(session.pk) for session in running}


# --- who did what, and who may ----------------------------------------------------


def test_the_history_of_a_session_names_everybody_and_what_they_did(staff: Client) -> None:
    session = make_session(Status.CONNECTED)
    session.request(Command.STOP, by="rui")
    session.record("status", status="WAITING", reason="connection-cut", actor="whatsapp")
    staff.post(change_page(session), {"name": "Bakery", "owner": "Ana"})
    response = staff.get(f"{LIST}{session.pk}/history/", follow=True)
    rows = re.findall(r'<tr><th class="field-at.*?</tr>', response.content.decode(), re.S)
    said = [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in rows]
    for row, what in zip(
        said, ("Changed - ana", "Waiting The connection to WhatsApp was cut. WhatsApp", "Asked to stop"), strict=True
    ):
        assert what in row


def test_what_was_done_in_admin_is_listed_with_whoever_did_it(staff: Client) -> None:
    session = make_session(Status.CONNECTED)
    staff.post(f"{LIST}{session.pk}/ask/stop/")
    html = page(staff, "/admin/admin/logentry/")
    assert ">ana<" in html and ">Stop<" in html


def test_a_person_is_limited_to_owners_on_their_own_page(staff: Client) -> None:
    bob = User.objects.create_user("bob", is_staff=True)
    at = f"/admin/auth/user/{bob.pk}/change/"
    html = page(staff, at)
    form = dict(re.findall(r'<input type="(?:hidden|text)" name="([\w-]+)" value="([^"]*)"', html))
    staff.post(at, {**form, "is_staff": "on", "is_active": "on", "owner_limit-0-owners": "Ana\nRui"})
    assert OwnerLimit.objects.get(user=bob).names == ["Ana", "Rui"]


def test_whoever_is_limited_to_owners_cannot_lift_the_limit(client: Client) -> None:
    vera = User.objects.create_user("vera", is_staff=True)
    vera.user_permissions.set(Permission.objects.filter(content_type__app_label__in=["auth", "sessions_app"]))
    OwnerLimit.objects.create(user=vera, owners="Ana")
    client.force_login(vera)
    assert 'name="_save"' not in page(client, f"/admin/auth/user/{vera.pk}/change/")
    assert (
        client.post(f"/admin/auth/user/{vera.pk}/change/", {"username": "vera", "is_superuser": "on"}).status_code
        == 403
    )
    assert client.get("/admin/auth/user/add/").status_code == 403


def test_alerts_of_the_installation_are_for_those_who_see_all_of_it(client: Client) -> None:
    vera = User.objects.create_user("vera", is_staff=True)
    vera.user_permissions.add(Permission.objects.get(codename="view_alert"))
    OwnerLimit.objects.create(user=vera, owners="Ana")
    mine, other = make_session(owner="Ana"), make_session(owner="Rui")
    for subject in (mine.session_id, other.session_id, "worker-1"):
        Alert.objects.create(kind=Alert.Kind.DOWN, subject=subject, sentence=f"{subject}.", began_at=timezone.now())
    client.force_login(vera)
    html = page(client, "/admin/sessions_app/alert/")
    assert f"{mine.session_id}." in html
    assert f"{other.session_id}." not in html and "worker-1." not in html


@pytest.mark.parametrize(("action", "verb"), [("log_out", "logout"), ("erase", "delete")])
def test_an_action_that_destroys_asks_first(staff: Client, action: str, verb: str) -> None:
    sessions = [make_session(Status.CONNECTED, name=name) for name in ("A", "B")]
    chosen = {"action": action, "_selected_action": [session.pk for session in sessions]}
    html = staff.post(LIST, chosen).content.decode()
    assert "lost for good" in html and not SessionCommand.objects.exists()
    hidden = dict(re.findall(r'<input type="hidden" name="(action|confirmed)" value="(\w+)">', html))
    staff.post(LIST, {**chosen, **hidden})
    assert [c.verb for c in SessionCommand.objects.all()] == [verb, verb]


def test_somebody_who_may_only_look_gets_no_buttons_and_no_commands(client: Client) -> None:
    viewer = User.objects.create_user("vera", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_whatsappsession"))
    client.force_login(viewer)
    session = make_session(Status.CONNECTED)
    assert not verbs_offered(page(client, change_page(session)))
    assert client.post(f"{LIST}{session.pk}/ask/stop/").status_code == 404
    client.post(LIST, {"action": "stop", "_selected_action": [session.pk]})
    assert not SessionCommand.objects.exists()


def test_a_host_that_is_alive_is_shown_with_its_beat(staff: Client) -> None:
    make_host(name="worker-7", beat_at=timezone.now())
    assert "worker-7" in page(staff, "/admin/sessions_app/host/")
