"""Leases: who may have a session, and until when."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from sessions_app.hosting import lease, neighbours
from sessions_app.lifecycle import Command, Event, Status
from sessions_app.models import Host, NotAllowed, SessionCommand, SessionEvent, WhatsAppSession
from sessions_app.reasons import Reason

pytestmark = pytest.mark.django_db


@pytest.fixture
def hosts() -> tuple[Host, Host]:
    return Host.objects.create(name="one", pid=1), Host.objects.create(name="two", pid=2)


@pytest.fixture
def session() -> WhatsAppSession:
    return WhatsAppSession.objects.create(session_id="shop", name="Shop", desired="running")


def seen(session: WhatsAppSession) -> WhatsAppSession:
    return WhatsAppSession.objects.get(pk=session.pk)


def test_the_first_host_gets_the_lease_and_the_epoch_grows(hosts, session):
    taken = lease.acquire(seen(session), hosts[0])
    assert (taken.epoch, taken.previous_epoch, taken.clean) == (1, 0, True)
    assert seen(session).lease_epoch == 1


def test_of_two_hosts_that_saw_the_same_row_one_wins(hosts, session):
    row = seen(session)
    assert lease.acquire(row, hosts[0]) is not None
    assert lease.acquire(row, hosts[1]) is None


def test_a_lease_is_not_taken_from_a_live_host(hosts, session):
    lease.acquire(seen(session), hosts[0])
    assert lease.acquire(seen(session), hosts[1]) is None
    assert not WhatsAppSession.objects.claimable().exists()


def test_an_expired_lease_is_taken_and_is_known_to_be_unclean(hosts, session):
    lease.acquire(seen(session), hosts[0])
    later = timezone.now() + lease.LEASE_TTL + timedelta(seconds=1)
    taken = lease.acquire(seen(session), hosts[1], now=later)
    assert (taken.epoch, taken.clean) == (2, False)


def test_a_lease_that_was_given_back_is_clean(hosts, session):
    first = lease.acquire(seen(session), hosts[0])
    assert lease.release(first, hosts[0], clean=True)
    assert lease.acquire(seen(session), hosts[1]).clean


def test_a_late_release_takes_nothing_from_the_next_holder(hosts, session):
    first = lease.acquire(seen(session), hosts[0])
    lease.end_leases_of(hosts[0])
    lease.acquire(seen(session), hosts[1])
    assert not lease.release(first, hosts[0], clean=True)
    assert seen(session).lease_host == hosts[1]


def test_renewing_names_the_leases_that_are_still_held(hosts, session):
    other = WhatsAppSession.objects.create(session_id="desk", name="Desk")
    lease.acquire(seen(session), hosts[0])
    lease.acquire(seen(other), hosts[0])
    lease.end_leases_of(hosts[0])
    lease.acquire(seen(other), hosts[1])

    assert lease.renew(hosts[0], [session.pk, other.pk]) == {session.pk}
    assert WhatsAppSession.objects.filter(pk=session.pk, lease_until__gt=Now()).exists()


def test_a_write_under_a_passed_epoch_changes_nothing(hosts, session):
    first = lease.acquire(seen(session), hosts[0])
    stale = seen(session)
    lease.end_leases_of(hosts[0])
    lease.acquire(seen(session), hosts[1])

    assert not stale.apply(Event.CONNECT_STARTED, epoch=first.epoch)
    assert seen(session).status == Status.NEW
    assert not SessionEvent.objects.filter(kind="status").exists()


def test_a_change_of_status_is_in_the_timeline_with_its_reason_and_actor(hosts, session):
    taken = lease.acquire(seen(session), hosts[0])
    seen(session).apply(Event.FAILED, Reason.VAULT_UNREADABLE, epoch=taken.epoch)
    row = SessionEvent.objects.get(kind="status")
    assert (row.status, row.reason, row.host, row.epoch) == ("FAILED", "vault-unreadable", "one", 1)


def test_the_lease_of_a_process_that_is_gone_from_this_machine_ends_at_once(session):
    own = Host.objects.create(name="own", machine="m", pid=1)
    dead = Host.objects.create(name="dead", machine="m", pid=2**22 + 5, pid_started=77)
    elsewhere = Host.objects.create(name="elsewhere", machine="n", pid=2**22 + 5, pid_started=77)
    lease.acquire(seen(session), dead)

    assert neighbours.bury_the_dead(own) == 1
    assert WhatsAppSession.objects.claimable().filter(pk=session.pk).exists()
    assert set(Host.objects.all()) == {own, elsewhere}


def test_a_process_that_lives_is_left_alone(session):
    import os

    pid = os.getpid()
    own = Host.objects.create(name="own", machine="m", pid=1)
    Host.objects.create(name="alive", machine="m", pid=pid, pid_started=neighbours.started(pid))
    assert neighbours.bury_the_dead(own) == 0
    assert Host.objects.count() == 2


def test_a_session_that_nobody_wants_is_claimed_for_its_command_alone(session):
    WhatsAppSession.objects.update(desired="stopped", status=Status.LOGGED_OUT)
    assert not WhatsAppSession.objects.claimable().exists()
    seen(session).request(Command.START, by="ana")
    assert WhatsAppSession.objects.claimable().exists()
    SessionCommand.objects.get().finish()
    assert not WhatsAppSession.objects.filter(status=Status.LOGGED_OUT, desired="stopped").claimable().exists()


def test_a_command_that_the_status_does_not_allow_is_refused_and_leaves_no_row(session):
    with pytest.raises(NotAllowed) as raised:
        seen(session).request(Command.LOGOUT, by="ana")
    assert "logout" in str(raised.value)
    assert not SessionCommand.objects.exists()


def test_a_command_is_answered_once(session):
    row = seen(session).request(Command.START, by="ana")
    row.finish(SessionCommand.Outcome.FAILED, "No.")
    row.finish()
    row.refresh_from_db()
    assert (row.outcome, row.error) == ("failed", "No.")
