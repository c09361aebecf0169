"""A world without sockets, its phones, and a real simulator with real clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from simulator import Simulator
from simulator.nodes import Node
from simulator.noise import ServerKeys
from simulator.phone import Phone
from simulator.state import State
from simulator.world import World

from .clients import NeonizeClient
from .companion import Companion

ANA, BOB, EVA = "5511987650001", "5511987650002", "5511987650003"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    state = State(tmp_path / "state.sqlite3")
    yield World(state, ServerKeys.generate(), asyncio.get_running_loop().call_later)
    state.close()


@pytest.fixture
def ana(world: World) -> Phone:
    return Phone.get(world, ANA, "Ana")


@pytest.fixture
def bob(world: World) -> Phone:
    return Phone.get(world, BOB, "Bob")


async def link(world: World, phone: Phone) -> Companion:
    """A companion that is linked to the phone, logged in, and has its prekeys on the server."""
    companion = Companion(world)
    companion.register()
    assert await phone.scan(companion.qr()) == companion.jid
    companion.leave()
    companion.log_in(active=False)
    companion.upload_prekeys()
    companion.ask("passive", Node("active"), type_="set")
    await settle()
    for message in companion.got("message"):
        companion.receipt(message, type="sender")
    companion.received.clear()
    return companion


async def settle() -> None:
    """Let everything happen that waits for its turn and for no time to pass."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path / "simulator") as running:
        yield running


@pytest.fixture
def start_client(tmp_path: Path, simulator: Simulator) -> Iterator[Callable[..., NeonizeClient]]:
    """Starts the real client on the store of that name."""
    started: list[NeonizeClient] = []

    def start(store: str = "store") -> NeonizeClient:
        started.append(NeonizeClient(tmp_path / f"{store}.sqlite3", simulator.environment))
        return started[-1]

    yield start
    for client in started:
        client.kill()
