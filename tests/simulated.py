"""A simulator that stands in for WhatsApp in everything that this process, or one that it starts, does next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulator import Simulator


@contextmanager
def simulated(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """One that runs, with its addresses and its root certificate in the environment."""
    with Simulator(state_dir=state_dir) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running
