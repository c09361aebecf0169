"""Questions that more than one place asks of the rows, each as a phrase after `.objects`."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import models, transaction
from django.db.models import Count, Exists, OuterRef, Q, Subquery, TextField
from django.db.models.functions import Cast, Coalesce, Length, Now

from sessions_app.lifecycle import FINAL, Command
from sessions_app.reasons import Reason

if TYPE_CHECKING:
    from sessions_app.models import Host, Message, SessionCommand, WhatsAppSession  # noqa: F401 - named in base classes

#: A host that has not written its beat for so long is taken for dead.
HOST_TTL = timedelta(seconds=30)
#: Sessions that are asked something in one transaction: SQLite takes a limited number of values in a statement.
AT_ONCE = 500


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

    def request_all(self, command: Command, *, by: str) -> tuple[int, dict[str, int]]:
        """Ask this of each of them, with a handful of statements however many there are.

        Returns how many were asked, and how many could not be, by status (DELETING for those that are being deleted).
        """
        from sessions_app.models.sessions import wish_of

        rows = list(
            self.select_related("lease_host").only("pk", "status", "deleting", "lease_epoch", "lease_host__name")
        )
        asked = [row for row in rows if row.allows(command)]
        refused = Counter("DELETING" if row.deleting else row.status for row in rows if not row.allows(command))
        wish = wish_of(command)
        for start in range(0, len(asked), AT_ONCE):
            some = asked[start : start + AT_ONCE]
            with transaction.atomic():
                _write_requests(some, command, by)
                if wish:
                    self.model.objects.filter(pk__in=[row.pk for row in some]).update(**wish, updated_at=Now())
        return len(asked), dict(refused)

    def with_vault_size(self) -> SessionQuerySet:
        """With `linked`, `key_count` and `creds_size` of each: counted by the database, so that no key leaves it."""
        from sessions_app.models import AuthBlob

        blobs = AuthBlob.objects.filter(session=OuterRef("pk")).order_by().values("session").annotate(n=Count("*"))
        return self.annotate(
            linked=Q(creds__isnull=False),
            key_count=Coalesce(Subquery(blobs.values("n")), 0),
            creds_size=Coalesce(Length(Cast("creds", TextField())), 0),
        )


def _write_requests(sessions: list[WhatsAppSession], command: Command, by: str) -> None:
    from sessions_app.models import SessionCommand, SessionEvent

    SessionCommand.objects.bulk_create(
        [SessionCommand(session=row, verb=command.value, requested_by=by) for row in sessions]
    )
    SessionEvent.objects.bulk_create(
        [
            SessionEvent(
                session=row,
                kind="command",
                actor=by,
                epoch=row.lease_epoch,
                host=row.lease_host.name if row.lease_host else "",
                detail={"command": command.value},
            )
            for row in sessions
        ]
    )


class CommandQuerySet(models.QuerySet["SessionCommand"]):
    def pending(self) -> CommandQuerySet:
        """Not taken by any host yet, oldest first."""
        return self.filter(taken_at=None, done_at=None).order_by("pk")


class MessageQuerySet(models.QuerySet["Message"]):
    def give_up_expired(self) -> int:
        """End queued messages whose time has passed; returns how many."""
        from sessions_app.models import EventName
        from sessions_app.models.outbox import write_messages

        ended = 0
        failed = {"status": "failed", "reason": Reason.QUEUE_EXPIRED.value}
        for message in self.filter(status="queued", expires_at__lte=Now()).select_related("session"):
            with transaction.atomic():
                if self.filter(pk=message.pk, status="queued").update(**failed):
                    write_messages(message.session, EventName.MESSAGE_STATUS, [message.code])
                    ended += 1
        return ended


class HostQuerySet(models.QuerySet["Host"]):
    def alive(self, **over: Any) -> HostQuerySet:
        """Hosts whose beat is recent by the database's clock."""
        return self.filter(beat_at__gt=Now() - HOST_TTL, stopping=False, **over)
