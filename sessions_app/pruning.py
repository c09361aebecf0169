"""Forgetting what nobody needs any more, so that the database stays small. Live stores of nobody: hosting/orphans.py.

Each rule names rows that are past their time; they go in small batches, oldest first, until the work is done or the task's time
is up. What is left waits for the next hour.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django_q.models import Failure

from sessions_app import broadcast, outbox
from sessions_app.lifecycle import Status
from sessions_app.models import (
    Alert,
    Backup,
    EventName,
    Host,
    IdempotentRequest,
    Message,
    MessageFile,
    OutboxEvent,
    PairingLink,
    PairingRound,
    Question,
    SessionCommand,
    SessionEvent,
    WhatsAppSession,
)

log = logging.getLogger(__name__)

#: Rows that one transaction deletes, and seconds that one run may take: well under the queue's limit of a minute.
BATCH, BUDGET = 1000, 40.0
#: What the two-minute backups write is of interest for as long as somebody looks for a fault; a backup that found one longer.
ROUTINE, FAULTS = timedelta(days=2), timedelta(days=30)
#: Commands, rounds and links that are over; failed background tasks; hosts that stopped beating.
OVER, FAILED_TASKS, DEAD_HOSTS = timedelta(days=30), timedelta(days=14), timedelta(days=1)
#: Nobody waits for an answer so long.
ASKED = timedelta(minutes=10)

Rule = Callable[[], QuerySet[Any]]


def prune(*, budget: float = BUDGET) -> dict[str, int]:
    """Delete what is past its time; how many rows of what, without those of which there were none."""
    end = time.monotonic() + budget
    counts = {name: _delete(rule(), end) for name, rule in RULES.items()}
    counts["never paired"] = _delete_never_paired(end)
    counts["events for programs"] = outbox.prune()
    counts["idempotent requests"] = IdempotentRequest.forget_old()
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    found = {name: count for name, count in counts.items() if count}
    if found:
        log.info("pruned", extra={name.replace(" ", "_"): count for name, count in found.items()})
    return found


def _delete(rows: QuerySet[Any], end: float) -> int:
    count = 0
    while time.monotonic() < end:
        pks = list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH])
        if not pks:
            break
        count += rows.model._default_manager.filter(pk__in=pks).delete()[0]
    return count


# --- the rules -----------------------------------------------------------------------


def _messages() -> QuerySet[Any]:
    """By MESSAGE_RETENTION_DAYS; what still waits to be sent stays, whatever its age."""
    if not settings.MESSAGE_RETENTION_DAYS:
        return Message.objects.none()
    ended = Message.objects.exclude(status__in=[Message.MessageStatus.QUEUED, Message.MessageStatus.SENDING])
    return ended.filter(created_at__lt=_ago(timedelta(days=settings.MESSAGE_RETENTION_DAYS)))


def _files() -> QuerySet[Any]:
    """Of messages that ended where nobody could see to it."""
    on_their_way = [Message.MessageStatus.QUEUED, Message.MessageStatus.SENDING]
    return MessageFile.objects.exclude(message__status__in=on_their_way)


def _timeline() -> QuerySet[Any]:
    if not settings.OXY_EVENT_RETENTION_DAYS:
        return SessionEvent.objects.none()
    return SessionEvent.objects.filter(at__lt=_ago(timedelta(days=settings.OXY_EVENT_RETENTION_DAYS)))


def _routine_timeline() -> QuerySet[Any]:
    """The schedule's two-minute backups, which would be most of every timeline."""
    routine = Q(kind__in=["command", "backup"], actor="schedule", at__lt=_ago(ROUTINE))
    return SessionEvent.objects.filter(routine)


def _backups() -> QuerySet[Any]:
    """All but the last of each session; one that found a difference stays longer."""
    later = Backup.objects.filter(session=OuterRef("session"), pk__gt=OuterRef("pk"))
    old = Q(at__lt=_ago(ROUTINE), differed=0) | Q(at__lt=_ago(FAULTS))
    return Backup.objects.filter(old, Exists(later))


def _commands() -> QuerySet[Any]:
    routine = Q(requested_by="schedule", done_at__lt=_ago(ROUTINE))
    return SessionCommand.objects.filter(routine | Q(done_at__lt=_ago(OVER)))


def _questions() -> QuerySet[Any]:
    """Who asks deletes them, except where that process died."""
    return Question.objects.filter(asked_at__lt=_ago(ASKED))


def _rounds() -> QuerySet[Any]:
    return PairingRound.objects.filter(ended_at__lt=_ago(OVER))


def _links() -> QuerySet[Any]:
    return PairingLink.objects.filter(expires_at__lt=_ago(OVER))


def _hosts() -> QuerySet[Any]:
    """A host's row ends with it, except where it was killed and no neighbour saw it."""
    holds = WhatsAppSession.objects.filter(lease_host=OuterRef("pk"), lease_until__gte=Now())
    return Host.objects.filter(~Exists(holds), beat_at__lt=_ago(DEAD_HOSTS))


def _alerts() -> QuerySet[Any]:
    return Alert.objects.filter(ended_at__lt=_ago(FAULTS))


def _failed_tasks() -> QuerySet[Any]:
    """The queue itself keeps every failure for ever."""
    failed: QuerySet[Any] = Failure.objects.filter(stopped__lt=_ago(FAILED_TASKS))
    return failed


RULES: dict[str, Rule] = {
    "messages": _messages,
    "files": _files,
    "timeline": _timeline,
    "routine timeline": _routine_timeline,
    "backups": _backups,
    "commands": _commands,
    "questions": _questions,
    "pairing rounds": _rounds,
    "pairing links": _links,
    "hosts": _hosts,
    "alerts": _alerts,
    "failed tasks": _failed_tasks,
}


def _delete_never_paired(end: float) -> int:
    """Sessions that somebody made and never linked a phone to, unless something still goes on with them."""
    if not settings.OXY_NEVER_PAIRED_DAYS:
        return 0
    old = _ago(timedelta(days=settings.OXY_NEVER_PAIRED_DAYS))
    forgotten = WhatsAppSession.objects.filter(
        Q(lease_until=None) | Q(lease_until__lt=Now()),
        status=Status.NEW,
        paired_at=None,
        creds__isnull=True,
        updated_at__lt=old,
        created_at__lt=old,
    )
    going_on = SessionCommand.objects.filter(session=OuterRef("pk"), done_at=None)
    count = 0
    for pk in list(forgotten.filter(~Exists(going_on)).values_list("pk", flat=True)):
        if time.monotonic() < end and _delete_session(forgotten, pk):
            count += 1
    if count:
        broadcast.sessions_changed()
    return count


def _delete_session(forgotten: QuerySet[WhatsAppSession], pk: int) -> bool:
    """Under the row's lock, and only if it is still what it was: somebody may be linking a phone right now."""
    with transaction.atomic():
        session = forgotten.select_for_update().filter(pk=pk).first()
        if session is None:
            return False
        OutboxEvent.write(session, EventName.SESSION_DELETED, {"session_id": session.session_id})
        session.delete()
    return True


def _ago(age: timedelta) -> Any:
    return Now() - age
