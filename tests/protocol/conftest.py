"""A simulator whose environment this process has, and one host on it; a module that needs others makes its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator import Simulator
from tests.protocol.hosts import RunningHost, running_host
from tests.simulated import simulated


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with simulated(tmp_path / "simulator", monkeypatch) as running:
        yield running


@pytest.fixture
def host(sim: Simulator, tmp_path: Path) -> Iterator[RunningHost]:
    with running_host(tmp_path / "stores") as running:
        yield running
