"""One session's keys on this host: choose the live store, write its changes through to the vault, compare, forget.

Which live store is used, and why, in the order that is tried:

1. The vault cannot be read: nothing is touched, `VaultUnreadable`.
2. The vault has credentials and the file on this disk was last run by ourselves, or under the epoch before ours, since this machine's
   start: nobody else has run the session since, so the file is at least as new as the vault, unless somebody has put an older copy
   back: then it differs from the vault in more than its journal tells. It is used, and what its journal still holds is written through.
3. The vault has credentials, and the file is absent, older, or broken: it is rebuilt from the vault. Unless the last holder ended
   cleanly and the session has not run since, Signal sessions in it may be stale, and would lose messages in silence: they are moved
   on, or dropped where the vault may be older than a moment (docs/durability.md). A file of a later epoch than any that the database
   knows says that the database was set back: then nothing that the vault says of its own age counts.
4. The vault has none, but the file has, was run under the epoch before ours, and a round was on: a phone had just been linked when
   the last host died. The file is saved to the vault and used.
5. Neither has credentials: a fresh file, and a pairing round.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from django.db.models.functions import Now

from sessions_app.hosting.lease import Lease
from sessions_app.hosting.neighbours import boot
from sessions_app.lifecycle import Status
from sessions_app.models import Backup, WhatsAppSession
from sessions_app.vault import creds, store
from sessions_app.vault.live_store import LiveStore, Snapshot
from sessions_app.vault.rows import BadSnapshot

log = logging.getLogger(__name__)

STORE_NAME, SPOOL_NAME = "store.db", "spool"
#: Files on their way to and from an engine, each for as long as that takes.
FILES_NAME = "files"
#: How many keys one write-through transaction carries at most.
BATCH = 2000
#: More entries than a journal ever has.
EVERY = 2**31
#: A lease that ended longer ago than this was lost by no host that just died.
RECENT = timedelta(minutes=2)
#: Names of differing keys that a backup's row keeps.
NAMED = 20


class VaultUnreadable(Exception):
    """The vault holds something that cannot be opened; the text is for the log, without secrets."""


class CredentialsVanished(Exception):
    """The library deleted its device row; the vault was left as it is."""


class Keeper:
    """The live store and the vault of one session under one lease. All of it runs on the session's lane."""

    def __init__(self, session: WhatsAppSession, lease: Lease, directory: Path) -> None:
        self.session, self.lease, self.directory = session, lease, directory
        self.path = directory / STORE_NAME
        #: The account's own name, as the library last stored it.
        self.push_name = session.push_name
        self._store: LiveStore | None = None
        self._armed = self._vault_in_doubt = False
        #: Whether the vault holds all that the session has done, as far as is known: as the last holder left it until the session
        #: runs under this lease, and again once it has stopped and everything was written through.
        self.vault_is_complete = lease.clean

    def open(self) -> bool:
        """Put a live store in place, as the module says; returns whether it has credentials."""
        match store.load(self.session):
            case store.Unreadable(sentence):
                raise VaultUnreadable(sentence)
            case store.Found(snapshot):
                self._open_paired(snapshot)
                return True
            case _:
                return self._open_unpaired()

    def arm(self) -> None:
        """Watch the tables that the library has prepared; called after `StorePrepared`, before the client starts."""
        live = self._store = self._store or LiveStore(self.path)
        self.vault_is_complete, self._armed = False, True
        # A session that was deleted and made again has its id from before, and its epochs from the beginning.
        live.install_journal(
            row=self.session.pk, session_id=self.session.session_id, epoch=self.lease.epoch, boot=boot()
        )
        # What was done to a rebuilt file is in its journal, and so is a migration of one that an older release saved.
        self.flush()

    def flush(self) -> int:
        """Write what the journal holds to the vault, and clear it there; returns the number of keys.

        Raises `store.LeaseLost`, with nothing written, and `CredentialsVanished`, with the vault as it was.
        """
        live, written = self._store, 0
        while live:
            changes = live.read_changes(BATCH)
            if changes.device_deleted:
                raise CredentialsVanished
            if not changes.upto:
                break
            try:
                store.save(self.session, self.lease.epoch, changes)
            except store.NoCredentials:
                self.save_in_full()
            live.clear_journal(changes.upto)
            if changes.creds:
                self.push_name = creds.own_name(changes.creds)[:200]
            written += len(changes.values)
        return written

    def flush_last(self) -> None:
        """`flush`, once nobody changes the live store any more."""
        self.flush()
        self.vault_is_complete |= self._store is not None

    def save_in_full(self) -> None:
        """Write the whole live store to the vault; raises `CredentialsVanished`, with the vault as it was."""
        if self._store:
            snapshot = self._store.snapshot()
            if snapshot.creds is None:
                raise CredentialsVanished
            store.save_snapshot(self.session, self.lease.epoch, snapshot)

    def back_up(self) -> Backup:
        """Compare live store and vault in full; differences are written to the vault and reported as a fault."""
        started, live = time.monotonic(), self._store
        assert live is not None
        self.flush()
        snapshot = live.snapshot()
        difference = store.compare(self.session, snapshot)
        # What changed while we compared is on its way through the journal: no fault of the write-through.
        found = {*difference.missing, *difference.different, *difference.extra}
        names = sorted(found - live.read_changes(BATCH).values.keys())
        if names:
            store.save_snapshot(self.session, self.lease.epoch, snapshot)
            log.error("backup_differed", extra={"session": self.session.session_id, "keys": len(names)})
        keys, size = store.size(self.session)
        row = Backup.objects.create(
            session=self.session,
            keys=keys,
            bytes=size,
            duration_ms=round((time.monotonic() - started) * 1000),
            differed=len(names),
            detail=names[:NAMED],
        )
        WhatsAppSession.objects.filter(pk=self.session.pk).update(last_backup_at=Now())
        return row

    def forget(self) -> None:
        """Clear the vault and the live store on purpose: the device is gone, or the session is being deleted."""
        store.clear(self.session, self.lease.epoch)
        self.vault_is_complete = True
        self.close()
        for path in self.directory.glob(f"{STORE_NAME}*"):
            path.unlink()

    def remove_directory(self) -> None:
        self.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def close(self) -> None:
        if self._store:
            self._store.close()
            self._store = None

    # --- which live store ---------------------------------------------------

    def _open_paired(self, snapshot: Snapshot) -> None:
        problem = self._why_not_this_file() or self._why_no_continuation(snapshot)
        if not problem:
            self._say("file", "nobody else has run the session since")
            self._store = LiveStore(self.path)
            self.flush_leftovers()
            return
        self.close()
        live = self._rebuild(snapshot)
        if not self.vault_is_complete or self._vault_in_doubt:
            problem += "; " + self._renew_signal_sessions(live)
        self._store = live
        self._say("vault", problem)

    def _renew_signal_sessions(self, live: LiveStore) -> str:
        """See to it that no number of a Signal session is used twice; returns how, for the timeline."""
        if self._vault_is_recent() and not self._vault_in_doubt:
            live.advance_signal_sessions()
            return "stale Signal sessions moved on"
        live.forget_signal_sessions()
        return "stale Signal sessions dropped"

    def _vault_is_recent(self) -> bool:
        """Whether the last holder had the session until a moment ago: then the vault lacks no more than its last messages.

        Otherwise the database itself may be a restored copy, and nobody knows how much was sent since that was made.
        """
        until = self.lease.previous_until
        row = WhatsAppSession.objects.filter(pk=self.session.pk).annotate(now=Now())
        return until is not None and row.filter(now__lt=until + RECENT).exists()

    def flush_leftovers(self) -> None:
        """Write through what the journal of a found file holds, unless that is the deletion of the device itself."""
        try:
            self.flush()
        except CredentialsVanished:
            # The library deleted its rows and the host died before it heard why. The vault's copy decides: if WhatsApp
            # has unlinked the device, the next login says so.
            self._rebuild_after_deletion()

    def _rebuild_after_deletion(self) -> None:
        match store.load(self.session):
            case store.Found(snapshot):
                self.close()
                live = self._rebuild(snapshot)
                live.forget_signal_sessions()
                self._store = live
                self._say("vault", "the file had lost its credentials; stale Signal sessions dropped")
            case _:
                raise VaultUnreadable("the vault changed while it was read")

    def _rebuild(self, snapshot: Snapshot) -> LiveStore:
        try:
            return LiveStore.rebuild(self.path, snapshot)
        except BadSnapshot as error:
            raise VaultUnreadable(str(error)) from None

    def _open_unpaired(self) -> bool:
        round_was_on = self.session.status in (Status.PAIRING, Status.CONNECTING, Status.WAITING)
        if round_was_on and not self._why_not_this_file():
            live = LiveStore(self.path)
            if live.snapshot().creds is not None:
                self._store = live
                store.save_snapshot(self.session, self.lease.epoch, live.snapshot())
                self._say("file", "a phone had been linked when the last host ended")
                return True
            live.close()
        # In WAL mode and readable by us alone, before the library fills it.
        LiveStore.create(self.path)
        self._say("new", "no credentials")
        return False

    def _why_not_this_file(self) -> str:
        """Empty where the file on disk continues our lease, or the one before; else the reason to rebuild it."""
        if not self.path.exists():
            return "no file on this disk"
        try:
            live = LiveStore(self.path)
            try:
                if live.check():
                    return "the file on this disk is damaged"
                if (live.get_meta("row"), live.get_meta("session_id")) != (
                    str(self.session.pk),
                    self.session.session_id,
                ):
                    return "the file on this disk is of another session"
                last, found = self.lease.previous_epoch, int(live.get_meta("epoch") or 0)
                self._vault_in_doubt = found > last and not self._armed
                if live.get_meta("boot") != boot():
                    # Commits that the system had not written yet went with it, silently: the vault may be newer.
                    return "the file on this disk is from before the machine's restart"
                if found == (self.lease.epoch if self._armed else last):
                    return ""
                return f"the file on this disk is of epoch {found}, the last was {last}"
            finally:
                live.close()
        except sqlite3.Error as error:
            return f"the file on this disk cannot be read ({type(error).__name__})"

    def _why_no_continuation(self, vault: Snapshot) -> str:
        """Empty where the file is the vault and what its journal holds; else it is a copy from before, put back by somebody."""
        try:
            with closing(LiveStore(self.path)) as live:
                changes, file = live.read_changes(EVERY), live.snapshot()
        except sqlite3.Error as error:
            return f"the file on this disk cannot be read ({type(error).__name__})"
        if changes.device_deleted or changes.complete:
            return ""
        ours, theirs = ({store.CREDS: found.creds, **found.values} for found in (file, vault))
        noted = {*changes.values, *([store.CREDS] if changes.creds else [])}
        unexplained = [key for key in (ours.keys() | theirs.keys()) - noted if ours.get(key) != theirs.get(key)]
        # Or the vault is the one that lacks something: nobody can tell, so neither is trusted to be as new as what was sent.
        self._vault_in_doubt = bool(unexplained)
        return f"the file on this disk differs from the vault in {len(unexplained)} keys" if unexplained else ""

    def _say(self, source: str, why: str) -> None:
        log.info(
            "live_store_chosen",
            extra={"session": self.session.session_id, "epoch": self.lease.epoch, "source": source, "why": why},
        )
        self.session.record("vault", source=source, why=why)
