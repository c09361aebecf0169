"""Moves sessions that run well, one at a time: off an engine that is worn, and to a host that has more room.

A move costs a session a second or two, so the next one begins only when the last has arrived. Only a session at rest is moved:
connected for a while, with nothing on its way.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import Count, Q
from django.db.models.functions import Now

from sessions_app.hosting import balance
from sessions_app.hosting.lease import BEAT_EVERY
from sessions_app.lifecycle import Status
from sessions_app.models import Host, WhatsAppSession
from sessions_app.reasons import Reason

if TYPE_CHECKING:
    from sessions_app.hosting.runner import Runner
    from sessions_app.hosting.supervisor import Supervisor

log = logging.getLogger(__name__)

#: Between two looks for something to move, and between two measurings of the engines.
LOOK_EVERY, MEASURE_EVERY = 1.0, 15.0
#: How long one move is waited for before the next may begin.
MOVE_WITHIN = 20.0
#: A host gets sessions of others when it has lived so long, and has given a sign of life lately.
SETTLED = timedelta(seconds=10)
FRESH = 2.5 * BEAT_EVERY
#: A session that nobody else takes in this time is taken by whoever has room, fair or not.
PATIENCE = 2.0
#: After a session that was given up came back: the others cannot take any now.
REST = 60.0


class Upkeep:
    """What a host does in quiet times, and what it may claim; called from its main loop alone."""

    def __init__(self, host: Supervisor) -> None:
        self._host = host
        self._look_at = self._measure_at = self._balance_at = 0.0
        self._moving: tuple[int, float] | None = None
        self._given_up: int | None = None
        self._seen: dict[int, float] = {}

    def step(self) -> None:
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        if now >= self._measure_at:
            self._measure_at = now + MEASURE_EVERY
            self._host.engines.measure()
        if not self._under_way(now) and not self._renew_engine(now) and now >= self._balance_at:
            self._give_one_up(now)

    # --- claiming ------------------------------------------------------------------

    def may_claim(self, free: list[WhatsAppSession]) -> list[WhatsAppSession]:
        """Of the sessions that have no host: our share, and those that nobody else has wanted for a while."""
        now = time.monotonic()
        self._seen = {session.pk: self._seen.get(session.pk, now) for session in free}
        if not free:
            return []
        own, others = self._loads(settled=timedelta(0))
        if not others:
            return free
        total = own.sessions + sum(load.sessions for load in others) + len(free)
        room = own.room(balance.level([own.capacity, *(load.capacity for load in others)], total))
        waited = [session for session in free[room:] if now - self._seen[session.pk] > PATIENCE]
        return free[:room] + waited

    # --- moving ----------------------------------------------------------------------

    def _under_way(self, now: float) -> bool:
        """Whether the last move is still on its way."""
        if self._moving is None:
            return False
        pk, until = self._moving
        arrived = WhatsAppSession.objects.filter(pk=pk, status=Status.CONNECTED, lease_until__gte=Now())
        if now < until and not arrived.exists():
            return True
        self._moving = None
        if self._given_up is not None and self._given_up in self._host.runners:
            self._balance_at = now + REST
        self._given_up = None
        return False

    def _renew_engine(self, now: float) -> bool:
        """Move one session off a worn engine; whether one was moved."""
        worn = [engine for engine in self._host.engines.all if engine.worn]
        runner = next((r for r in self._at_rest() if r.engine in worn), None)
        if runner is None:
            return False
        self._move(runner, Reason.ENGINE_RENEWED, now)
        return True

    def _give_one_up(self, now: float) -> None:
        """Give one session to another host, where that has less than its share and we have more than ours."""
        own, others = self._loads(settled=SETTLED)
        if others and balance.gives_one_up(own, others) and (runner := next(iter(self._at_rest()), None)):
            self._given_up = runner.session.pk
            self._move(runner, Reason.BALANCED, now)

    def _move(self, runner: Runner, reason: Reason, now: float) -> None:
        log.info("session_moved", extra={"session": runner.session.session_id, "why": reason.value})
        self._moving = (runner.session.pk, now + MOVE_WITHIN)
        runner.post(lambda: _go_on_elsewhere(runner, reason))

    def _at_rest(self) -> list[Runner]:
        return [runner for runner in list(self._host.runners.values()) if runner.at_rest]

    def _loads(self, *, settled: timedelta) -> tuple[balance.Load, list[balance.Load]]:
        """Our load and that of the other hosts that could take a session now."""
        held = Count("sessions", filter=Q(sessions__lease_until__gte=Now()))
        alive = Host.objects.alive().filter(beat_at__gt=Now() - FRESH, started_at__lte=Now() - settled)
        others = alive.exclude(pk=self._host.host.pk).annotate(held=held).values_list("held", "capacity")
        own = balance.Load(len(self._host.runners), self._host.host.capacity)
        return own, [balance.Load(*row) for row in others]


def _go_on_elsewhere(runner: Runner, reason: Reason) -> None:
    """On the runner's lane: let go and go on, on a fresh engine or on another host, unless something has come up since."""
    if runner.should_run and runner.phase == "running" and not runner.outbox.busy:
        runner.retry(reason, delay=0.0) if reason is Reason.ENGINE_RENEWED else runner.hand_over(reason)
