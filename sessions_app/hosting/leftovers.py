"""Messages that wait in the spools of this disk for a host that does not run their sessions any more.

A host that dies, or stands still until its leases have passed, may leave messages whose receipts went out already: WhatsApp never
delivers those again. Another host may have the session by then, and it cannot see this disk. So every host hands in what lies on its own.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection
from pathlib import Path

from sessions_app.engine import events as ev
from sessions_app.engine.spool import SpoolReader
from sessions_app.hosting import messages
from sessions_app.hosting.keeper import SPOOL_NAME, STORE_NAME
from sessions_app.models import Host, WhatsAppSession
from sessions_app.vault.live_store import LiveStore

log = logging.getLogger(__name__)


def take(session: WhatsAppSession, spool: SpoolReader, directory: Path) -> int:
    """Record the messages and receipts that an earlier run left in a session's directory; its other events are history. Returns how
    many messages."""
    spool.rewind()
    taken = 0
    while batch := spool.read():
        if _is_of(session, directory):
            taken += _record(session, batch)
        else:
            log.warning("leftovers_of_a_deleted_session", extra={"session": session.session_id, "events": len(batch)})
        spool.commit()
    return taken


def _record(session: WhatsAppSession, batch: list[ev.Message]) -> int:
    received = [event for event in batch if isinstance(event, ev.MessageReceived)]
    messages.record_what_can_be(session, received)
    for event in batch:
        if isinstance(event, ev.ReceiptReceived):
            messages.record_receipt(session, event)
    return len(received)


def _is_of(session: WhatsAppSession, directory: Path) -> bool:
    """Whether the live store that lies there, if one does, is of this session, and not of one that was deleted and had its id."""
    live = LiveStore(directory / STORE_NAME)
    try:
        return not live.exists or live.get_meta("row") in ("", str(session.pk))
    except sqlite3.Error:
        return True
    finally:
        live.close()


def take_all(root: Path, host: Host, running: Collection[int]) -> None:
    """`take` for every session with a directory under `root` that neither this host runs (primary keys in `running`), nor a
    neighbour that shares the directory."""
    for directory in sorted(root.glob(f"*/{SPOOL_NAME}")):
        try:
            _take_from(directory, host, running)
        except OSError as error:
            # One spool that cannot be read, or is on its way out, keeps no other waiting.
            log.warning("spool_not_readable", extra={"path": str(directory), "error": type(error).__name__})


def _take_from(directory: Path, host: Host, running: Collection[int]) -> None:
    spool = SpoolReader(directory)
    session = _session_of(spool)
    if session is None or session.pk in running or _has_neighbour(session, host):
        return
    count = take(session, spool, directory.parent)
    log.warning("leftovers_taken", extra={"session": session.session_id, "messages": count})


def _session_of(spool: SpoolReader) -> WhatsAppSession | None:
    """Whose spool it is, as its first waiting event says; None where nothing waits, or for a session that was deleted."""
    sessions = WhatsAppSession.objects.select_related("lease_host")
    return next((sessions.filter(session_id=event.session).first() for event in spool.read(1)), None)


def _has_neighbour(session: WhatsAppSession, host: Host) -> bool:
    """Whether a host that works on the same directory has the session: then the spool is its own to read."""
    holder, place = session.lease_host, (host.machine, host.session_path)
    return holder is not None and holder != host and (holder.machine, holder.session_path) == place
