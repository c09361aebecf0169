"""Engines let go: of a store that another one works on, of sessions whose lease has run out, and never of a message half sent."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions_app.engine import events
from sessions_app.engine.process import DEAD_MAN_SECONDS, KERNEL_SECONDS
from sessions_app.engine.spool import SpoolReader
from simulator import Simulator
from tests.protocol.harness import EngineProcess, engine

ANA, BIA = "5511987650001", "5511987650002"


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(state_dir=tmp_path / "simulator") as running:
        yield running


@pytest.fixture
def client(sim: Simulator, tmp_path: Path) -> Iterator[EngineProcess]:
    with engine(tmp_path, sim.environment) as running:
        yield running


def pair(sim: Simulator, client: EngineProcess, **more: object) -> str:
    """Start the session `shop` and link it to Ana's phone; its device's address."""
    client.start("shop", **more)
    sim.phone(ANA, name="Ana").scan(client.expect(events.QrIssued, session="shop").code)
    return str(client.expect(events.Connected, session="shop").jid)


def test_a_second_engine_is_refused_a_live_store_and_gets_it_when_the_first_lets_go(sim, client, tmp_path):
    pair(sim, client)
    with engine(tmp_path, sim.environment) as second:
        path, spool = str(tmp_path / "shop" / "store.db"), str(tmp_path / "shop" / "spool")
        start = events.StartClient(session="shop", epoch=2, path=path, spool=spool, lease_seconds=60)
        second.send(start)
        stopped = second.expect(events.ClientStopped, session="shop")
        assert (stopped.cause, "Another process" in stopped.error) == ("busy", True)
        second.send(events.PrepareStore(session="shop", path=path))
        assert "Another process" in second.expect(events.StorePrepared, session="shop").error
        before = sim.connections.live

        client.kill()
        second._spools["shop"] = SpoolReader(spool)
        second.send(dataclasses.replace(start, epoch=3))
        second.expect(events.Connected, session="shop")

    assert len(before) == 1
    assert sim.connections.overlaps(next(iter(before))) == []


def test_a_frozen_engine_lets_go_when_its_lease_runs_out(sim, client):
    lease = 2.0
    jid = pair(sim, client)
    client.send(events.RenewLease(seconds={"shop": lease}))
    renewed = time.monotonic()
    # What answers has been read after the renewal.
    client.send(events.StopClient(session="nobody"))
    client.expect(events.CommandFailed, session="nobody")
    os.kill(client.process.pid, signal.SIGSTOP)

    sim.connections.wait_for(lambda live: jid not in live, timeout=15)

    took = time.monotonic() - renewed
    assert client.wait(5) == -signal.SIGKILL
    assert lease < took < lease + DEAD_MAN_SECONDS + KERNEL_SECONDS + 1


def test_an_engine_whose_leases_are_renewed_is_left_alive(sim, client):
    jid = pair(sim, client, lease=1.0)
    for _ in range(8):
        client.send(events.RenewLease(seconds={"shop": 1.0}))
        time.sleep(0.5)  # the renewals of a host, and no event says that nothing happens
    assert jid in sim.connections.live


def test_a_stop_lets_the_message_on_its_way_out_and_gives_the_others_back(sim, client):
    bia = sim.phone(BIA, name="Bia")
    pair(sim, client)
    sim.faults.slow(0.5)
    for number in range(3):
        client.send(events.SendMessage(session="shop", ref=str(number), to=BIA, text=f"number {number}"))
    sim.transcript.wait_for(lambda entry: entry.direction == "in" and entry.node.tag == "message")

    client.send(events.StopClient(session="shop", grace=8.0))

    client.expect(events.ClientStopped, session="shop", timeout=20)
    sent = [event.ref for event in client.all(events.MessageSent)]
    failed = {event.ref: (event.tried, event.in_doubt) for event in client.all(events.CommandFailed)}
    assert sent == ["0"]
    assert failed == {"1": (False, False), "2": (False, False)}
    bia.wait_for_text("number 0", timeout=10)


def test_a_stop_without_patience_cuts_one_that_has(sim, client):
    sim.phone(BIA, name="Bia")
    pair(sim, client)
    sim.faults.no_acks()
    client.send(events.SendMessage(session="shop", ref="1", to=BIA, text="never acknowledged"))
    sim.phone(BIA).wait_for_text("never acknowledged", timeout=10)
    client.send(events.StopClient(session="shop", grace=30.0))
    client.send(events.StopClient(session="shop"))
    client.expect(events.ClientStopped, session="shop", timeout=6)
