"""The event log on its way out: given positions, handed to webhooks, read by sockets, and pruned.

Why positions are given after the commit is said in `models/outbox.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from sessions_app.models import EventCounter, EventName, OutboxEvent, Webhook, WebhookDelivery, WebhookStream
from sessions_app.models.webhooks import due_now

#: Events that are published in one transaction.
PUBLISH_AT_ONCE = 200
#: How long events and their deliveries are kept.
KEEP = timedelta(days=7)
#: Rows that are deleted in one transaction.
PRUNE_AT_ONCE = 1000


def publish() -> int:
    """Give every committed event its position, and each webhook that wants it a delivery; returns how many events.

    Whoever reads the log calls this first. It costs one look at a partial index where nothing is new.
    """
    count = 0
    while OutboxEvent.objects.filter(position=None).exists():
        published = _publish_some()
        count += published
        if published < PUBLISH_AT_ONCE:
            break
    return count


def _publish_some() -> int:
    with transaction.atomic():
        counter, __ = EventCounter.objects.select_for_update().get_or_create(pk=1)
        # Read after the lock is held: a statement sees what was committed before it began.
        events = list(OutboxEvent.objects.filter(position=None).order_by("pk")[:PUBLISH_AT_ONCE])
        for position, event in enumerate(events, counter.last + 1):
            event.position = position
        OutboxEvent.objects.bulk_update(events, ["position"])
        EventCounter.objects.filter(pk=1).update(last=counter.last + len(events))
        _fan_out(events)
    return len(events)


def _fan_out(events: list[OutboxEvent]) -> None:
    """Queue each event for each webhook that wants it."""
    # Locked against a deletion in the same moment, which would leave deliveries of nobody.
    webhooks = list(Webhook.objects.filter(active=True).select_for_update(no_key=True).order_by("pk"))
    wanted = [(webhook, event) for event in events for webhook in webhooks if wants(webhook, event)]
    queue([(webhook, event, _key(event)) for webhook, event in wanted])


def wants(webhook: Webhook, event: OutboxEvent) -> bool:
    """Whether this webhook is to be told of this event."""
    if event.only_for_id is not None:
        return event.only_for_id == webhook.pk
    # By the row, not by the public id: a session that takes over a deleted one's id is another session.
    ours = webhook.session_id is None or webhook.session_id == event.session_id
    return ours and (webhook.wants_all or event.name in webhook.events)


def _key(event: OutboxEvent) -> int:
    return WebhookStream.BY_HAND if event.name == EventName.PING else event.session_id or WebhookStream.BY_HAND


def queue(wanted: Iterable[tuple[Webhook, OutboxEvent, int]]) -> list[WebhookDelivery]:
    """Make deliveries, in this order, and wake their streams. Call it in a transaction."""
    rows = list(wanted)
    keys = {(webhook.pk, key) for webhook, __, key in rows}
    if not rows:
        return []
    WebhookStream.objects.bulk_create(
        [WebhookStream(webhook_id=webhook, key=key) for webhook, key in sorted(keys)], ignore_conflicts=True
    )
    found = WebhookStream.objects.filter(webhook__in={pk for pk, __ in keys}, key__in={key for __, key in keys})
    streams = {(s.webhook_id, s.key): s for s in found.order_by("pk") if (s.webhook_id, s.key) in keys}
    # Every one of them, whether or not it is due already: the lock is what keeps `delivery` from finding nothing to do and
    # putting the stream to sleep in the same moment.
    WebhookStream.objects.filter(pk__in=[stream.pk for stream in streams.values()]).update(next_attempt_at=due_now())
    return WebhookDelivery.objects.bulk_create(
        [WebhookDelivery(webhook=webhook, event=event, stream=streams[webhook.pk, key]) for webhook, event, key in rows]
    )


# --- reading --------------------------------------------------------------------


def last_position() -> int:
    """The position of the newest published event; 0 where there was none yet."""
    return EventCounter.objects.filter(pk=1).values_list("last", flat=True).first() or 0


def first_position() -> int:
    """The position of the oldest event that is still kept; one more than the last where there is none."""
    kept = OutboxEvent.objects.filter(position__isnull=False).order_by("position")
    return kept.values_list("position", flat=True).first() or last_position() + 1


def after(position: int) -> QuerySet[OutboxEvent]:
    """The published events of sessions after a position, oldest first; tests of webhooks are nobody else's business."""
    return OutboxEvent.objects.filter(position__gt=position).exclude(name=EventName.PING).order_by("position")


# --- forgetting -----------------------------------------------------------------


def prune() -> int:
    """Delete events older than a week that nobody waits for any more, with their deliveries; returns how many events."""
    waiting = WebhookDelivery.objects.filter(event=OuterRef("pk"), status__in=WebhookDelivery.OPEN)
    old = OutboxEvent.objects.filter(~Exists(waiting), at__lt=Now() - KEEP, position__isnull=False).order_by("pk")
    count = 0
    while pks := list(old.values_list("pk", flat=True)[:PRUNE_AT_ONCE]):
        OutboxEvent.objects.filter(pk__in=pks).delete()
        count += len(pks)
    idle = WebhookStream.objects.filter(next_attempt_at=None, claimed_until=None)
    idle.exclude(pk__in=WebhookDelivery.objects.values("stream")).delete()
    return count
