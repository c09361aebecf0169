"""A database that was restored from a dump is noticed, and no session is trusted to be as it was left."""

from __future__ import annotations

import pytest

from sessions_app.hosting import lease, restored
from sessions_app.lifecycle import Event
from sessions_app.models import DatabaseIdentity, Host, WhatsAppSession
from tests.rows import make_session

pytestmark = pytest.mark.django_db


def test_a_database_that_is_the_same_as_before_changes_nothing():
    session = make_session(lease_clean=True, lease_epoch=5)
    assert (restored.check(), restored.check()) == (0, 0)
    session.refresh_from_db()
    assert (session.lease_clean, session.lease_epoch) == (True, 5)
    assert DatabaseIdentity.objects.get().identity == restored.identity() != ""


def test_a_copy_has_every_session_taken_over_as_after_an_unclean_end_once():
    session = make_session(lease_clean=True, lease_epoch=5)
    restored.check()
    DatabaseIdentity.objects.update(identity="of the original")

    assert (restored.check(), restored.check()) == (1, 0)

    session.refresh_from_db()
    assert (session.lease_clean, session.lease_epoch) == (False, 5 + restored.EPOCHS)
    taken = lease.acquire(session, Host.objects.create(name="one", pid=1))
    assert taken is not None
    assert not taken.clean


def test_a_lease_of_the_original_does_not_make_the_copys_vault_a_recent_one():
    there = Host.objects.create(name="there", pid=1)
    lease.acquire(make_session(), there)
    restored.check()
    DatabaseIdentity.objects.update(identity="of the original")
    restored.check()
    taken = lease.acquire(WhatsAppSession.objects.get(), Host.objects.create(name="here", pid=1))
    assert taken is not None
    assert taken.previous_until is None


def test_a_host_of_the_original_writes_nothing_into_the_copy():
    session = make_session(lease_epoch=7)
    restored.check()
    DatabaseIdentity.objects.update(identity="of the original")
    restored.check()
    assert not session.apply(Event.STOPPED, epoch=7)
    assert WhatsAppSession.objects.get().status == "CONNECTED"
