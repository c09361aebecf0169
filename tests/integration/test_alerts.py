"""Alerts: told once when a trouble begins, once when it is over, by each way, and never again in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail

from sessions_app import alerts, tasks
from sessions_app.lifecycle import Status
from sessions_app.models import Alert, SessionEvent, VaultCheck, WhatsAppSession
from sessions_app.vault import crypto
from tests.receivers import Receiver, receiver
from tests.rows import make_host, make_session

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KINDS = Alert.Kind


@pytest.fixture(autouse=True)
def _by_mail(settings: Any) -> None:
    settings.OXY_ALERT_EMAILS = ["ops@oxy.example"]
    settings.OXY_ALERT_DOWN_MINUTES = 10


@pytest.fixture
def hook(settings: Any) -> Iterator[Receiver]:
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = True
    with receiver() as running:
        settings.OXY_ALERT_WEBHOOK = running.url
        yield running


def moved(session: WhatsAppSession, *moves: tuple[str, datetime]) -> None:
    for status, at in moves:
        SessionEvent.objects.create(session=session, kind="status", status=status, actor="system", at=at)


def lost(session_id: str = "shop", since: datetime = NOON) -> WhatsAppSession:
    """A linked session that should be connected, and is not since then."""
    session = make_session(Status.WAITING, session_id=session_id, name="Shop", paired_at=NOON, status_at=since)
    moved(session, ("CONNECTED", since - timedelta(days=3)), ("WAITING", since), ("CONNECTING", since + MINUTE))
    return session


def kinds(now: datetime) -> list[str]:
    """What is seen at that moment, workers aside."""
    return [trouble.kind.value for trouble in alerts.look(now) if trouble.kind != KINDS.NO_WORKER]


def look_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "_workers", lambda now: iter(()))


@pytest.fixture
def only_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    look_without_workers(monkeypatch)


# --- once, and once that it is over ---------------------------------------------------


@pytest.mark.usefixtures("only_sessions")
def test_a_session_that_stays_down_is_told_once_and_its_return_once() -> None:
    session = lost()

    assert alerts.watch(NOON + 9 * MINUTE) == 0
    for minute in (10, 11, 12, 60):
        assert alerts.watch(NOON + minute * MINUTE) == 1
    assert [message.subject for message in mail.outbox] == [
        "Oxy: Shop (shop) has not been connected since 2026-06-01 12:00 UTC."
    ]

    WhatsAppSession.objects.filter(pk=session.pk).update(status=Status.CONNECTED, last_backup_at=NOON + 999 * MINUTE)
    assert alerts.watch(NOON + 61 * MINUTE) == 1
    assert alerts.watch(NOON + 65 * MINUTE) == 1
    assert alerts.watch(NOON + 66 * MINUTE) == 0
    assert alerts.watch(NOON + 67 * MINUTE) == 0
    assert [message.subject for message in mail.outbox][1:] == [
        "Oxy: All clear: Shop (shop) has not been connected since 2026-06-01 12:00 UTC."
    ]
    assert mail.outbox[0].to == ["ops@oxy.example"]


@pytest.mark.usefixtures("only_sessions")
def test_a_trouble_that_comes_and_goes_is_one_alert() -> None:
    session = lost()
    for round_ in range(5):
        at = NOON + (20 + 4 * round_) * MINUTE
        WhatsAppSession.objects.filter(pk=session.pk).update(status=Status.WAITING)
        alerts.watch(at)
        WhatsAppSession.objects.filter(pk=session.pk).update(status=Status.CONNECTED, last_backup_at=at)
        alerts.watch(at + 2 * MINUTE)

    assert Alert.objects.filter(kind=KINDS.DOWN).count() == 1
    assert len(mail.outbox) == 1


@pytest.mark.usefixtures("only_sessions")
def test_many_at_once_are_one_mail() -> None:
    for number in range(3):
        lost(f"shop-{number}")

    alerts.watch(NOON + 30 * MINUTE)

    assert [message.subject for message in mail.outbox] == ["Oxy: 3 alerts"]
    assert all(f"shop-{number}" in mail.outbox[0].body for number in range(3))


@pytest.mark.usefixtures("only_sessions")
def test_a_name_cannot_write_headers_of_a_mail() -> None:
    WhatsAppSession.objects.filter(pk=lost().pk).update(name="Shop\nBcc: eve@example.org")

    alerts.watch(NOON + 30 * MINUTE)

    assert "\n" not in mail.outbox[0].subject
    assert mail.outbox[0].recipients() == ["ops@oxy.example"]


# --- each way by itself -----------------------------------------------------------------


@pytest.mark.usefixtures("only_sessions")
def test_a_webhook_gets_the_beginning_and_the_end(hook: Receiver) -> None:
    session = lost()
    alerts.watch(NOON + 30 * MINUTE)
    WhatsAppSession.objects.filter(pk=session.pk).update(status=Status.CONNECTED, last_backup_at=NOON + 999 * MINUTE)
    alerts.watch(NOON + 31 * MINUTE)
    alerts.watch(NOON + 37 * MINUTE)

    began, ended = hook.next().json, hook.next().json
    assert (began["event"], ended["event"]) == ("alert.began", "alert.ended")
    assert (began["alert"]["kind"], began["alert"]["subject"]) == ("down", "shop")
    assert ended["text"].startswith("All clear: ")
    assert ended["alert"]["ended_at"]


@pytest.mark.usefixtures("only_sessions")
def test_a_way_that_fails_is_tried_again_and_the_other_is_not(hook: Receiver) -> None:
    lost("first")
    lost("second", NOON + MINUTE)
    hook.reply = lambda call: (204 if call.json["alert"]["subject"] == "first" else 500, b"", {})
    alerts.watch(NOON + 30 * MINUTE)
    hook.reply = lambda call: (204, b"", {})
    alerts.watch(NOON + 31 * MINUTE)
    alerts.watch(NOON + 32 * MINUTE)

    assert [call.json["alert"]["subject"] for call in hook.calls] == ["first", "second", "second"]
    assert len(mail.outbox) == 1


@pytest.mark.usefixtures("only_sessions")
def test_a_mail_server_that_is_gone_loses_no_alert(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lost()

    def refuse(*_: Any, **__: Any) -> Any:
        raise ConnectionRefusedError("password=hidden")

    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.EmailMessage.send", refuse)
        alerts.watch(NOON + 30 * MINUTE)
    alerts.watch(NOON + 31 * MINUTE)

    assert len(mail.outbox) == 1


@pytest.mark.usefixtures("only_sessions")
def test_what_nobody_was_told_of_needs_no_all_clear(settings: Any) -> None:
    settings.OXY_ALERT_EMAILS = []
    session = lost()
    alerts.watch(NOON + 30 * MINUTE)
    WhatsAppSession.objects.filter(pk=session.pk).update(status=Status.CONNECTED, last_backup_at=NOON + 999 * MINUTE)
    alerts.watch(NOON + 31 * MINUTE)
    settings.OXY_ALERT_EMAILS = ["ops@oxy.example"]
    alerts.watch(NOON + 37 * MINUTE)

    assert mail.outbox == []


# --- what is seen --------------------------------------------------------------------------


def test_a_session_that_nobody_wants_to_run_or_that_is_being_linked_is_not_down() -> None:
    for status, fields in (
        (Status.STOPPED, {"desired": "stopped"}),
        (Status.PAIRING, {}),
        (Status.NEW, {"paired_at": None}),
        (Status.WAITING, {"deleting": True}),
    ):
        long_ago = {"paired_at": NOON, "status_at": NOON - timedelta(days=1)}
        make_session(status, session_id=status.value, **{**long_ago, **fields})

    assert kinds(NOON) == []


def test_a_session_that_was_logged_out_is_down_until_somebody_links_it_again() -> None:
    make_session(Status.LOGGED_OUT, creds=None, paired_at=NOON, status_at=NOON)

    assert kinds(NOON + 30 * MINUTE) == ["down"]


def test_a_session_that_loses_its_connection_again_and_again_flaps() -> None:
    session = make_session(status_at=NOON, last_backup_at=NOON)
    moved(session, *(("WAITING", NOON + n * MINUTE) for n in range(alerts.FLAPS)))

    assert kinds(NOON + 10 * MINUTE) == ["flapping"]
    assert kinds(NOON + alerts.FLAPPING + MINUTE)[:1] != ["flapping"]


def test_a_phone_that_was_not_heard_of_and_a_backup_that_is_overdue_are_seen() -> None:
    make_session(status_at=NOON, last_backup_at=NOON, phone_seen_at=NOON - timedelta(days=9, hours=23))

    assert kinds(NOON) == []
    assert kinds(NOON + timedelta(hours=2)) == ["phone-away", "backup-overdue"]


def test_a_disk_that_is_nearly_full_or_cannot_be_written_is_seen() -> None:
    make_host(name="full", free_bytes=10**6)
    make_host(name="fine", free_bytes=10**12)
    make_host(name="fell-back", free_bytes=10**12, path_fell_back=True, session_path="/tmp/sessions")

    assert [(found.kind, found.subject) for found in alerts.look(NOON)] == [
        (KINDS.STORAGE, "full"),
        (KINDS.STORAGE, "fell-back"),
    ]


def test_a_host_that_stopped_beating_is_missed_where_sessions_are_to_run() -> None:
    assert list(alerts.look(NOON)) == []
    make_session(Status.STOPPED, session_id="a", desired="stopped")
    assert list(alerts.look(NOON)) == []
    make_session(Status.CONNECTING, session_id="b")
    make_host(beat_at=NOON - timedelta(seconds=90))
    assert list(alerts.look(NOON)) == []
    assert [found.kind for found in alerts.look(NOON + MINUTE)] == [KINDS.NO_WORKER]


def test_a_key_that_was_put_in_front_and_never_rotated_is_seen() -> None:
    VaultCheck.objects.create(key_id="00000001", sealed=b"x")
    VaultCheck.objects.create(key_id=crypto.key_ids()[0], sealed=b"x", created_at=NOON)

    assert kinds(NOON + timedelta(hours=23)) == []
    assert kinds(NOON + timedelta(hours=25)) == ["old-key"]


def test_a_key_is_reminded_of_before_it_has_been_in_use_for_its_time(settings: Any) -> None:
    VaultCheck.objects.create(key_id=crypto.key_ids()[0], sealed=b"x", created_at=NOON)

    assert kinds(NOON + timedelta(days=350)) == []
    assert kinds(NOON + timedelta(days=352)) == ["key-due"]
    sentence = next(alerts._key_due(NOON + timedelta(days=352))).sentence
    assert "2027-06-01" in sentence
    settings.OXY_KEY_DAYS = 0
    assert kinds(NOON + timedelta(days=999)) == []


def test_two_workers_that_look_at_the_same_moment_open_one_alert() -> None:
    trouble = alerts.Trouble(KINDS.DOWN, "shop", "It is down.")
    Alert.objects.create(kind=KINDS.DOWN, subject="shop", sentence="It was down.", began_at=NOON, ended_at=NOON)
    seen_before = Alert.objects.filter(ended_at=None)
    alerts.note([trouble], NOON)
    Alert.objects.bulk_create(
        [Alert(kind=KINDS.DOWN, subject="shop", sentence="It is down.", began_at=NOON)], ignore_conflicts=True
    )

    assert seen_before.count() == 1


def test_the_schedule_watches() -> None:
    assert tasks.watch() == 0
    assert tasks.SCHEDULES["watch"] == 1
