"""What the overview's charts are drawn from: one row a minute, kept for a little longer than a day."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from django.db import models
from django.db.models import Count, Max, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from sessions_app.lifecycle import Status

#: How long samples are kept.
KEPT = timedelta(days=2)


class Sample(models.Model):
    """How things stood at one minute: sessions that were connected, those that should be, and messages since the sample before."""

    at = models.DateTimeField(db_default=Now(), db_index=True)
    connected = models.PositiveIntegerField(default=0)
    wanted = models.PositiveIntegerField(default=0)
    received = models.PositiveIntegerField(default=0)
    sent = models.PositiveIntegerField(default=0)
    #: The last message that was counted. A message of a transaction that commits late can be missed: this is for a chart.
    last_message = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name = _("sample for the charts")
        verbose_name_plural = _("samples for the charts")
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"{self.connected} connected"

    @classmethod
    def take(cls) -> Sample:
        """Write down how things are now, and forget what is too old to be drawn."""
        from sessions_app.models.messages import Message
        from sessions_app.models.sessions import WhatsAppSession

        connected, running = Q(status=Status.CONNECTED), Q(desired=WhatsAppSession.Desired.RUNNING)
        sessions = WhatsAppSession.objects.order_by().aggregate(
            connected=Count("pk", filter=connected), wanted=Count("pk", filter=running & ~Q(paired_at=None))
        )
        before = cls.objects.values_list("last_message", flat=True).first()
        incoming, outgoing = Q(direction=Message.Direction.IN), Q(direction=Message.Direction.OUT)
        counted = Message.objects.order_by().filter(pk__gt=before or 0)
        messages = counted.aggregate(
            received=Count("pk", filter=incoming), sent=Count("pk", filter=outgoing), last=Max("pk")
        )
        last = messages.pop("last") or before or 0
        # The first sample ever has nothing to count from: what was there before came in no minute that is known.
        rates = dict.fromkeys(messages, 0) if before is None else messages
        cls.objects.filter(at__lt=Now() - KEPT).delete()
        return cls.objects.create(**sessions, **rates, last_message=last)
