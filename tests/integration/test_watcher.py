"""A commit to a watched live store is noticed, soon, whether or not the store was quiet before."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sessions_app.hosting import watcher as watcher_module
from sessions_app.hosting.watcher import FULL_ROUNDS, LOOK_EVERY, Watcher
from sessions_app.vault.live_store import LiveStore


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    running = Watcher()
    yield running
    running.end()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """As the engine has it open."""
    LiveStore.create(tmp_path / "store.db")
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (x)")
        yield connection


@pytest.mark.parametrize("quiet", [False, True], ids=["busy", "quiet"])
def test_a_commit_is_noticed(watcher, store, tmp_path, monkeypatch, quiet):
    monkeypatch.setattr(watcher_module, "FULL_ROUNDS", 10**9)
    noticed = threading.Event()
    watcher.watch(1, tmp_path / "store.db", noticed.set)
    for number in range(3):
        assert noticed.wait(1), "the beginning counts as a change, so that nothing before it is missed"
        noticed.clear()
        if quiet:
            watcher._watched[1].stirred_at = 0.0
        store.execute("INSERT INTO t VALUES (?)", (number,))
    assert noticed.wait(1)


def test_a_commit_is_noticed_where_the_log_keeps_no_time(watcher, store, tmp_path):
    noticed = threading.Event()
    watcher.watch(1, tmp_path / "store.db", noticed.set)
    assert noticed.wait(1)
    watched = watcher._watched[1]
    watched._log, watched.stirred_at = os.devnull, 0.0
    noticed.clear()
    store.execute("INSERT INTO t VALUES (1)")
    assert noticed.wait(LOOK_EVERY * FULL_ROUNDS * 5)


def test_a_forgotten_store_is_let_go(watcher, store, tmp_path):
    noticed = threading.Event()
    watcher.watch(1, tmp_path / "store.db", noticed.set)
    watcher.forget(1)
    noticed.clear()
    store.execute("INSERT INTO t VALUES (1)")
    assert not noticed.wait(LOOK_EVERY * FULL_ROUNDS * 1.5)
    assert watcher.alive
