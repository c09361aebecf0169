"""Directories of live stores that nobody needs: their session was deleted, or has long been running on another disk.

A live store is a cache of the vault, but one that may be newer. So a directory goes only if it is certain that it is one of ours,
that nothing in it was touched for a day (a week where its session still exists), that no message waits in its spool, that nobody
on this machine works on it, and that the vault of its session is there to rebuild it from. A database that does not answer raises,
and nothing is deleted.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Collection
from pathlib import Path

from django.db.models import Q
from django.utils import timezone

from sessions_app.engine.spool import SpoolReader
from sessions_app.engine.store_lock import StoreLock
from sessions_app.hosting.keeper import SPOOL_NAME, STORE_NAME
from sessions_app.hosting.session_path import directory_name
from sessions_app.models import WhatsAppSession

log = logging.getLogger(__name__)

#: Seconds without a change: long enough for a mistake (a wrong database, a restore) to be noticed first.
NOBODYS, ELSEWHERE = 86_400.0, 7 * 86_400.0


def sweep(root: Path, running: Collection[int]) -> int:
    """Delete what is orphaned under `root`; `running` are the primary keys of this host's sessions. Returns how many."""
    found = [path for path in sorted(root.glob("*")) if _is_ours(path)]
    if not found:
        return 0
    rows = WhatsAppSession.objects.only("session_id", "owner", "lease_clean", "lease_until")
    by_directory = {directory_name(session): session for session in rows.annotate(linked=Q(creds__isnull=False))}
    count = 0
    for path in found:
        session = by_directory.get(path.name)
        if session is not None and (session.pk in running or not _is_in_vault(session)):
            continue
        try:
            count += _delete(path, NOBODYS if session is None else ELSEWHERE)
        except OSError as error:
            # A neighbour on the same directory may be working on it: what was there a moment ago is gone, or is locked.
            log.debug("live_store_in_use", extra={"path": str(path), "error": type(error).__name__})
    return count


def _delete(path: Path, age: float) -> bool:
    """Delete what is so old and has nothing waiting in it, unless somebody works on it. Raises `OSError`."""
    if _untouched_for(path) < age or SpoolReader(path / SPOOL_NAME).read(1):
        return False
    with StoreLock(path / STORE_NAME):
        log.info("orphaned_live_store_deleted", extra={"path": str(path)})
        shutil.rmtree(path, ignore_errors=True)
    return True


def _is_in_vault(session: WhatsAppSession) -> bool:
    """Whether the vault is as new as any file of the session that nobody runs: it ended cleanly, or another host has it now."""
    taken = session.lease_until is not None and session.lease_until > timezone.now()
    return bool(getattr(session, "linked", False)) and (session.lease_clean or taken)


def _is_ours(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and ((path / STORE_NAME).is_file() or (path / SPOOL_NAME).is_dir())


def _untouched_for(path: Path) -> float:
    """Seconds since the last change of anything in it."""
    times = [path.stat().st_mtime, *(each.lstat().st_mtime for each in path.rglob("*"))]
    return time.time() - max(times)
