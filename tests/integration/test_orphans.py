"""Live stores that nobody needs are deleted, and nothing else is."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from sessions_app.engine import events as ev
from sessions_app.engine.spool import SpoolWriter
from sessions_app.engine.store_lock import StoreLock
from sessions_app.hosting import orphans
from sessions_app.lifecycle import Status
from sessions_app.models import WhatsAppSession
from tests.rows import make_session

pytestmark = pytest.mark.django_db


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


def lay(root: Path, name: str, days: float) -> Path:
    """A live store that was last touched so many days ago."""
    (root / name / "spool").mkdir(parents=True)
    (root / name / "store.db").write_bytes(b"")
    age(root / name, days)
    return root / name


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86_400
    for each in (*path.rglob("*"), path):
        os.utime(each, (then, then))


def linked(name: str, **fields: object) -> WhatsAppSession:
    return make_session(Status.STOPPED, session_id=name, owner="", **fields)


def test_the_store_of_a_session_that_was_deleted_goes_after_a_day(root: Path) -> None:
    fresh, old = lay(root, "deleted-now", 0.5), lay(root, "deleted", 1.5)

    assert orphans.sweep(root, []) == 1

    assert (fresh.exists(), old.exists()) == (True, False)


def test_the_store_of_a_session_that_runs_elsewhere_goes_after_a_week(root: Path) -> None:
    linked("clean")
    linked("taken", lease_clean=False, lease_until=timezone.now() + timedelta(minutes=1))
    two = [lay(root, "clean", 8), lay(root, "taken", 8)]
    kept = lay(root, "fresh", 6)
    linked("fresh")

    assert orphans.sweep(root, []) == 2

    assert [path.exists() for path in (*two, kept)] == [False, False, True]


def test_what_may_be_newer_than_the_vault_stays(root: Path) -> None:
    running = linked("running")
    linked("unclean", lease_clean=False)
    linked("never-saved", creds=None)
    paths = [lay(root, name, 30) for name in ("running", "unclean", "never-saved")]

    assert orphans.sweep(root, [running.pk]) == 0

    assert all(path.exists() for path in paths)


def test_a_message_that_waits_in_a_spool_is_not_thrown_away(root: Path) -> None:
    path = lay(root, "deleted", 2)
    writer = SpoolWriter(path / "spool")
    writer.append(ev.Disconnected(session="deleted", epoch=1, at=1.0))
    writer.close()
    age(path, 2)

    assert orphans.sweep(root, []) == 0
    assert path.exists()


def test_what_is_not_ours_is_not_touched(root: Path) -> None:
    (root / "photos").mkdir(parents=True)
    (root / "photos" / "cat.jpg").write_bytes(b"meow")
    (root / "notes.txt").write_text("")
    age(root, 365)

    assert orphans.sweep(root, []) == 0
    assert (root / "photos" / "cat.jpg").exists()


def test_without_a_directory_there_is_nothing_to_do(root: Path) -> None:
    assert orphans.sweep(root, []) == 0


def test_a_store_that_somebody_works_on_stays_however_quiet_it_is(root: Path) -> None:
    """A neighbour on the same directory runs it, perhaps for another database, and nobody has written for long."""
    paths = [lay(root, name, 30) for name in ("clean", "unknown")]
    linked("clean")

    with StoreLock(paths[0] / "store.db"), StoreLock(paths[1] / "store.db"):
        for path in paths:
            age(path, 30)
        assert orphans.sweep(root, []) == 0

    assert all((path / "store.db").exists() for path in paths)


def test_a_file_that_vanishes_while_it_is_looked_at_does_not_end_the_host(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, old = lay(root, "busy", 2), lay(root, "old", 2)
    plain = Path.lstat

    def lstat(path: Path) -> os.stat_result:
        if path == busy / "store.db":
            raise FileNotFoundError(path)
        return plain(path)

    monkeypatch.setattr(Path, "lstat", lstat)

    assert orphans.sweep(root, []) == 1
    assert (busy.exists(), old.exists()) == (True, False)
