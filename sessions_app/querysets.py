"""Questions that more than one place asks of the rows, each as a phrase after `.objects`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from sessions_app.lifecycle import FINAL

if TYPE_CHECKING:
    from sessions_app.models import Host, SessionCommand, WhatsAppSession  # noqa: F401 - named in base classes

#: A host that has not written its beat for so long is taken for dead.
HOST_TTL = timedelta(seconds=30)


class SessionQuerySet(models.QuerySet["WhatsAppSession"]):
    def claimable(self) -> SessionQuerySet:
        """Sessions that should have a host and have none: wanted, or with a command that only a host can do."""
        from sessions_app.models import SessionCommand

        asked = Exists(SessionCommand.objects.filter(session=OuterRef("pk"), done_at=None))
        wanted = Q(desired="running") & ~Q(status__in=FINAL)
        free = Q(lease_until=None) | Q(lease_until__lt=Now())
        return self.filter(free).filter(wanted | asked)

    def hosted_by(self, host: Host) -> SessionQuerySet:
        return self.filter(lease_host=host, lease_until__gte=Now())


class CommandQuerySet(models.QuerySet["SessionCommand"]):
    def pending(self) -> CommandQuerySet:
        """Not taken by any host yet, oldest first."""
        return self.filter(taken_at=None, done_at=None).order_by("pk")


class HostQuerySet(models.QuerySet["Host"]):
    def alive(self, **over: Any) -> HostQuerySet:
        """Hosts whose beat is recent by the database's clock."""
        return self.filter(beat_at__gt=Now() - HOST_TTL, stopping=False, **over)
