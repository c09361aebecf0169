"""A host's right to a session until a time: acquire, renew, release, each one UPDATE on the database's clock.

The epoch is the fencing number: it grows by one with every acquisition, and every write to the vault is conditional on it. A lease
lasts several beats and the worst pause of a healthy host (a long garbage collection, a slow disk), because losing one costs a
reconnect; and the engine lets go of a session `ENGINE_MARGIN` before its lease ends, so that a frozen host cannot hold on to what
another host may take.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q
from django.db.models.functions import Now

from sessions_app.lifecycle import Status
from sessions_app.models import Host, WhatsAppSession

LEASE_TTL = timedelta(seconds=30)
BEAT_EVERY = timedelta(seconds=5)
ENGINE_MARGIN = timedelta(seconds=6)


@dataclass(frozen=True)
class Lease:
    """What an acquisition found: `epoch` is ours; `previous_epoch` was the last holder's, who left it `clean` or not."""

    session_pk: int
    epoch: int
    previous_epoch: int
    clean: bool
    #: On the monotonic clock: no later than the moment from which it lasts.
    since: float = 0.0
    #: Until when the previous holder had it, on the database's clock; None where it gave it back.
    previous_until: datetime | None = None


def engine_holds() -> float:
    """Seconds that an engine may keep a session after a renewal that it heard of."""
    return (LEASE_TTL - ENGINE_MARGIN).total_seconds()


def _lost_at(session: WhatsAppSession) -> datetime | None:
    """Since when a session is away whose host vanished: at the latest since the renewal after which it was never heard again."""
    died_connected = session.status == Status.CONNECTED and not session.lease_clean and session.lease_until
    return session.lost_at or (session.lease_until - LEASE_TTL if died_connected and session.lease_until else None)


def acquire(session: WhatsAppSession, host: Host, *, now: Any = None) -> Lease | None:
    """Take a free or expired lease, or return None where somebody was faster.

    `session` is the row as the caller saw it: the UPDATE holds only if its epoch has not moved since, so the new epoch is
    the seen one plus one, with no second query.
    """
    now, since = now or Now(), time.monotonic()
    taken = (
        WhatsAppSession.objects.filter(pk=session.pk, lease_epoch=session.lease_epoch)
        .filter(Q(lease_until=None) | Q(lease_until__lt=now))
        .update(
            lease_host=host,
            lease_until=now + LEASE_TTL,
            lease_epoch=F("lease_epoch") + 1,
            lease_clean=False,
            lost_at=_lost_at(session),
        )
    )
    if not taken:
        return None
    previous = (session.lease_epoch, session.lease_clean)
    return Lease(session.pk, session.lease_epoch + 1, *previous, since, session.lease_until)


def renew(host: Host, session_pks: Collection[int], *, now: Any = None) -> set[int]:
    """Extend this host's leases to these sessions; returns the ones that it still holds.

    A lease that has run out, but that nobody has taken, is ours again: the epoch has not moved, so nothing was written.
    """
    now = now or Now()
    mine = WhatsAppSession.objects.filter(lease_host=host, pk__in=session_pks)
    mine.update(lease_until=now + LEASE_TTL)
    return set(mine.values_list("pk", flat=True))


def release(lease: Lease, host: Host, *, clean: bool) -> bool:
    """Give a lease back; `clean` says that everything was written through. Returns False where it was not ours any more.

    Where it was not, the time until which it ran before us is kept: it says how old the vault may be.
    """
    return bool(
        WhatsAppSession.objects.filter(pk=lease.session_pk, lease_host=host, lease_epoch=lease.epoch).update(
            lease_host=None, lease_until=None if clean else lease.previous_until, lease_clean=clean
        )
    )


def end_leases_of(host: Host, *, now: Any = None) -> int:
    """Let the leases of a host that is known to be dead run out now, uncleanly; returns how many there were."""
    now = now or Now()
    leases = WhatsAppSession.objects.filter(lease_host=host, lease_until__gte=now)
    leases.filter(status=Status.CONNECTED, lost_at=None).update(lost_at=host.beat_at)
    return leases.update(lease_until=now - timedelta(milliseconds=1))
