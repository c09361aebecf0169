"""What a runner does where things come together that rarely do: each case with its rows, its live store and its spool."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions_app.hosting import lease
from sessions_app.lifecycle import Command, Status
from sessions_app.models import AuthBlob, SessionEvent, WhatsAppSession
from sessions_app.vault import store
from sessions_app.vault.live_store import LiveStore
from tests.integration.runners import TestHost, ask, client_stopped, connect, outcome

pytest_plugins = ["tests.integration.live_stores"]
pytestmark = pytest.mark.django_db
RUNNING = WhatsAppSession.Desired.RUNNING


@pytest.fixture
def host(tmp_path: Path) -> TestHost:
    return TestHost(tmp_path / "stores")


@pytest.fixture
def session(linked_store: LiveStore) -> WhatsAppSession:
    """A linked session that should run; its vault is complete."""
    made = WhatsAppSession.objects.create(session_id="shop", name="Shop", status=Status.CONNECTED, desired=RUNNING)
    store.save_snapshot(made, 0, linked_store.snapshot())
    return made


def fresh(session: WhatsAppSession) -> WhatsAppSession:
    return WhatsAppSession.objects.get(pk=session.pk)


def why() -> str:
    """The reason for the last choice of a live store."""
    return str(SessionEvent.objects.filter(kind="vault").first().detail["why"])


# --- whether the vault is complete ------------------------------------------------


@pytest.fixture
def host_died(host: TestHost, session: WhatsAppSession) -> WhatsAppSession:
    """The session ran on another machine, which is gone with its disk: nobody knows what was sent last."""
    other = TestHost(host.session_path.root.with_name("lost"), "gone")
    connect(other.claim(session))
    lease.end_leases_of(other.host)
    return session


def test_a_run_that_was_ended_leaves_a_complete_vault(host, session):
    runner = host.claim(session)
    connect(runner)
    runner.hand_over()
    client_stopped(runner)
    assert fresh(session).lease_clean is True


def test_a_stop_after_a_host_died_does_not_make_the_vault_complete(host, host_died):
    WhatsAppSession.objects.update(desired="stopped")
    runner = host.claim(host_died)
    asked = ask(runner, Command.STOP)
    runner.work()
    assert (outcome(asked), fresh(host_died).status) == ("done", Status.STOPPED)

    WhatsAppSession.objects.update(desired=RUNNING)
    host.claim(host_died).work()

    assert "stale Signal sessions" in why()


def test_a_vault_that_could_not_be_read_is_not_complete_once_it_can(host, host_died):
    blob = AuthBlob.objects.filter(session=host_died).first()
    AuthBlob.objects.filter(pk=blob.pk).update(data_value=bytes(blob.data_value)[:-1] + b"\0")
    host.claim(host_died).work()
    assert fresh(host_died).status == Status.FAILED
    AuthBlob.objects.filter(pk=blob.pk).update(data_value=blob.data_value)

    WhatsAppSession.objects.update(desired=RUNNING)
    host.claim(host_died).work()

    assert "stale Signal sessions" in why()


def test_a_host_that_ends_while_a_session_waits_does_not_make_the_vault_complete(host, host_died, monkeypatch):
    monkeypatch.setattr("sessions_app.hosting.runner.StoreLock", _busy)
    runner = host.claim(host_died)
    runner.work()
    assert runner.phase == "waiting"
    monkeypatch.undo()
    runner.hand_over()

    WhatsAppSession.objects.update(retry_at=None)
    host.claim(host_died).work()

    assert "stale Signal sessions" in why()


def _busy(path: Path) -> None:
    from sessions_app.engine.store_lock import StoreBusy

    raise StoreBusy
