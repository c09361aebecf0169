"""Engines of a host: a crash of the Go library, the session that causes it, and engines that have grown too large."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions_app.hosting import upkeep
from sessions_app.lifecycle import Status
from sessions_app.models import PairingRound, SessionEvent, WhatsAppSession
from simulator import Simulator
from tests.processes import ROOT
from tests.protocol.hosts import RunningHost, eventually, pair, running_host, wait_for_status
from tests.simulated import simulated

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with simulated(tmp_path / "simulator", monkeypatch) as running:
        monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{Path(__file__).parent / 'saboteur'}")
        yield running


@pytest.fixture
def host(sim: Simulator, tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningHost]:
    settings.OXY_ENGINE_CAPACITY = 4
    monkeypatch.setattr(upkeep, "MEASURE_EVERY", 0.5)
    with running_host(tmp_path / "stores") as running:
        yield running


def linked(sim: Simulator, count: int) -> list[WhatsAppSession]:
    """So many connected sessions, `s0`, `s1`, ..."""
    rows = [WhatsAppSession.objects.create(session_id=f"s{n}", name=f"S{n}") for n in range(count)]
    return [pair(row, sim.phone(f"55119876500{n:02}", name=f"Phone {n}")) for n, row in enumerate(rows)]


def engine_of(host: RunningHost, session: WhatsAppSession):
    return next(e for e in host.supervisor.engines.all if session.session_id in e.sessions)


def poison(tmp_path: Path, session: WhatsAppSession) -> Path:
    file = tmp_path / "stores" / session.session_id / "poison"
    file.touch()
    return file


def test_a_go_fatal_error_costs_its_sessions_seconds_and_the_others_nothing(sim, host, tmp_path):
    *sharing, apart = linked(sim, 5)
    first, second = engine_of(host, sharing[0]), engine_of(host, apart)
    file = poison(tmp_path, sharing[0])
    connection = sim.connections.live[apart.jid]

    sim.faults.stream_error(515, jid=sharing[0].jid)

    eventually(lambda: not first.alive, "the crash", within=10)
    file.unlink()
    assert first.crashed, f"not a fatal error of Go, but {first._process.returncode}"
    for session in sharing:
        wait_for_status(session, Status.CONNECTED)
        eventually(lambda s=session: SessionEvent.objects.filter(session=s, kind="recovery").exists(), "its return")
    away = [e.detail["seconds"] for e in SessionEvent.objects.filter(kind="recovery")]
    assert len(away) == 4
    assert max(away) < 3
    assert second.alive
    assert sim.connections.live[apart.jid] == connection
    assert not SessionEvent.objects.filter(session=apart, reason="engine-died").exists()


def test_a_session_that_crashes_its_engines_ends_alone_and_the_others_live_on(sim, host, tmp_path):
    bad, *others = linked(sim, 4)
    poison(tmp_path, bad)

    sim.faults.stream_error(515, jid=bad.jid)

    failed = wait_for_status(bad, Status.FAILED, "crashes-engines", within=60)
    assert failed.has_creds
    assert "crashed again and again" in failed.explanation.sentence
    for session in others:
        wait_for_status(session, Status.CONNECTED)
        assert not SessionEvent.objects.filter(session=session, status="FAILED").exists()
    crashes = [SessionEvent.objects.filter(session=s, reason="engine-died").count() for s in (bad, *others)]
    assert crashes[0] == 3
    assert max(crashes[1:]) <= 3
    assert PairingRound.objects.count() == 4


def test_an_engine_that_somebody_killed_is_nobodys_fault(sim, host):
    (session,) = linked(sim, 1)
    for _ in range(4):
        os.kill(engine_of(host, session).pid, signal.SIGKILL)
        wait_for_status(session, Status.WAITING, "engine-died")
        wait_for_status(session, Status.CONNECTED)
    assert engine_of(host, session).share == 4


@pytest.mark.parametrize(("limit", "size"), [("most_memory", 0), ("most_files", 1)], ids=["memory", "descriptors"])
def test_a_worn_engine_is_replaced_one_session_at_a_time(sim, host, limit, size):
    sessions = linked(sim, 3)
    worn = engine_of(host, sessions[0])
    eventually(lambda: all(r.at_rest for r in host.supervisor.runners.values()), "rest after the logins")
    engines, usual = host.supervisor.engines, getattr(host.supervisor.engines, limit)
    setattr(engines, limit, worn.size()[size] - 1)
    eventually(lambda: worn.worn, "the measuring")
    setattr(engines, limit, usual)

    eventually(lambda: not worn.alive, "the end of the worn engine")

    moved = SessionEvent.objects.filter(reason="engine-renewed").order_by("pk")
    back = SessionEvent.objects.filter(kind="recovery").order_by("pk")
    assert {event.session_id for event in moved} == {session.pk for session in sessions}
    assert all(was.at < following.at for was, following in zip(back, list(moved)[1:], strict=False))
    for session in sessions:
        wait_for_status(session, Status.CONNECTED)
    for session in sessions:
        assert sim.connections.overlaps(session.jid) == []
