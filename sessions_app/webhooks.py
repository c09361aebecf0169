"""What is asked of webhooks: make, change, test, send again, and deliver soon; and how what they get is signed.

The delivery itself is in `delivery.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from sessions_app import outbound, outbox
from sessions_app.models import (
    DeliveryTurn,
    EventName,
    OutboxEvent,
    Webhook,
    WebhookDelivery,
    WebhookStream,
    WhatsAppSession,
)
from sessions_app.models.webhooks import ALL_EVENTS, SUBSCRIBABLE

#: How long a queued task is waited for before another is queued.
QUEUED = timedelta(seconds=10)


def make(
    url: str, *, session: WhatsAppSession | None = None, events: Iterable[str] = (ALL_EVENTS,), by: str
) -> tuple[Webhook, str]:
    """A new webhook and its secret, which nobody sees again; `session` None is all. Raises `outbound.Refused` with a sentence."""
    webhook = Webhook(
        url=outbound.check_url(url),
        session=session,
        session_code=session.session_id if session else "",
        events=event_names(events),
        created_by=by,
    )
    secret = webhook.rotate()
    webhook.save()
    webhook.refresh_from_db(fields=["created_at", "updated_at"])
    return webhook, secret


def event_names(names: Iterable[str]) -> list[str]:
    """The names as they are stored: each once, in our order; one that does not exist raises `ValueError`."""
    wanted = set(names)
    if unknown := wanted - {ALL_EVENTS, *SUBSCRIBABLE}:
        raise ValueError(f"no such event: {sorted(unknown)[0]}")
    return [ALL_EVENTS] if ALL_EVENTS in wanted else [name for name in SUBSCRIBABLE if name in wanted]


def change(
    webhook: Webhook, *, url: str | None = None, events: Iterable[str] | None = None, active: bool | None = None
) -> None:
    """Change what is given. What waits is tried at once. Raises `outbound.Refused`."""
    fields: dict[str, Any] = {}
    if url is not None:
        fields["url"] = outbound.check_url(url)
    if events is not None:
        fields["events"] = event_names(events)
    if active is not None:
        fields["active"] = active
    Webhook.objects.filter(pk=webhook.pk).update(**fields, updated_at=Now())
    webhook.refresh_from_db()
    wake(webhook)


def rotate(webhook: Webhook) -> str:
    """A new secret in the place of the old one, for every attempt from now on."""
    secret = webhook.rotate()
    Webhook.objects.filter(pk=webhook.pk).update(sealed_secret=webhook.sealed_secret, updated_at=Now())
    return secret


def ping(webhook: Webhook) -> None:
    """Send this webhook a test."""
    with transaction.atomic():
        OutboxEvent.objects.create(name=EventName.PING, only_for=webhook, data={"webhook_id": str(webhook.code)})
        transaction.on_commit(deliver_soon, robust=True)


def send_again(delivery: WebhookDelivery) -> WebhookDelivery:
    """Try an open delivery now; or deliver the event of one that ended once more, beside the others. Returns that delivery."""
    with transaction.atomic():
        stream = WebhookStream.objects.select_for_update().get(pk=delivery.stream_id)
        delivery.refresh_from_db(fields=["status"])
        if delivery.status in WebhookDelivery.OPEN:
            WebhookStream.objects.filter(pk=stream.pk).update(next_attempt_at=Now())
            again = delivery
        else:
            again = outbox.queue([(delivery.webhook, delivery.event, WebhookStream.BY_HAND)])[0]
        transaction.on_commit(deliver_soon, robust=True)
    return again


def wake(webhook: Webhook) -> None:
    """Try now what waits: the webhook was changed or switched on."""
    WebhookStream.objects.filter(webhook=webhook, next_attempt_at__isnull=False).update(next_attempt_at=Now())
    deliver_soon()


def deliver_soon() -> None:
    """Have a worker deliver, unless one is at it or is about to be. Call it after the commit."""
    if not Webhook.objects.filter(active=True).exists():
        return
    DeliveryTurn.objects.get_or_create(pk=1)
    nobody = over("running_until") & over("queued_until")
    if DeliveryTurn.objects.filter(nobody, pk=1).update(queued_until=Now() + QUEUED):
        from sessions_app import tasks  # a package above this one: the only module that talks to the queue

        tasks.queue_delivery()


def over(field: str) -> Q:
    """Rows whose time in this field is past, or was never set."""
    return Q(**{field: None}) | Q(**{f"{field}__lt": Now()})


# --- signatures -------------------------------------------------------------------


def signature(secret: str, body: bytes, at: int) -> str:
    """The value of `X-Oxy-Signature`: HMAC-SHA256 of `<at>.<body>` with the secret's text as key."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def body_of(event: OutboxEvent) -> bytes:
    """The event as it is posted: the same bytes at each attempt."""
    return json.dumps(event.to_dict(), cls=DjangoJSONEncoder, ensure_ascii=False, separators=(",", ":")).encode()
