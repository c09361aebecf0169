"""Fixtures: live stores with the real library's schema, made once a run and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions_app.vault.live_store import LiveStore
from tests.integration import library


@pytest.fixture(scope="session")
def library_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store as the real library made it."""
    store = LiveStore.create(tmp_path_factory.mktemp("library") / "store.db")
    assert library.prepare(store.path) == 0
    store.get_meta("")  # the last one to close a file in WAL mode writes the log into it
    store.close()
    return store.path


@pytest.fixture
def empty_store(library_file: Path, tmp_path: Path) -> Iterator[LiveStore]:
    """A prepared store, with its journal, before a phone is linked."""
    path = tmp_path / "empty" / "store.db"
    path.parent.mkdir()
    shutil.copy(library_file, path)
    store = LiveStore(path)
    store.install_journal()
    yield store
    store.close()


@pytest.fixture
def linked_store(library_file: Path, tmp_path: Path) -> Iterator[LiveStore]:
    """A linked store with rows in every table; its journal is empty."""
    path = tmp_path / "linked" / "store.db"
    path.parent.mkdir()
    shutil.copy(library_file, path)
    store = LiveStore(path)
    store.install_journal()
    library.insert(path, {"whatsmeow_device": [library.device()], **library.rows()})
    store.clear_journal(store.read_changes().upto)
    yield store
    store.close()
