"""The schedules and what they run."""

from __future__ import annotations

import threading

import pytest
from django.db import connection
from django.db.models.functions import Now
from django_q.models import OrmQ, Schedule

from sessions_app import tasks
from sessions_app.hosting import supervisor
from sessions_app.lifecycle import Command, Status
from sessions_app.models import Host, SessionCommand, WhatsAppSession
from sessions_app.querysets import HOST_TTL

pytestmark = pytest.mark.django_db


def make_session(name: str, status: Status, **over: object) -> WhatsAppSession:
    return WhatsAppSession.objects.create(session_id=name, name=name, status=status, **over)


def queued() -> list[str]:
    return [row.func() for row in OrmQ.objects.all()]


def test_each_connected_session_is_asked_for_one_backup() -> None:
    first, second = make_session("first", Status.CONNECTED), make_session("second", Status.CONNECTED)
    for status in set(Status) - {Status.CONNECTED}:
        make_session(status.value, status)

    assert tasks.back_up() == 2

    asked = SessionCommand.objects.filter(verb="backup", requested_by="schedule")
    assert {command.session_id for command in asked} == {first.pk, second.pk}


def test_a_session_with_a_backup_to_come_is_not_asked_again() -> None:
    session = make_session("first", Status.CONNECTED)
    assert tasks.back_up() == 1
    assert tasks.back_up() == 0

    SessionCommand.objects.get(session=session).finish()

    assert tasks.back_up() == 1


def test_a_session_that_is_being_deleted_is_not_asked() -> None:
    make_session("first", Status.CONNECTED, deleting=True)
    make_session("second", Status.CONNECTED)

    assert tasks.back_up() == 1


def test_a_host_task_is_queued_once_where_no_host_is_beating() -> None:
    assert tasks.ensure_hosts() == "queued"
    assert tasks.ensure_hosts() == "queued already"

    assert queued() == ["sessions_app.tasks.host_sessions"]
    assert OrmQ.objects.get().task["timeout"] == -1


def test_no_host_task_is_queued_while_a_host_is_beating() -> None:
    Host.objects.create(name="host", pid=1)

    assert tasks.ensure_hosts() == "hosted"
    assert queued() == []


def test_a_host_that_stopped_beating_does_not_count() -> None:
    Host.objects.create(name="host", pid=1, beat_at=Now() - 2 * HOST_TTL)

    assert tasks.ensure_hosts() == "queued"


def test_a_host_task_that_is_delivered_twice_returns_where_a_host_is_beating(monkeypatch: pytest.MonkeyPatch) -> None:
    lives: list[object] = []
    monkeypatch.setattr(supervisor, "run", lives.append)

    assert tasks.host_sessions() == "stopped"
    Host.objects.create(name="host", pid=1)
    assert tasks.host_sessions() == "hosted already"

    assert len(lives) == 1


def test_schedules_are_made_once_and_follow_the_release() -> None:
    tasks.make_schedules()
    Schedule.objects.filter(name="back_up").update(minutes=17, func="an.older.release")
    tasks.make_schedules()

    rows = Schedule.objects.values_list("name", "func", "minutes", "schedule_type", "repeats")
    assert set(rows) == {
        (name, f"sessions_app.tasks.{name}", minutes, Schedule.MINUTES, -1) for name, minutes in tasks.SCHEDULES.items()
    }


@pytest.mark.django_db(transaction=True)
def test_workers_that_start_at_once_make_each_schedule_once() -> None:
    together = threading.Barrier(4)

    def work() -> None:
        together.wait(10)
        tasks.make_schedules()
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(Schedule.objects.values_list("name", flat=True)) == sorted(tasks.SCHEDULES)


@pytest.mark.django_db
def test_a_scheduled_backup_leaves_the_timeline_alone_and_a_persons_does_not():
    session = WhatsAppSession.objects.create(session_id="shop", name="Shop", status="CONNECTED")
    tasks.back_up()
    assert not session.events.exists()
    session.request(Command.BACKUP, by="ana")
    assert session.events.get().detail == {"command": "backup"}
