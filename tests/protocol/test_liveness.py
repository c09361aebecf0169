"""Signs of life of a session that a host runs: of WhatsApp, of the phone, and how long it had been away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from sessions_app.hosting import backoff, liveness
from sessions_app.lifecycle import Command, Status
from sessions_app.models import SessionEvent, WhatsAppSession
from simulator import Simulator
from tests.protocol.hosts import RunningHost, ask, eventually, fresh, pair, running_host, wait_for_status

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA = "5511987650001", "5511987650002"


@pytest.fixture
def host(sim: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningHost]:
    monkeypatch.setattr(liveness, "STORE_EVERY", 0.2)
    with running_host(tmp_path / "stores") as running:
        yield running


@pytest.fixture
def paired(sim: Simulator, host: RunningHost) -> WhatsAppSession:
    return pair(WhatsAppSession.objects.create(session_id="shop", name="Shop"), sim.phone(ANA, name="Ana"))


def recoveries(session: WhatsAppSession) -> list[float]:
    return [event.detail["seconds"] for event in SessionEvent.objects.filter(session=session, kind="recovery")]


def test_what_whatsapp_sends_moves_the_time_at_which_it_was_heard(sim, host, paired):
    before = eventually(lambda: fresh(paired).last_heard_at, "a first time")
    sim.phone(BIA, name="Bia").send_text(ANA, "hello")
    eventually(lambda: fresh(paired).last_heard_at > before, "a later time")


def test_what_the_phone_does_shows_that_it_is_there(sim, host, paired):
    long_ago = timezone.now() - timedelta(days=11)
    WhatsAppSession.objects.update(phone_seen_at=long_ago, phone_warned=10)
    runner = host.supervisor.runners[paired.pk]
    # Linking the session was a sign of life too.
    runner.session.phone_seen_at, runner.liveness._phone_at = long_ago, 0.0
    sim.phone(BIA, name="Bia").send_text(ANA, "of somebody else")
    eventually(lambda: fresh(paired).messages.filter(text="of somebody else").exists(), "the message")
    assert fresh(paired).phone_seen_at == long_ago

    sim.phone(ANA).send_text(BIA, "from the phone")

    eventually(lambda: fresh(paired).phone_seen_at > long_ago, "the phone's sign of life")
    assert fresh(paired).phone_warned == 0


def test_a_session_that_comes_back_says_how_long_it_was_away(sim, host, paired):
    assert recoveries(paired) == []
    sim.faults.outage(3)
    wait_for_status(paired, Status.WAITING, within=6)
    assert fresh(paired).lost_at is not None
    wait_for_status(paired, Status.CONNECTED)

    (seconds,) = recoveries(paired)
    assert 3 <= seconds < 20
    assert fresh(paired).lost_at is None


def test_a_stop_that_was_asked_for_is_no_absence(sim, host, paired):
    ask(paired, Command.STOP)
    wait_for_status(paired, Status.STOPPED)
    ask(paired, Command.START)
    wait_for_status(paired, Status.CONNECTED)
    assert recoveries(paired) == []


@pytest.mark.slow
def test_a_deaf_connection_is_noticed_in_less_than_a_minute_and_replaced(sim, host, paired):
    """The socket is open and takes everything in, and nothing comes back."""
    began = timezone.now()
    sim.faults.deaf(paired.jid)
    noticed = wait_for_status(paired, Status.WAITING, "not-answering", within=60)
    sim.faults.clear()
    wait_for_status(paired, Status.CONNECTED)

    assert noticed.status_at - began < timedelta(seconds=60)
    assert sim.connections.overlaps(paired.jid) == []


def test_when_whatsapp_answers_again_nobody_waits_for_the_end_of_a_long_pause(sim, host, paired):
    other = pair(WhatsAppSession.objects.create(session_id="desk", name="Desk"), sim.phone(BIA, name="Bia"))
    sim.stop()
    for session in (paired, other):
        ask(session, Command.RESTART)
        wait_for_status(session, Status.WAITING, "whatsapp-unreachable")
    patient = host.supervisor.runners[other.pk]
    patient.after("retry", 300.0, patient.begin)

    sim.start()

    wait_for_status(paired, Status.CONNECTED)
    wait_for_status(other, Status.CONNECTED, within=15)


def test_a_clock_that_has_jumped_does_not_keep_a_session_waiting(sim, tmp_path):
    session = WhatsAppSession.objects.create(session_id="shop", name="Shop")
    with running_host(tmp_path / "stores"):
        pair(session, sim.phone(ANA, name="Ana"))
    # As written by a host whose clock was an hour ahead.
    WhatsAppSession.objects.update(retry_at=timezone.now() + timedelta(hours=1))
    with running_host(tmp_path / "stores") as host:
        runner = eventually(lambda: host.supervisor.runners.get(session.pk), "the claim")
        eventually(lambda: runner.phase == "waiting", "the wait")
        when, _ = runner._deadlines._waiting["retry"]
        assert when - time.monotonic() <= backoff.LONGEST_DELAY
        assert fresh(session).retry_at is not None
