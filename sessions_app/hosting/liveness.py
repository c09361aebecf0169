"""Whether a session is really alive: when WhatsApp was last heard, when its phone was, and how long it had been away.

The library pings every 20 to 30 s, waits 10 s for the answer, and tells only of an answer that did not come (whatsmeow,
`keepalive.go`). So while a connected session has told of none, WhatsApp has answered within the last `PING_CYCLE`.

The phone shows itself in what it does: a message or a receipt of the account's own device 0. Nothing tells that it is merely
switched on, so an unused phone looks like an absent one (mautrix-whatsapp goes by the same signs).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models.functions import Now
from django.utils import timezone

from sessions_app.lifecycle import Status
from sessions_app.models import WhatsAppSession

if TYPE_CHECKING:
    from sessions_app.hosting.runner import Runner

#: What was heard is stored no more often than this.
STORE_EVERY = 30.0
#: A ping, its longest pause before, and the wait for its answer.
PING_CYCLE = timedelta(seconds=40)
#: The phone's time is stored when it has moved on by this.
PHONE_STEP = timedelta(minutes=10)


class Liveness:
    """What a runner knows of its session's life signs."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._heard_at = self._phone_at = 0.0
        self._connected_at = 0.0

    def hear(self, batch: Iterable[Any]) -> None:
        """Note events of the spool, of whatever epoch: they were heard."""
        for event in batch:
            self._heard_at = max(self._heard_at, event.at)
            if getattr(event, "from_phone", False):
                self._phone_at = max(self._phone_at, event.timestamp)

    def connected(self) -> None:
        """The session is connected: say how long it had been away, and store from now on when it is heard."""
        self._connected_at = time.monotonic()
        self._note_recovery()
        self._store()

    def _note_recovery(self) -> None:
        session = self._runner.session
        row = WhatsAppSession.objects.filter(pk=session.pk, lease_epoch=self._runner.lease.epoch, lost_at__isnull=False)
        if times := row.values_list("lost_at", Now()).first():
            row.update(lost_at=None)
            session.lost_at = None
            session.record("recovery", seconds=round(max(0.0, (times[1] - times[0]).total_seconds()), 2))

    def _store(self) -> None:
        """One UPDATE under our epoch, and again in a while for as long as the session is connected."""
        runner = self._runner
        if runner.session.status != Status.CONNECTED or runner.phase != "running":
            return
        runner.after("heard", STORE_EVERY, self._store)
        changes: dict[str, Any] = {"last_heard_at": self._last_heard()}
        phone_at = datetime.fromtimestamp(self._phone_at, UTC)
        if phone_at > (runner.session.phone_seen_at or datetime.fromtimestamp(0, UTC)) + PHONE_STEP:
            changes |= {"phone_seen_at": min(phone_at, timezone.now()), "phone_warned": 0}
            runner.session.phone_seen_at = changes["phone_seen_at"]
        WhatsAppSession.objects.filter(pk=runner.session.pk, lease_epoch=runner.lease.epoch).update(**changes)

    def _last_heard(self) -> datetime:
        heard = datetime.fromtimestamp(self._heard_at, UTC) if self._heard_at else timezone.now()
        if time.monotonic() - self._connected_at > PING_CYCLE.total_seconds():
            return max(heard, timezone.now() - PING_CYCLE)
        return heard
