"""What a session's client leaves on the disk, taken into the database: first the changes of its live store, then its spool's events.

Nothing that the disk holds may keep the rest of it from being read. A deletion of the device is explained by an event, or by
a deadline; an event that nobody can handle is logged and passed over.
"""

from __future__ import annotations

import logging
import sqlite3
from typing import TYPE_CHECKING, Any

from sessions_app.engine import events as ev
from sessions_app.engine.spool import SpoolReader
from sessions_app.hosting import leftovers, messages, session_path
from sessions_app.hosting.away import DATABASE_AWAY
from sessions_app.hosting.keeper import SPOOL_NAME, CredentialsVanished
from sessions_app.lifecycle import Event
from sessions_app.models import WhatsAppSession
from sessions_app.reasons import Reason

if TYPE_CHECKING:
    from sessions_app.hosting.runner import Runner

log = logging.getLogger(__name__)

#: How long the event may take that explains why the library has deleted the device.
EXPLAINED_WITHIN = 10.0


class Intake:
    """What a runner does about its live store and its spool."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.spool = SpoolReader(runner.directory / SPOOL_NAME)
        #: Set from other threads.
        self.journal_grew = self.spool_grew = False

    def take_leftovers(self) -> None:
        """What an earlier run left in the spool; what cannot be read now is read with what comes next."""
        try:
            leftovers.take(self._runner.session, self.spool, self._runner.directory)
        except OSError as error:
            extra = {"session": self._runner.session.session_id, "error": type(error).__name__}
            log.warning("spool_not_readable", extra=extra)

    def reopen(self) -> None:
        """Between two clients. Somebody may have cleared the directory away."""
        session_path.make(self._runner.directory, self._runner.session.session_id)
        self.spool.reopen()

    def take_keys(self) -> None:
        """The changes of the live store, where there may be some."""
        self._flush(even_if_quiet=self.spool_grew)

    def take(self) -> None:
        """Whatever is new."""
        if self.spool_grew:
            self.spool_grew = False
            self._take_spool()
        self._flush()

    def take_unspooled(self, event: ev.Unspooled) -> None:
        """What would be the spool's last."""
        self._take_spool()
        self._take([ev.decode(event.event)])
        self._runner.news()

    def take_last(self) -> None:
        """All that is left, the socket being closed."""
        self.spool_grew = False
        try:
            self._runner.keeper.flush_last()
        except CredentialsVanished:
            # A logout: the event that says so is in the spool, or the vault decides at the next login.
            log.info("device_deleted_by_library", extra={"session": self._runner.session.session_id})
        except sqlite3.Error as error:
            # The vault is not complete, then; the file may still be, if it can be read at the next attempt.
            self._store_failed(error)
        self._take_spool()
        for name in ("vanished", "store"):
            self._runner.cancel(name)

    def write_through(self) -> None:
        """Have all changes of the live store in the vault."""
        try:
            self._runner.keeper.flush()
        except CredentialsVanished:
            self.credentials_vanished()
        except sqlite3.Error as error:
            self._store_failed(error)

    def save_in_full(self) -> None:
        """Make the vault what the live store is."""
        try:
            self._runner.keeper.save_in_full()
        except sqlite3.Error as error:
            self._store_failed(error)

    def credentials_vanished(self) -> None:
        """The library deleted its rows. If a logout explains it, the spool says so within moments."""
        runner = self._runner
        self.spool_grew = True
        runner.cancel("settle")
        if not runner.awaits("vanished"):
            runner.after(
                "vanished", EXPLAINED_WITHIN, lambda: runner.give_up(Event.FAILED, Reason.CREDENTIALS_VANISHED)
            )

    def _store_failed(self, error: sqlite3.Error) -> None:
        """It cannot be read, or has no room for our own notes: the client is begun again, on whatever can be used then."""
        runner = self._runner
        extra = {"session": runner.session.session_id, "error": type(error).__name__}
        log.error("live_store_failed", extra=extra)
        if runner.phase == "running":
            runner.after("store", 0.0, lambda: runner.retry(Reason.LIVE_STORE_BROKEN))

    def _take_spool(self) -> None:
        """Handle everything that the spool holds; its position moves only when all of it is in the database."""
        try:
            while batch := self.spool.read():
                self._take(batch)
                self.spool.commit()
                self._runner.news()
        except BaseException:
            self.spool.rewind()
            self.spool_grew = True
            raise

    def _take(self, batch: list[Any]) -> None:
        runner = self._runner
        runner.liveness.hear(batch)
        received = [event for event in batch if isinstance(event, ev.MessageReceived)]
        if received:
            # A message is shown, and handed on, only once the keys that it changed are safe.
            self._flush(even_if_quiet=True)
            messages.record_what_can_be(runner.session, received)
        for event in batch:
            if isinstance(event, ev.ReceiptReceived):
                runner.outbox.on_receipt(event)
            elif not isinstance(event, ev.MessageReceived) and event.epoch == runner.lease.epoch:
                runner.handle(event)

    def _flush(self, *, even_if_quiet: bool = False) -> None:
        runner = self._runner
        if not (self.journal_grew or even_if_quiet) or runner.phase not in ("running", "closing"):
            return
        self.journal_grew = False
        try:
            self.write_through()
        except DATABASE_AWAY:
            self.journal_grew = True
            raise
        runner.services.gauges.written(runner.lane_key)
        if runner.keeper.push_name != runner.session.push_name:
            runner.session.push_name = runner.keeper.push_name
            WhatsAppSession.objects.filter(pk=runner.session.pk).update(push_name=runner.keeper.push_name)
            runner.news()
