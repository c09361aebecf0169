"""A simulator whose environment this process has, and one host on it; a module that needs others makes its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator import Simulator
from tests.protocol.hosts import RunningHost, running_host


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with Simulator(state_dir=tmp_path / "simulator") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def host(sim: Simulator, tmp_path: Path) -> Iterator[RunningHost]:
    with running_host(tmp_path / "stores") as running:
        yield running
