"""Webhooks: whom to tell, what was told, and what they answered."""

from __future__ import annotations

import secrets
import uuid
from typing import Any, ClassVar

from django.db import models, transaction
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext_lazy as _

from sessions_app.models.outbox import EventName
from sessions_app.vault import crypto

#: Every event, those of later releases too.
ALL_EVENTS = "*"
#: What a webhook may ask for.
SUBSCRIBABLE = tuple(name.value for name in EventName if name != EventName.PING)
#: Every signing secret begins so: a leaked one is recognised.
SECRET_MARK = "whsec_"  # noqa: S105 - the mark, not a secret


class Webhook(models.Model):
    """An address that is told about events. Its secret is shown once and sealed at rest."""

    code = models.UUIDField(_("id"), default=uuid.uuid4, unique=True, editable=False)
    url = models.CharField(_("address"), max_length=500)
    #: None: all sessions. A session that was deleted stays named here, and never matches again.
    session = models.ForeignKey(
        "sessions_app.WhatsAppSession",
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        verbose_name=_("session"),
    )
    session_code = models.CharField(_("session id"), max_length=64, blank=True)
    #: Names of events, or `["*"]`.
    events = models.JSONField(_("events"), default=list)
    sealed_secret = models.BinaryField(null=True, editable=False)
    active = models.BooleanField(_("active"), default=True)
    created_by = models.CharField(_("made by"), max_length=150, editable=False)
    created_at = models.DateTimeField(_("made"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), db_default=Now(), editable=False)
    #: Since when no delivery has succeeded; None while all is well.
    failing_since = models.DateTimeField(_("failing since"), null=True, editable=False)

    class Meta:
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return self.url

    @property
    def secret(self) -> str:
        """The signing secret; raises `crypto.Unreadable` where no key opens it."""
        return crypto.unseal(bytes(self.sealed_secret or b""), *self._sealed_as).decode()

    @property
    def wants_all(self) -> bool:
        return ALL_EVENTS in self.events

    def rotate(self) -> str:
        """A new secret, which signs from the next attempt on; the only time that anybody sees it. Saves nothing by itself."""
        secret = SECRET_MARK + secrets.token_urlsafe(32)
        self.sealed_secret = crypto.seal(secret.encode(), *self._sealed_as)
        return secret

    def remove(self) -> None:
        """Delete it with its deliveries, and not in the middle of a publication, which locks it."""
        with transaction.atomic():
            if Webhook.objects.select_for_update().filter(pk=self.pk).exists():
                self.delete()

    def to_dict(self) -> dict[str, Any]:
        """The webhook as the API shows it; never the secret."""
        return {
            "id": str(self.code),
            "url": self.url,
            "session_id": self.session_code or None,
            "events": self.events,
            "active": self.active,
            "created_by": self.created_by,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "failing_since": self.failing_since,
        }

    @property
    def _sealed_as(self) -> tuple[str, str]:
        return f"webhook:{self.code}", "secret"


class WebhookStream(models.Model):
    """The deliveries of one webhook for one session, which go out one after the other.

    Claimed with a time, not a lock: a worker that is killed gives it back by doing nothing. `next_attempt_at` is None while there
    is nothing to deliver; whoever adds a delivery or finds none left locks this row first, so that no wake-up is lost.
    """

    #: What somebody asked to be sent again is a stream of its own: it neither waits for the others nor holds them back.
    BY_HAND = 0

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="streams")
    #: The session's primary key, or `BY_HAND`.
    key = models.PositiveBigIntegerField()
    next_attempt_at = models.DateTimeField(null=True)
    #: Attempts that failed one after the other.
    failures = models.PositiveIntegerField(default=0)
    claim = models.UUIDField(null=True)
    claimed_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("queue of deliveries")
        verbose_name_plural = _("queues of deliveries")
        constraints: ClassVar = [models.UniqueConstraint(fields=["webhook", "key"], name="oxy_stream_once")]
        indexes: ClassVar = [
            models.Index(
                fields=["next_attempt_at"], name="oxy_stream_due", condition=models.Q(next_attempt_at__isnull=False)
            )
        ]

    def __str__(self) -> str:
        return f"{self.webhook_id}/{self.key}"


class WebhookDelivery(models.Model):
    """One event on its way to one webhook, and the last answer that it got."""

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        DELIVERED = "delivered", _("delivered")
        #: The last attempt failed; another follows.
        FAILED = "failed", _("failed, tried again")
        GIVEN_UP = "given-up", _("given up")

    #: Still to be delivered.
    OPEN = (State.PENDING, State.FAILED)

    code = models.UUIDField(_("id"), default=uuid.uuid4, unique=True)
    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("webhook"))
    event = models.ForeignKey(
        "sessions_app.OutboxEvent", on_delete=models.CASCADE, related_name="deliveries", verbose_name=_("event")
    )
    stream = models.ForeignKey(WebhookStream, on_delete=models.CASCADE, related_name="deliveries")
    status = models.CharField(_("status"), max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), null=True)
    #: Of the last attempt; None where there was no HTTP answer.
    response_status = models.PositiveSmallIntegerField(_("answer"), null=True)
    #: The beginning of the answer's body, or a sentence that says why there was no answer.
    excerpt = models.CharField(_("what it said"), max_length=500, blank=True)
    duration_ms = models.PositiveIntegerField(_("duration"), null=True)
    created_at = models.DateTimeField(_("made"), db_default=Now())
    attempted_at = models.DateTimeField(_("last attempt"), null=True)

    class Meta:
        verbose_name = _("webhook delivery")
        verbose_name_plural = _("webhook deliveries")
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["webhook", "-id"], name="oxy_delivery_latest"),
            models.Index(
                fields=["stream", "id"], name="oxy_delivery_open", condition=models.Q(status__in=["pending", "failed"])
            ),
        ]

    def __str__(self) -> str:
        return str(self.code)

    def to_dict(self) -> dict[str, Any]:
        """The delivery as the API shows it; the event's own data is left out."""
        return {
            "id": str(self.code),
            "event_id": self.event.position,
            "event": self.event.name,
            "session_id": self.event.session_code or None,
            "status": self.status,
            "attempts": self.attempts,
            "next_attempt_at": self.next_attempt_at,
            "response_status": self.response_status,
            "response_excerpt": self.excerpt,
            "duration_ms": self.duration_ms,
            "created_at": self.created_at,
            "attempted_at": self.attempted_at,
        }


class DeliveryTurn(models.Model):
    """One row: which task delivers now, and whether one was queued; both as times, so that nothing is stuck after a kill."""

    holder = models.UUIDField(null=True)
    running_until = models.DateTimeField(null=True)
    queued_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("turn to deliver")
        verbose_name_plural = _("turns to deliver")

    def __str__(self) -> str:
        return str(self.holder or "")


def due_now() -> Coalesce:
    """Keeps an earlier time, else now: for `next_attempt_at` of a stream that got something to deliver."""
    return Coalesce("next_attempt_at", Now())
