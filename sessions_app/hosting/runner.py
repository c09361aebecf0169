"""One session inside a host: what its engine reports, and what people ask, becomes lifecycle, database rows and news.

A runner owns no thread and no socket. What concerns it is posted to its inbox and done in order on its lane by `work()`. An item is
taken out of the inbox when it is done, so that a database that is away for a while delays it and loses nothing.

    claimed ──► preparing ──► running ──► closing ──► finished
        │           ▲            │ lost, engine died      ▲
        │           └─ waiting ◄─┘                        │
        └──► idle (claimed for a command) ────────────────┘
"""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from sessions_app import broadcast
from sessions_app.engine import events as ev
from sessions_app.engine.store_lock import StoreBusy, StoreLock
from sessions_app.hosting import backoff, commands, reactions, rounds
from sessions_app.hosting.away import DATABASE_AWAY
from sessions_app.hosting.deadlines import Deadlines
from sessions_app.hosting.intake import Intake
from sessions_app.hosting.keeper import SPOOL_NAME, CredentialsVanished, Keeper, VaultUnreadable
from sessions_app.hosting.lease import Lease, engine_holds, release
from sessions_app.hosting.liveness import Liveness
from sessions_app.hosting.sending import Outbox
from sessions_app.lifecycle import Command, Event, IllegalTransition, Status
from sessions_app.models import PairingRound, SessionCommand, WhatsAppSession
from sessions_app.reasons import Reason
from sessions_app.vault.store import LeaseLost

if TYPE_CHECKING:
    from sessions_app.hosting.engines import Engine
    from sessions_app.hosting.supervisor import Supervisor

log = logging.getLogger(__name__)

#: An attempt that is not connected by then is given up and tried again.
CONNECT_TIMEOUT = 60.0
#: How long the engine may take to prepare a store, and to close a socket once a sending on its way has had its time.
PREPARE_TIMEOUT, CLOSE_TIMEOUT, SEND_GRACE = 30.0, 3.5, 2.0
#: A session that was claimed for a command is given back when none comes.
UNUSED_TIMEOUT = 5.0


class Runner:
    """See the module. `phase` is one of the words in its picture."""

    def __init__(self, session: WhatsAppSession, lease: Lease, services: Supervisor) -> None:
        self.session, self.lease, self.services = session, lease, services
        self.lane_key, self.finished = session.pk, False
        self.lease_since = lease.since
        self.phase = "claimed"
        self.lost = False
        self.round: PairingRound | None = None
        self.engine: Engine | None = None
        self.open_commands: list[SessionCommand] = []
        self.wanted_phone = self.pairing_phone = ""
        self.unlink_when_connected = self.hurried = self.handed_over = self.just_linked = False
        #: Another phone than the expected one is linked.
        self.wrong_number = False
        self._next_delay = backoff.FIRST_DELAY
        self.reset_delays()
        self.directory = services.session_path.place(session)
        self.keeper = Keeper(session, lease, self.directory)
        self.intake = Intake(self)
        self.outbox = Outbox(self)
        self.liveness = Liveness(self)
        self._inbox: deque[Any] = deque()
        self._asked: deque[SessionCommand] = deque()
        self._deadlines = Deadlines()
        self._after_closing: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<Runner {self.session.session_id} epoch {self.lease.epoch} {self.phase}>"

    # --- called from other threads -------------------------------------------

    def post(self, item: Any) -> None:
        """Put an engine event, a `SessionCommand` or a callable into the inbox, and wake the lane."""
        (self._asked if isinstance(item, SessionCommand) else self._inbox).append(item)
        self.services.lanes.wake(self)

    def notice_journal(self) -> None:
        self.intake.journal_grew = True
        self.services.gauges.noticed(self.lane_key)
        self.services.lanes.wake(self)

    def notice_spool(self) -> None:
        self.intake.spool_grew = True
        self.services.lanes.wake(self)

    def notice_outbox(self) -> None:
        self.outbox.grew = True
        self.services.lanes.wake(self)

    def lose_lease(self) -> None:
        """The lease is gone: stop the socket at once, from whatever thread; the lane does the rest."""
        self.lost = True
        if self.engine:
            self.engine.send(ev.StopClient(session=self.session.session_id))
        self.services.lanes.wake(self)

    # --- the lane -------------------------------------------------------------

    def save(self) -> None:
        """Have the keys that changed in the vault; errors as in `work`."""
        if not self.finished and not self.lost:
            self._carefully(self.intake.take_keys)

    def work(self) -> None:
        """Do all that is due; a database error propagates, and what was not done is done by the next call."""
        if not self.finished:
            self._carefully(self._do_all)

    def _do_all(self) -> None:
        if self.lost:
            raise LeaseLost
        if self.phase == "claimed":
            self.open()
        while self._inbox and not self.finished:
            self.handle(self._inbox[0])
            self._inbox.popleft()
        # What is asked while the socket is being closed waits for what that leads to.
        while self._asked and not self.finished and self.phase != "closing":
            self.handle(self._asked[0])
            self._asked.popleft()
        self.intake.take()
        self.outbox.send_queued()
        self._deadlines.run_due()

    def _carefully(self, action: Callable[[], None]) -> None:
        """Do it, and see to those errors that say what has become of the session."""
        try:
            action()
        except LeaseLost:
            self._abandon()
        except VaultUnreadable as error:
            log.error("vault_unreadable", extra={"session": self.session.session_id, "error": str(error)})
            self.give_up(Event.FAILED, Reason.VAULT_UNREADABLE)
        except CredentialsVanished:
            self.intake.credentials_vanished()

    def handle(self, item: Any) -> None:
        """Do what one item asks for; what it must not stop is raised, everything else is logged."""
        try:
            if isinstance(item, SessionCommand):
                commands.execute(self, item)
            elif callable(item):
                item()
            else:
                reactions.react(self, item)
        except (*DATABASE_AWAY, LeaseLost, VaultUnreadable):
            raise
        except CredentialsVanished:
            self.intake.credentials_vanished()
        except IllegalTransition as error:
            log.warning("event_out_of_place", extra={"session": self.session.session_id, "error": str(error)})
        except Exception:
            # One item must not stop the session, nor be tried for ever.
            log.exception("item_failed", extra={"session": self.session.session_id, "item": type(item).__name__})
            if isinstance(item, SessionCommand):
                item.finish(SessionCommand.Outcome.FAILED, commands.FAILED)

    def after(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` on the lane in `seconds`, replacing an earlier deadline of that name."""
        self._deadlines.set(name, seconds, action)

    def sooner(self, name: str, seconds: float) -> None:
        self._deadlines.sooner(name, seconds)

    def surely(self, name: str, action: Callable[[], None]) -> None:
        """Call `action` now; where the database is away, again until it was done, whatever becomes of the item that led to it."""
        self.after(name, 0.0, action)
        self._deadlines.run(name)

    def cancel(self, name: str) -> None:
        self._deadlines.cancel(name)

    def awaits(self, name: str) -> bool:
        """Whether there is a deadline of that name."""
        return name in self._deadlines

    # --- opening ---------------------------------------------------------------

    def open(self) -> None:
        """Begin if the session should run; else stay a moment for the command that it was claimed for."""
        self._reread_session()
        self.intake.take_leftovers()
        self.outbox.give_up_interrupted()
        if self.should_run:
            self._begin_in_time()
        else:
            self.phase = "idle"
            self.after("unused", UNUSED_TIMEOUT, self.finish)

    def _reread_session(self) -> None:
        self.session.refresh_from_db(from_queryset=WhatsAppSession.objects.select_related("lease_host"))

    @property
    def should_run(self) -> bool:
        return self.session.desired == WhatsAppSession.Desired.RUNNING and not self.session.deleting

    def _begin_in_time(self) -> None:
        """Begin now, or when the wait that an earlier host began is over."""
        left = (self.session.retry_at - timezone.now()).total_seconds() if self.session.retry_at else 0.0
        if self.session.status != Status.BANNED:
            left = min(left, backoff.LONGEST_DELAY)  # it was written by another clock, which may have jumped since
        if left > 0:
            self.wait(left)
        else:
            self.begin()

    def begin(self) -> None:
        """Put the live store in place and have an engine prepare it. Safe to repeat after a database error."""
        self.cancel("unused")
        if self._leaves_instead():
            return
        self._reread_session()
        if self.session.paired_at and not self.session.has_creds:
            # Not a session that was never linked: showing a code here would hide that something was lost.
            self.give_up(Event.FAILED, Reason.CREDENTIALS_MISSING)
            return
        self.apply(Event.CONNECT_STARTED if self.session.has_creds else Event.PAIRING_STARTED)
        try:
            self.intake.reopen()
            with StoreLock(self.keeper.path):
                paired = self.keeper.open()
        except StoreBusy:
            self.retry(Reason.LIVE_STORE_BUSY)
            return
        except (OSError, sqlite3.Error) as error:
            log.error("live_store_failed", extra={"session": self.session.session_id, "error": type(error).__name__})
            self.retry(Reason.LIVE_STORE_BROKEN)
            return
        if paired and self.session.status == Status.PAIRING:
            self.apply(Event.CONNECT_STARTED)
        if not paired:
            self.round = rounds.begin(self.session, self.lease.epoch)
        self.phase = "preparing"
        self.cancel("retry")
        self.engine = self.services.engines.place(self.session.session_id)
        self.after("prepare", PREPARE_TIMEOUT, lambda: self.retry(Reason.LIVE_STORE_BROKEN))
        self.engine.send(ev.PrepareStore(session=self.session.session_id, path=str(self.keeper.path)))
        self.news()

    def start_client(self) -> None:
        """The store is prepared: watch it, and let the client connect."""
        assert self.engine is not None
        proxy_url = self.services.proxy_url(self.session)
        self.keeper.arm()
        self.cancel("prepare")
        self.phase = "running"
        self.services.watcher.watch(self.session.pk, self.keeper.path, self.notice_journal)
        self.engine.send(
            ev.StartClient(
                session=self.session.session_id,
                epoch=self.lease.epoch,
                path=str(self.keeper.path),
                spool=str(self.directory / SPOOL_NAME),
                lease_seconds=engine_holds(),
                since=self.lease_since,
                proxy_url=proxy_url,
            )
        )
        # In a pairing round: until the first code shows that WhatsApp answers.
        self.after("connect", CONNECT_TIMEOUT, lambda: self.retry(Reason.CONNECT_TIMED_OUT))

    # --- what reactions and commands use ----------------------------------------

    def apply(self, event: Event, reason: Reason = Reason.NONE, **changes: Any) -> None:
        """Move the lifecycle on under our epoch; raises `LeaseLost` where that has passed."""
        if not self.session.apply(event, reason, epoch=self.lease.epoch, **changes):
            raise LeaseLost
        self.news()

    def news(self) -> None:
        try:
            broadcast.session_changed(self.session.pk)
        except DATABASE_AWAY:
            # What the news are about is stored, and must not be done again for them; pages look again once the database is back.
            log.debug("news_not_sent", extra={"session": self.session.session_id})

    def retry(self, reason: Reason, delay: float | None = None) -> None:
        """Close the socket, and begin again after a while."""
        seconds = self._next_delay if delay is None else delay
        self.apply(Event.CONNECTION_LOST, reason, retry_at=timezone.now() + timedelta(seconds=seconds))
        if delay is None:
            self._next_delay = next(self._retry_delays)
        self.end_round(reason.value)
        self.close_socket(lambda: self.wait(seconds))

    def wait(self, seconds: float) -> None:
        """Begin in `seconds`, keeping the lease."""
        if self._leaves_instead():
            return
        self.phase, self.hurried = "waiting", False
        self.after("retry", seconds, self.begin)

    def _leaves_instead(self) -> bool:
        """Between two clients: whether another host is to run the next one."""
        self.finish_commands(Command.LOGOUT, error=commands.NOT_TOLD)
        if self.handed_over:
            self.finish()
        return self.handed_over

    def reset_delays(self) -> None:
        """The next retry is a first one again."""
        self._retry_delays = backoff.delays()
        self._next_delay = next(self._retry_delays)

    def close(self, event: Event, reason: Reason, **changes: Any) -> None:
        """Close the socket, write everything through, then record how the session ended and give it back."""

        def conclude() -> None:
            self.end_round(reason.value)
            self.apply(event, reason, **changes)
            self.finish()

        self.close_socket(conclude)

    def give_up(self, event: Event, reason: Reason) -> None:
        """`close` for an end that only a person's command leaves."""
        self.close(event, reason, desired=WhatsAppSession.Desired.STOPPED)

    @property
    def at_rest(self) -> bool:
        """Whether it runs well and nothing is on its way, so that it can be moved."""
        steady = self.phase == "running" and self.session.status == Status.CONNECTED and not self.awaits("settle")
        return steady and self.should_run and not (self._inbox or self._asked or self.open_commands or self.outbox.busy)

    def hand_over(self, reason: Reason = Reason.HOST_STOPPED) -> None:
        """Another host goes on."""
        self.handed_over = True
        if self.phase in ("preparing", "running"):
            connected = self.session.status == Status.CONNECTED
            self.close(Event.CONNECTION_LOST, reason, **({"lost_at": timezone.now()} if connected else {}))
        elif self.phase != "closing":
            self.finish()

    def close_socket(self, then: Callable[[], None]) -> None:
        """Stop the client, if one runs, and call `then` on the lane once it has stopped or takes too long."""
        for name in ("connect", "prepare", "retry", "lost", "settle", "round", "unused", "heard", "store"):
            self.cancel(name)
        if self.engine is None:
            self.surely("close", lambda: self._conclude(then))
            return
        self._after_closing = then
        self.phase = "closing"
        self.engine.send(ev.StopClient(session=self.session.session_id, grace=SEND_GRACE))
        self.after("close", SEND_GRACE + CLOSE_TIMEOUT, self._close_by_force)

    def client_stopped(self, *, leaked: bool = False) -> bool:
        """The socket is closed: take what it left. Returns whether somebody waited for that."""
        self.intake.take_last()
        self.outbox.give_up_interrupted()
        then = self._after_closing
        self.leave_engine(leaked=leaked)
        self.cancel("close")
        if then:
            self.surely("close", lambda: self._conclude(then))
        return then is not None

    def _conclude(self, then: Callable[[], None]) -> None:
        try:
            then()
        except IllegalTransition as error:
            # A phone was linked in the last moment of a round that was being ended.
            log.warning("event_out_of_place", extra={"session": self.session.session_id, "error": str(error)})
            self.phase = "claimed"
        if self._after_closing is then:
            self._after_closing = None

    def leave_engine(self, *, leaked: bool = False) -> None:
        self.services.watcher.forget(self.session.pk)
        self.keeper.close()
        if self.engine:
            self.services.engines.remove(self.engine, self.session.session_id, leaked=leaked)
            self.engine = None

    def end_round(self, outcome: str) -> None:
        if self.round:
            rounds.end(self.round, outcome)
            self.round = None
            self.news()

    def finish(self) -> None:
        """Give the lease back, as clean as the vault is known to be; the runner is done."""
        self.leave_engine()
        # What came too late, or can be gone on with, is left to whoever takes the session next.
        late = [command.pk for command in self._asked]
        if self.handed_over:
            goes_on = [c for c in self.open_commands if c.verb in (Command.DELETE, Command.PAIRING_CODE)]
            late += [command.pk for command in goes_on]
            self.open_commands = [c for c in self.open_commands if c not in goes_on]
        SessionCommand.objects.filter(pk__in=late, done_at=None).update(taken_at=None)
        self.finish_commands(error=commands.ENDED)
        release(self.lease, self.services.host, clean=self.keeper.vault_is_complete)
        self.leave()
        self.news()

    def hold(self, command: SessionCommand) -> None:
        """Keep a command open until the engine has answered."""
        if command not in self.open_commands:
            self.open_commands.append(command)

    def finish_commands(self, *verbs: Command, error: str = "") -> None:
        """Answer the open commands with these verbs, or all: done, or failed with a sentence."""
        outcome = SessionCommand.Outcome.FAILED if error else SessionCommand.Outcome.DONE
        for command in [c for c in self.open_commands if not verbs or c.verb in verbs]:
            command.finish(outcome, error)
            if error:
                commands.take_back(self, command)
            self.open_commands.remove(command)

    # --- ends that nobody asked for ----------------------------------------------

    def _close_by_force(self) -> None:
        """The engine does not answer: only its end closes the socket for certain."""
        if self.engine:
            log.error("engine_does_not_answer", extra={"session": self.session.session_id})
            self.engine.kill()
        self.client_stopped()

    def _abandon(self) -> None:
        """Somebody else has the session: close the socket and change nothing."""
        log.warning("lease_lost", extra={"session": self.session.session_id, "epoch": self.lease.epoch})
        if self.engine:
            self.engine.send(ev.StopClient(session=self.session.session_id))
        self.leave_engine()
        self.leave()

    def leave(self) -> None:
        """The runner is done, and its host forgets it."""
        self.finished, self.phase = True, "finished"
        self._deadlines.clear()
        self.services.drop(self)
