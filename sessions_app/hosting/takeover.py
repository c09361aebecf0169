"""Taking a Baileys session over: its files become a vault that a host can run, with no new scan."""

from __future__ import annotations

import os
import queue
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from sessions_app.engine.events import PrepareStore, StorePrepared
from sessions_app.hosting.engines import Engine
from sessions_app.vault import baileys, keys
from sessions_app.vault.baileys import BadFiles
from sessions_app.vault.live_store import LiveStore, Snapshot
from sessions_app.vault.rows import BadSnapshot

PREPARE_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0


class LibraryUnusable(Exception):
    """The WhatsApp library could not be started here; the text is for people."""


def read_files(files: Mapping[str, str]) -> Snapshot:
    """The session that Baileys files hold, as the installed library would have stored it.

    Raises `BadFiles`, and `LibraryUnusable`: the library itself makes the tables, in an engine of its own for a second or so.
    """
    with tempfile.TemporaryDirectory(prefix="oxy-takeover-") as folder:
        snapshot = baileys.to_snapshot(files, _schema(Path(folder, "empty", "store.db")))
        try:
            live = LiveStore.rebuild(Path(folder, "store.db"), snapshot)
        except BadSnapshot:
            raise BadFiles(_("The library that is installed has no place for what these files hold.")) from None
        # Read back, so that the vault holds what a live store shows: columns that Baileys knows nothing of included.
        whole = live.snapshot()
        live.close()
        return whole


def _schema(path: Path) -> bytes:
    LiveStore.create(path).close()
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    engine = Engine(0, lambda engine, event: heard.put(event), os.environ)
    try:
        engine.send(PrepareStore(session="takeover", path=str(path)))
        _wait_for_store(heard)
    finally:
        engine.stop(STOP_TIMEOUT)
    live = LiveStore(path)
    schema = live.snapshot().values[keys.SCHEMA_KEY]
    live.close()
    return schema


def _wait_for_store(heard: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            event = heard.get(timeout=PREPARE_TIMEOUT)
        except queue.Empty:
            event = None
        if event is None:
            raise LibraryUnusable(_("The WhatsApp library could not be started; the log says why."))
        if isinstance(event, StorePrepared):
            if event.error:
                raise LibraryUnusable(event.error)
            return
