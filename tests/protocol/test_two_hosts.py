"""Two hosts on one database: a session is with one of them at a time, whatever becomes of the other."""

from __future__ import annotations

import pytest

from sessions_app.hosting import upkeep
from sessions_app.lifecycle import Status
from sessions_app.models import PairingRound, SessionEvent, WhatsAppSession
from simulator import Simulator
from tests.protocol.hosts import RunningHost, eventually, pair, running_host, wait_for_status

pytestmark = pytest.mark.django_db(transaction=True)


def linked(sim: Simulator, count: int) -> list[WhatsAppSession]:
    rows = [WhatsAppSession.objects.create(session_id=f"s{n}", name=f"S{n}") for n in range(count)]
    return [pair(row, sim.phone(f"55119876500{n:02}", name=f"Phone {n}")) for n, row in enumerate(rows)]


def held(host: RunningHost) -> set[int]:
    return set(WhatsAppSession.objects.filter(lease_host=host.supervisor.host).values_list("pk", flat=True))


def test_a_host_that_joins_gets_its_share_one_session_at_a_time(sim, tmp_path, monkeypatch):
    monkeypatch.setattr(upkeep, "SETTLED", upkeep.SETTLED * 0)
    with running_host(tmp_path / "one") as first:
        sessions = linked(sim, 4)
        with running_host(tmp_path / "two") as second:
            eventually(lambda: (len(held(first)), len(held(second))) == (2, 2), "an even share", within=40)
            for session in sessions:
                wait_for_status(session, Status.CONNECTED)
            back = SessionEvent.objects.filter(kind="recovery").order_by("pk")
            eventually(lambda: back.count() == 2, "two returns in the timelines")
            moved = list(SessionEvent.objects.filter(reason="balanced").order_by("pk"))
            assert [event.session_id for event in back] == [event.session_id for event in moved]
            assert len(moved) == 2
            assert back[0].at < moved[1].at
    for session in sessions:
        assert sim.connections.overlaps(session.jid) == []
    assert PairingRound.objects.count() == 4


def test_a_host_that_stops_hands_all_its_sessions_over(sim, tmp_path):
    with running_host(tmp_path / "one") as first:
        sessions = linked(sim, 4)
        with running_host(tmp_path / "two") as second:
            first.stop()
            first.crashed = True  # stopped already
            eventually(lambda: len(held(second)) == 4, "all four")
            for session in sessions:
                wait_for_status(session, Status.CONNECTED)
            back = SessionEvent.objects.filter(kind="recovery", epoch__gt=1)
            eventually(lambda: back.count() == 4, "four returns in the timelines")
            assert max(event.detail["seconds"] for event in back) < 5
    for session in sessions:
        assert sim.connections.overlaps(session.jid) == []
    assert PairingRound.objects.count() == 4
