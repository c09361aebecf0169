"""One host: it beats, claims sessions, hands their commands to their runners, and stops in phases.

`run()` is the long task of the worker. Its helpers are named threads (a beat, a watcher, lanes); if one of them dies, the host stops
rather than limps, and the worker starts another.
"""

from __future__ import annotations

import logging
import os
import resource
import secrets
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from django.conf import settings
from django.db import connection, connections, transaction
from django.db.models.functions import Now

import oxy
from sessions_app import broadcast
from sessions_app.engine import events as ev
from sessions_app.hosting import (
    gauges,
    lease,
    leftovers,
    neighbours,
    orphans,
    questions,
    reactions,
    restored,
    session_path,
)
from sessions_app.hosting.away import DATABASE_AWAY
from sessions_app.hosting.engines import Engine, Engines
from sessions_app.hosting.keeper import VaultUnreadable
from sessions_app.hosting.lanes import Lanes, first_line
from sessions_app.hosting.runner import Runner
from sessions_app.hosting.upkeep import Upkeep
from sessions_app.hosting.watcher import Watcher
from sessions_app.models import Host, Message, SessionCommand, WhatsAppSession
from sessions_app.vault import crypto

log = logging.getLogger(__name__)

#: Between two looks for sessions to claim and commands to hand on.
POLL = 0.25
#: Sessions claimed in one look, so that a start of hundreds is spread out.
CLAIM_AT_ONCE = 20
#: Between two looks for messages that wait on this disk for a host which has gone.
LEFTOVERS_EVERY = 15.0
#: Between two looks for live stores that nobody needs.
SWEEP_EVERY = 3600.0
#: All of a stop: the platform's patience is at least ten seconds.
STOP_WITHIN = 8.0
#: Between two sessions that are handed over at a stop, and the most that this takes for all: another host takes about so many a second.
HAND_OVER_EVERY, HAND_OVER_WITHIN = 0.1, 3.5


class Stop(Protocol):
    """A `threading.Event` or one of multiprocessing."""

    def wait(self, timeout: float | None = None) -> bool: ...


class HelperDied(Exception):
    """One of the host's threads is gone; the text names it."""


def run(stop: Stop) -> None:
    """Host sessions until `stop` is set; returns when every socket is closed and every lease is given back."""
    allow_many_files()
    restored.check()
    Supervisor(session_path.choose()).run(stop)


def allow_many_files() -> None:
    """Take all the descriptors that the system grants: a session needs about five here, and three in its engine."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Supervisor:
    """See the module. It is also what runners need of their host."""

    def __init__(self, path: session_path.SessionPath) -> None:
        self.session_path = path
        self.runners: dict[int, Runner] = {}
        self._lock = threading.Lock()
        self._beat_stop = threading.Event()
        self.host = self._register()
        self.lanes = Lanes(2 if connection.vendor == "sqlite" else 4)
        self.engines = Engines(self._on_engine, capacity=settings.OXY_ENGINE_CAPACITY)
        self.watcher = Watcher()
        self.gauges = gauges.Gauges()
        self.upkeep = Upkeep(self)
        #: Primary keys of commands of which nobody knows whether they were taken.
        self._in_doubt: list[int] = []
        self._beat_thread = threading.Thread(target=self._beat_on, name="beat", daemon=True)

    def run(self, stop: Stop) -> None:
        log.info("host_started", extra={"host": self.host.name, "path": str(self.session_path.root)})
        self._beat_thread.start()
        self.engines.warm_up()
        try:
            while not stop.wait(POLL):
                self._check_helpers()
                self._guarded(self.step)
        finally:
            self._shut_down()
            log.info("host_stopped", extra={"host": self.host.name})

    def step(self) -> None:
        """One look: claim what nobody hosts, hand on what was asked for."""
        self._claim()
        self._hand_on_commands()
        self._notice_messages()
        self._hand_on_questions()
        self._take_leftovers()
        self.upkeep.step()

    # --- what runners need ------------------------------------------------------

    def proxy_url(self, session: WhatsAppSession) -> str:
        """The session's own proxy; raises `VaultUnreadable`, for nothing may go out past it."""
        sealed = session.proxy_url
        try:
            return crypto.unseal(bytes(sealed), session.session_id, "proxy-url").decode() if sealed else ""
        except crypto.Unreadable as error:
            raise VaultUnreadable(str(error)) from None

    def whatsapp_answers(self) -> None:
        """A session was let in: the others that wait for WhatsApp may try."""
        for runner in [r for r in list(self.runners.values()) if r.phase == "waiting" and not r.hurried]:
            runner.hurried = True
            runner.post(partial(reactions.hurry, runner))

    def drop(self, runner: Runner) -> None:
        with self._lock:
            if self.runners.get(runner.lane_key) is runner:
                del self.runners[runner.lane_key]
        self.gauges.forget(runner.lane_key)

    # --- claiming and commands ----------------------------------------------------

    def _claim(self) -> None:
        room = min(settings.OXY_HOST_CAPACITY - len(self.runners), CLAIM_AT_ONCE)
        if room <= 0:
            return
        free = WhatsAppSession.objects.claimable().exclude(pk__in=list(self.runners)).order_by("pk")
        for session, taken in self._acquire(self.upkeep.may_claim(list(free))[:room]):
            runner = Runner(session, taken, self)
            with self._lock:
                self.runners[session.pk] = runner
            log.info(
                "lease_acquired", extra={"session": session.session_id, "host": self.host.name, "epoch": taken.epoch}
            )
            self.lanes.wake(runner)

    def _acquire(self, sessions: list[WhatsAppSession]) -> list[tuple[WhatsAppSession, lease.Lease]]:
        """The leases that we got of these sessions, in one transaction: hundreds of them wait for fewer commits."""
        if not sessions:
            return []
        with transaction.atomic():
            tried = [(session, lease.acquire(session, self.host)) for session in sessions]
            got = [(session, taken) for session, taken in tried if taken is not None]
            # What a dead host had begun is begun again.
            begun = SessionCommand.objects.filter(session__in=[session for session, _ in got], done_at=None)
            begun.update(taken_at=None)
        return got

    def _hand_on_commands(self) -> None:
        if self._in_doubt:
            # The connection broke as they were taken: whether that was stored or not, no runner has heard of them.
            SessionCommand.objects.filter(pk__in=self._in_doubt, session__in=list(self.runners)).update(taken_at=None)
            self._in_doubt.clear()
        for command in (
            SessionCommand.objects.pending().filter(session__in=list(self.runners)).select_related("session")
        ):
            runner = self.runners.get(command.session_id)
            if runner and self._take(command):
                runner.post(command)

    def _take(self, command: SessionCommand) -> bool:
        try:
            return bool(SessionCommand.objects.filter(pk=command.pk, taken_at=None).update(taken_at=Now()))
        except DATABASE_AWAY:
            self._in_doubt.append(command.pk)
            raise

    def _notice_messages(self) -> None:
        queued = Message.objects.filter(status=Message.MessageStatus.QUEUED, session__in=list(self.runners))
        for pk in queued.values_list("session_id", flat=True).distinct():
            if runner := self.runners.get(pk):
                runner.notice_outbox()

    def _hand_on_questions(self) -> None:
        for question in questions.take(list(self.runners)):
            if runner := self.runners.get(question.session_id):
                runner.post(partial(questions.ask, runner, question))

    _leftovers_due = 0.0
    _sweep_due = 0.0

    def _take_leftovers(self) -> None:
        """After claiming, and in the same thread: a session that we take meanwhile hands in its own."""
        if time.monotonic() >= self._leftovers_due:
            self._leftovers_due = time.monotonic() + LEFTOVERS_EVERY
            leftovers.take_all(self.session_path.root, self.host, list(self.runners))
        if time.monotonic() >= self._sweep_due:
            self._sweep_due = time.monotonic() + SWEEP_EVERY
            orphans.sweep(self.session_path.root, list(self.runners))

    def _on_engine(self, engine: Engine, event: Any) -> None:
        """On an engine's reader thread: find the runner and wake its lane; nothing else."""
        runners = [r for r in list(self.runners.values()) if r.session.session_id in engine.sessions]
        if event is None:
            for runner in runners:
                runner.post(lambda runner=runner: reactions.engine_died(runner, engine))
            return
        if isinstance(event, ev.EngineStarted):
            self._library = engine.library
            return
        for runner in runners:
            if runner.session.session_id == event.session:
                runner.notice_spool() if isinstance(event, ev.SpoolGrew) else runner.post(event)

    # --- staying alive --------------------------------------------------------------

    def _register(self) -> Host:
        pid, path = os.getpid(), self.session_path
        host = Host.objects.create(
            name=f"{socket.gethostname()}-{pid}-{secrets.token_hex(2)}"[-100:],
            machine=neighbours.machine(),
            pid=pid,
            pid_started=neighbours.started(pid),
            version=oxy.__version__,
            capacity=settings.OXY_HOST_CAPACITY,
            session_path=str(path.root),
            path_fell_back=path.fell_back,
            key_id=crypto.key_ids()[0],
        )
        broadcast.sessions_changed()
        return host

    _library = ""

    def _beat_on(self) -> None:
        """The beat thread: leases first, because sessions hang on them."""
        try:
            while True:
                self._guarded(self._beat)
                if self._beat_stop.wait(lease.BEAT_EVERY.total_seconds()):
                    return
        finally:
            connections.close_all()

    def _beat(self) -> None:
        with self._lock:
            runners = dict(self.runners)
        began = time.monotonic()
        held = lease.renew(self.host, runners.keys())
        for pk in held:
            runners[pk].lease_since = began
        self.engines.renew({runners[pk].session.session_id: lease.engine_holds() for pk in held}, since=began)
        for pk in runners.keys() - held:
            if not runners[pk].finished:
                runners[pk].lose_lease()
        engines = self.engines.all
        Host.objects.filter(pk=self.host.pk).update(
            beat_at=Now(),
            library=self._library,
            engines=len(engines),
            engine_bytes=gauges.memory(engine.pid for engine in engines),
            free_bytes=gauges.free(self.session_path.root),
            lag_ms=self.gauges.lag_ms(),
        )
        neighbours.bury_the_dead(self.host)

    def _guarded(self, action: Callable[[], None]) -> None:
        """Run a step; without the database there is nothing to do but to try again."""
        try:
            action()
        except DATABASE_AWAY as error:
            connections.close_all()
            log.warning("database_unavailable", extra={"host": self.host.name, "error": first_line(error)})

    def _check_helpers(self) -> None:
        for name, helper in (
            ("beat", self._beat_thread.is_alive()),
            ("watcher", self.watcher.alive),
            ("lanes", self.lanes.alive),
        ):
            if not helper:
                raise HelperDied(name)

    # --- stopping --------------------------------------------------------------------

    def _shut_down(self) -> None:
        """Close sockets and write through, give the leases back, end the engines, leave."""
        deadline = time.monotonic() + STOP_WITHIN
        self._guarded(lambda: self._mark_stopping())
        self._hand_over()
        while self.runners and time.monotonic() < deadline - 2:
            time.sleep(0.02)
        if self.runners:
            log.error("sessions_not_handed_over", extra={"host": self.host.name, "sessions": len(self.runners)})
        self.engines.stop(max(0.5, deadline - time.monotonic() - 1))
        self._beat_stop.set()
        self._beat_thread.join(2)
        self.lanes.end(1)
        self.watcher.end()
        self._guarded(lambda: self._leave())

    def _hand_over(self) -> None:
        """One after the other: so each session is away for as long as its own move takes, and not for as long as all of them."""
        leaving = sorted(self.runners.values(), key=lambda runner: runner.phase == "running")
        pause = min(HAND_OVER_EVERY, HAND_OVER_WITHIN / max(1, len(leaving)))
        for runner in leaving:
            runs = runner.phase == "running"
            runner.post(runner.hand_over)
            if runs:
                time.sleep(pause)

    def _mark_stopping(self) -> None:
        Host.objects.filter(pk=self.host.pk).update(stopping=True)

    def _leave(self) -> None:
        self.host.delete()
        broadcast.sessions_changed()
