"""A simulator, the console's web process on a database of its own, and folders with Baileys in them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessions_app.models import Scope
from simulator import Simulator
from simulator.handset import Handset
from tests.acceptance.stack import Stack
from tests.baileys.clients import Api, Baileys, workshop

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with Simulator(state_dir=tmp_path_factory.mktemp("simulator")) as running:
        yield running


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, sim: Simulator) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("oxy"), sim)
    try:
        running.manage("migrate", "--verbosity", "0")
        running.start("web")
        yield running
    finally:
        running.stop_all()


@pytest.fixture(scope="package")
def token(stack: Stack) -> str:
    return stack.manage("create_api_token", "service", *(f"--scope={scope}" for scope in Scope.values)).strip()


@pytest.fixture(scope="package")
def api(stack: Stack, token: str) -> Api:
    return Api(stack.url, token)


@pytest.fixture(scope="package")
def worker(stack: Stack) -> None:
    """A host with engines; it runs until the last of these tests."""
    stack.start("worker")


@pytest.fixture
def oxy(stack: Stack, token: str) -> dict[str, str]:
    """What the adapter is told: a state of this test's own."""
    return {"url": stack.url, "token": token, "sessionId": f"shop-{next(_numbers)}"}


@pytest.fixture
def new_phone(sim: Simulator) -> Callable[[str], Handset]:
    """`new_phone("Eva")`: a phone with a number of its own."""
    return lambda name: sim.phone(f"55119876{next(_numbers):05}", name=name)


@pytest.fixture
def ana(new_phone: Callable[[str], Handset]) -> Handset:
    return new_phone("Ana")


@pytest.fixture
def bia(new_phone: Callable[[str], Handset]) -> Handset:
    return new_phone("Bia")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return workshop(tmp_path / "service")


@pytest.fixture
def client(sim: Simulator) -> Iterator[Callable[..., Baileys]]:
    """`client(place, folder=... or oxy=...)` starts one; all are gone after the test."""
    started: list[Baileys] = []

    def start(place: Path, **state: Any) -> Baileys:
        started.append(Baileys(place, sim, **state))
        return started[-1]

    yield start
    for one in started:
        one.close()
