"""The event log for programs: what happened to sessions and messages, written in the transaction of the fact itself.

A row is *written* with the fact and *published* a moment later, when `outbox.publish()` gives it a position. The position, not the
primary key, is the id that programs see. Primary keys are drawn before a commit, so on PostgreSQL a smaller one can appear after a
larger one, and a reader that remembers "I have seen 41" would miss 40 for ever. Positions are given to committed rows only, by one
transaction at a time (it holds the counter's row), so whoever has read up to a position has missed nothing. Of the ways to get
there, this one depends on nobody else: no lock is held while a fact is written, and no stranger's long transaction (the horizon of
`pg_snapshot_xmin`) holds events back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sessions_app.models.sessions import WhatsAppSession


class EventName(models.TextChoices):
    """What programs can be told; the list and the payloads are in docs/webhooks.md, and names never change their meaning."""

    SESSION_STATUS = "session.status", _("the status or reason of a session changed")
    SESSION_QR = "session.qr", _("a QR code can be scanned")
    SESSION_DELETED = "session.deleted", _("a session was deleted")
    MESSAGE_RECEIVED = "message.received", _("a message came in")
    MESSAGE_STATUS = "message.status", _("an outgoing message was sent, delivered, read, or failed")
    PING = "ping", _("a test that somebody asked for")


class OutboxEvent(models.Model):
    """One event of a session. Rows are only ever added, and pruned after a week (`outbox.prune`)."""

    #: None until it is published; then the id that programs see, in the order in which they see it.
    position = models.PositiveBigIntegerField(_("position"), null=True, unique=True)
    #: Outlives the session, whose last event says that it is gone: so no constraint. Primary keys are never used again.
    session = models.ForeignKey(
        "sessions_app.WhatsAppSession",
        null=True,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="+",
        verbose_name=_("session"),
    )
    session_code = models.CharField(_("session id"), max_length=64, blank=True)
    name = models.CharField(_("event"), max_length=40, choices=EventName.choices)
    data = models.JSONField(_("data"), default=dict, encoder=DjangoJSONEncoder)
    #: A test goes to this webhook and to nobody else.
    only_for = models.ForeignKey(
        "sessions_app.Webhook", null=True, on_delete=models.CASCADE, related_name="+", verbose_name=_("only for")
    )
    at = models.DateTimeField(_("when"), db_default=Now())

    class Meta:
        verbose_name = _("event for programs")
        verbose_name_plural = _("events for programs")
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["id"], name="oxy_outbox_unpublished", condition=models.Q(position=None)),
            models.Index(fields=["session", "position"], name="oxy_outbox_of_session"),
            models.Index(fields=["at"], name="oxy_outbox_old"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.position or ''}".strip()

    @classmethod
    def write(cls, session: WhatsAppSession, name: EventName, *datas: dict[str, Any]) -> None:
        """Write one event of this name for each of `datas`. Call it in the transaction that changes what it reports."""
        if not datas:
            return
        OutboxEvent.objects.bulk_create(
            [OutboxEvent(session=session, session_code=session.session_id, name=name, data=data) for data in datas]
        )
        # Robust: the fact is stored and the schedule delivers it too; a fault of the queue must not fail the fact.
        transaction.on_commit(_ring, robust=True)

    def to_dict(self) -> dict[str, Any]:
        """The event as webhooks and the socket show it."""
        return {
            "id": self.position,
            "event": self.name,
            "session_id": self.session_code or None,
            "created_at": self.at,
            "data": self.data,
        }


def write_messages(session: WhatsAppSession, name: EventName, codes: Iterable[Any]) -> None:
    """Write an event for each message with one of these codes, as it is in the database now, oldest first."""
    from sessions_app.models.messages import Message

    rows = Message.objects.filter(session=session, code__in=list(codes)).order_by("pk")
    OutboxEvent.write(session, name, *({"message": message.to_dict()} for message in rows))


def _ring() -> None:
    from sessions_app.webhooks import (
        deliver_soon,
    )  # it stands above this module; here it is only told that there is work

    deliver_soon()


class EventCounter(models.Model):
    """One row: the last position that was given. Its lock is the right to publish."""

    last = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = _("counter of events")
        verbose_name_plural = _("counters of events")

    def __str__(self) -> str:
        return str(self.last)
