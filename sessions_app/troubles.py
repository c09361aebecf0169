"""What is wrong with sessions, as questions to the database: asked by the doctor, the alerts and the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q

from sessions_app.lifecycle import Status
from sessions_app.models import SessionEvent, WhatsAppSession
from sessions_app.querysets import SessionQuerySet

#: In these somebody is at the phone, or nobody has ever been.
_BEING_LINKED = (Status.NEW, Status.PAIRING)


@dataclass(frozen=True)
class Down:
    """A session that should be connected, and since when it is not."""

    session: WhatsAppSession
    since: datetime


def down(before: datetime) -> list[Down]:
    """Sessions that were linked and are to run, and have not been connected since `before`; longest first.

    A session that tries again and again changes its status all the time, so its status says nothing: what counts is the first
    change after it was last connected.
    """
    wanted = WhatsAppSession.objects.filter(
        desired=WhatsAppSession.Desired.RUNNING, paired_at__isnull=False, deleting=False
    )
    lost = wanted.exclude(status__in=[Status.CONNECTED, *_BEING_LINKED]).defer("creds", "proxy_url")
    found = [Down(session, _down_since(session)) for session in lost]
    return sorted((each for each in found if each.since <= before), key=lambda each: (each.since, each.session.pk))


def _down_since(session: WhatsAppSession) -> datetime:
    moves = SessionEvent.objects.filter(session=session, kind="status").order_by("pk")
    up = moves.filter(status=Status.CONNECTED).values_list("pk", flat=True).last() or 0
    return moves.filter(pk__gt=up).values_list("at", flat=True).first() or session.status_at


def flapping(after: datetime, least: int) -> dict[str, int]:
    """Sessions that lost their connection at least so often since `after`: how often, by session id."""
    losses = SessionEvent.objects.filter(kind="status", status=Status.WAITING, at__gte=after, session__deleting=False)
    counted = losses.order_by().values("session__session_id").annotate(times=Count("pk")).filter(times__gte=least)
    return dict(counted.values_list("session__session_id", "times"))


def backup_overdue(before: datetime) -> SessionQuerySet:
    """Connected sessions that were connected and last backed up before that time."""
    late = Q(last_backup_at__lt=before) | Q(last_backup_at=None)
    connected = WhatsAppSession.objects.filter(status=Status.CONNECTED, status_at__lt=before, deleting=False)
    return connected.filter(late).defer("creds", "proxy_url").order_by("pk")
