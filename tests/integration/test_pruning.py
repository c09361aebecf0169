"""What is past its time is deleted, by rule; what somebody may still need stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from django_q.models import Task

from sessions_app import pruning, tasks
from sessions_app.lifecycle import Command, Status
from sessions_app.models import (
    Alert,
    Backup,
    Host,
    Message,
    OutboxEvent,
    PairingRound,
    SessionCommand,
    SessionEvent,
    WhatsAppSession,
)
from tests.rows import make_host, make_round, make_session

pytestmark = pytest.mark.django_db


def ago(**time: float) -> Any:
    return timezone.now() - timedelta(**time)


def message(session: WhatsAppSession, text: str, days: float, status: str = "received") -> None:
    Message.objects.create(
        session=session, direction="in", chat="1@s.whatsapp.net", text=text, status=status, created_at=ago(days=days)
    )


def test_messages_go_by_their_retention_except_what_still_waits(settings: Any) -> None:
    settings.MESSAGE_RETENTION_DAYS = 30
    session = make_session()
    message(session, "old", 31)
    message(session, "young", 29)
    message(session, "waits", 31, "queued")

    assert pruning.prune() == {"messages": 1}
    assert set(Message.objects.values_list("text", flat=True)) == {"young", "waits"}


def test_with_a_retention_of_zero_messages_stay_for_ever(settings: Any) -> None:
    settings.MESSAGE_RETENTION_DAYS = 0
    message(make_session(), "old", 3650)

    assert pruning.prune() == {}


def test_more_rows_than_a_batch_are_deleted_and_no_more_than_there_is_time_for(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MESSAGE_RETENTION_DAYS = 1
    monkeypatch.setattr(pruning, "BATCH", 3)
    session = make_session()
    for number in range(8):
        message(session, str(number), 2)

    assert pruning.prune(budget=0) == {}
    assert pruning.prune() == {"messages": 8}


def test_the_timeline_keeps_what_happened_longer_than_the_schedules_routine(settings: Any) -> None:
    settings.OXY_EVENT_RETENTION_DAYS = 90
    session = make_session()
    for kind, actor, days in (
        ("command", "schedule", 3),
        ("command", "ana", 3),
        ("backup", "schedule", 1),
        ("status", "system", 89),
        ("status", "system", 91),
    ):
        SessionEvent.objects.create(session=session, kind=kind, actor=actor, at=ago(days=days))

    assert pruning.prune() == {"timeline": 1, "routine timeline": 1}
    assert SessionEvent.objects.count() == 3


def test_the_last_backup_stays_and_one_that_found_a_difference_stays_longer() -> None:
    first, second = make_session(session_id="first"), make_session(session_id="second")

    def backup(session: WhatsAppSession, days: float, differed: int = 0) -> Backup:
        made = {"keys": 1, "bytes": 1, "duration_ms": 1, "at": ago(days=days)}
        return Backup.objects.create(session=session, differed=differed, **made)

    backup(first, 40, 1)
    kept = [backup(first, 20, 1)]
    backup(first, 20)
    kept += [backup(first, 3), backup(second, 50)]

    assert pruning.prune() == {"backups": 2}
    assert set(Backup.objects.values_list("pk", flat=True)) == {each.pk for each in kept}


def test_commands_and_rounds_that_are_over_go() -> None:
    session = make_session()

    def command(by: str, days: float, *, done: bool = True) -> None:
        done_at = ago(days=days) if done else None
        SessionCommand.objects.create(session=session, verb="backup", requested_by=by, done_at=done_at)

    command("schedule", 3)
    command("schedule", 1)
    command("ana", 29)
    command("ana", 31)
    command("ana", 31, done=False)
    make_round(session, ended_at=ago(days=31))
    make_round(session, started_at=ago(days=40), ended_at=None)

    assert pruning.prune() == {"commands": 2, "pairing rounds": 1}
    assert (SessionCommand.objects.count(), PairingRound.objects.count()) == (3, 1)


def test_a_host_that_died_unseen_goes_unless_it_still_holds_a_lease() -> None:
    make_host(name="dead", beat_at=ago(days=2))
    holder = make_host(name="holder", beat_at=ago(days=2))
    make_host(name="alive")
    make_session(lease_host=holder, lease_until=timezone.now() + timedelta(minutes=1))

    assert pruning.prune() == {"hosts": 1}
    assert set(Host.objects.values_list("name", flat=True)) == {"holder", "alive"}


def test_a_session_that_was_never_linked_goes_and_programs_are_told() -> None:
    old = {"creds": None, "created_at": ago(days=31), "updated_at": ago(days=31), "desired": "stopped"}
    make_session(Status.NEW, session_id="forgotten", **old)
    make_session(Status.NEW, session_id="young", **{**old, "updated_at": ago(days=29)})
    make_session(Status.NEW, session_id="linked-once", paired_at=ago(days=31), **old)
    make_session(Status.NEW, session_id="held", lease_until=timezone.now() + timedelta(minutes=1), **old)
    asked = make_session(Status.NEW, session_id="asked", **old)
    SessionCommand.objects.create(session=asked, verb=Command.START, requested_by="ana")
    make_session(Status.STOPPED, session_id="stopped", **old)

    assert pruning.prune() == {"never paired": 1}
    left = set(WhatsAppSession.objects.values_list("session_id", flat=True))
    assert left == {"young", "linked-once", "held", "asked", "stopped"}
    assert OutboxEvent.objects.get().data == {"session_id": "forgotten"}


def test_never_linked_sessions_stay_where_that_is_wanted(settings: Any) -> None:
    settings.OXY_NEVER_PAIRED_DAYS = 0
    make_session(Status.NEW, creds=None, created_at=ago(days=999), updated_at=ago(days=999), desired="stopped")

    assert pruning.prune() == {}


def test_failed_tasks_and_alerts_that_are_over_go() -> None:
    for name, days, success in (("a", 15, False), ("b", 13, False), ("c", 99, True)):
        stopped = ago(days=days)
        Task.objects.create(id=name, name=name, func="f", started=stopped, stopped=stopped, success=success)
    alert = {"kind": "down", "sentence": "It is down.", "began_at": ago(days=40)}
    Alert.objects.create(**alert, subject="over", ended_at=ago(days=31))
    Alert.objects.create(**alert, subject="open")

    assert pruning.prune() == {"alerts": 1, "failed tasks": 1}


def test_the_schedule_runs_it() -> None:
    assert tasks.prune() == {}
    assert tasks.SCHEDULES["prune"] <= 60
