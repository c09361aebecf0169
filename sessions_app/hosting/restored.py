"""Notices that the database is not the one that sessions last ran on, but a copy: restored from a dump, or moved.

Between the dump and now sessions may have gone on. So their vaults may be older than what their peers hold, however cleanly they were left
when the dump was taken, and a file that some disk still has from then is not to be trusted either. Every session is therefore taken
over as after an unclean end, under epochs that no host and no file knows.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from django.db import ProgrammingError, connection, transaction
from django.db.models import F

from sessions_app.models import DatabaseIdentity, WhatsAppSession

log = logging.getLogger(__name__)

#: How far epochs are moved: more than a session changes hosts between a dump and its use.
EPOCHS = 1_000_000
_NAMES = "SELECT oid, %s::regclass::oid FROM pg_database WHERE datname = current_database()"


def check() -> int:
    """Compare the database with what it says that it is; how many sessions were marked. Called before anything is claimed."""
    now = identity()
    with transaction.atomic():
        known, made = DatabaseIdentity.objects.select_for_update().get_or_create(pk=1, defaults={"identity": now})
        if made or known.identity == now:
            return 0
        # No lease of the copy means anything, not even how lately it ended (keeper.py, `_vault_is_recent`).
        unowned = {"lease_clean": False, "lease_host": None, "lease_until": None}
        marked = WhatsAppSession.objects.update(**unowned, lease_epoch=F("lease_epoch") + EPOCHS)
        known.identity = now
        known.save()
    log.warning("database_was_restored", extra={"sessions": marked})
    return marked


def identity() -> str:
    """What a copy does not share: the server, the database and the table on PostgreSQL, the file on SQLite."""
    if connection.vendor != "postgresql":
        found = os.stat(_file()) if _file() else None
        return f"{found.st_dev}:{found.st_ino}" if found else ""
    table = WhatsAppSession._meta.db_table
    try:
        server = _ask("SELECT system_identifier FROM pg_control_system()")
    except ProgrammingError:
        # Some providers keep the server's own name to themselves.
        return _ask(_NAMES, table)
    return f"{server}:{_ask(_NAMES, table)}"


def _ask(query: str, *parameters: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return ":".join(str(part) for part in cursor.fetchone())


def _file() -> str:
    """The file of the SQLite database; empty for one in memory."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA database_list")
        rows: list[Any] = cursor.fetchall()
    return next((str(row[2]) for row in rows if row[1] == "main"), "")
