"""The session itself: what it is, how its status moves, and what people may ask of it."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from sessions_app import lifecycle, numbers, reasons
from sessions_app.lifecycle import Command, Event, Status
from sessions_app.models.files import MessageFile
from sessions_app.models.hosts import Host
from sessions_app.models.messages import Draft, Message
from sessions_app.models.outbox import EventName, OutboxEvent
from sessions_app.models.timeline import PairingRound, SessionCommand, SessionEvent
from sessions_app.querysets import SessionQuerySet
from sessions_app.reasons import Reason
from sessions_app.vault import crypto

if TYPE_CHECKING:
    from datetime import datetime

#: Who did it, where nobody in particular did: shown in the timeline.
SYSTEM, WHATSAPP, SCHEDULE = "system", "whatsapp", "schedule"
#: Days without a sign of the phone, the most first, and what is said then. After 14, WhatsApp unlinks the session.
PHONE_WARNINGS = ((12, Reason.PHONE_AWAY_LONG), (10, Reason.PHONE_AWAY))
#: How long an outgoing message waits for its session to be connected, where nobody says.
QUEUE_LASTS = timedelta(days=1)


def new_session_id() -> str:
    """A public id for a session whose creator named none: 12 hex digits."""
    return uuid.uuid4().hex[:12]


def wish_of(command: Command) -> dict[str, Any]:
    """What a command changes at once, whether or not a host has seen it: the desired state, which hosts act on."""
    if command in (Command.START, Command.RESTART, Command.PAIRING_CODE):
        return {"desired": WhatsAppSession.Desired.RUNNING}
    if command in (Command.STOP, Command.LOGOUT):
        return {"desired": WhatsAppSession.Desired.STOPPED}
    if command is Command.DELETE:
        return {"desired": WhatsAppSession.Desired.STOPPED, "deleting": True}
    return {}


class NotAllowed(Exception):
    """A command that this session's status does not allow; the text is for people."""

    def __init__(self, command: Command, status: Status, *, deleting: bool = False) -> None:
        self.command, self.status, self.deleting = command, status, deleting
        self.allowed = [] if deleting else sorted(lifecycle.allowed(status))
        super().__init__(f"{command.value} is not possible while the session is {status.value}.")


class AlreadyLinked(Exception):
    """A phone with another number is linked to this session."""


class QueueFull(Exception):
    """More messages of this session wait to be sent than OXY_QUEUE_LIMIT allows."""


class NotLinked(Exception):
    """No phone is linked to this session, so that nothing would ever send its messages."""


class WhatsAppSession(models.Model):
    """One linked WhatsApp account."""

    class Desired(models.TextChoices):
        RUNNING = "running", _("running")
        STOPPED = "stopped", _("stopped")

    session_id = models.CharField(
        _("session id"),
        max_length=64,
        unique=True,
        default=new_session_id,
        validators=[
            RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", _("Letters, digits, dot, dash and underscore only."))
        ],
    )
    name = models.CharField(_("name"), max_length=100)
    owner = models.CharField(_("owner"), max_length=100, blank=True)
    status = models.CharField(
        _("status"), max_length=12, default=Status.NEW, choices=[(s.value, s.value) for s in Status], editable=False
    )
    reason = models.CharField(_("reason"), max_length=40, blank=True, editable=False)
    desired = models.CharField(
        _("desired state"), max_length=8, choices=Desired.choices, default=Desired.STOPPED, editable=False
    )
    #: WAITING and BANNED: when the host tries again.
    retry_at = models.DateTimeField(_("next attempt"), null=True, editable=False)
    deleting = models.BooleanField(_("being deleted"), default=False, editable=False)

    # The vault's main record, in the shape of Baileys' creds.json; every private half is sealed (vault/keys.py).
    creds = models.JSONField(null=True, editable=False)
    #: The epoch under which the vault was last written.
    vault_epoch = models.PositiveBigIntegerField(_("vault written in lease"), default=0, editable=False)

    phone = models.CharField(_("phone"), max_length=20, blank=True, editable=False)
    jid = models.CharField("JID", max_length=80, blank=True, editable=False)
    lid = models.CharField("LID", max_length=80, blank=True, editable=False)
    #: Digits; where it is set, a phone with another number is unlinked as soon as it has been linked.
    expected_phone = models.CharField(_("expected number"), max_length=20, blank=True, editable=False)
    push_name = models.CharField(_("push name"), max_length=200, blank=True, editable=False)
    proxy_url = models.BinaryField(null=True, editable=False)

    lease_host = models.ForeignKey(
        Host, null=True, on_delete=models.SET_NULL, related_name="sessions", editable=False, verbose_name=_("host")
    )
    lease_until = models.DateTimeField(_("leased until"), null=True, editable=False)
    lease_epoch = models.PositiveBigIntegerField(_("number of the lease"), default=0, editable=False)
    #: The last holder gave the lease back after writing everything through.
    lease_clean = models.BooleanField(_("lease given back"), default=True, editable=False)

    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), db_default=Now(), editable=False)
    status_at = models.DateTimeField(_("status since"), db_default=Now(), editable=False)
    paired_at = models.DateTimeField(_("paired"), null=True, editable=False)
    last_connected_at = models.DateTimeField(_("last connected"), null=True, editable=False)
    last_backup_at = models.DateTimeField(_("last backup"), null=True, editable=False)
    #: When WhatsApp, and when the account's phone, gave the last sign of life that was stored (hosting/liveness.py).
    last_heard_at = models.DateTimeField(_("last heard"), null=True, editable=False)
    phone_seen_at = models.DateTimeField(_("phone last heard"), null=True, editable=False)
    #: The days of absence of which the timeline has warned since the phone was last seen.
    phone_warned = models.PositiveSmallIntegerField(default=0, editable=False)
    #: When a connection was lost that is to come back, at the latest; None while there is nothing to come back.
    lost_at = models.DateTimeField(null=True, editable=False)

    objects = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("WhatsApp session")
        verbose_name_plural = _("WhatsApp sessions")
        ordering: ClassVar = ["name", "session_id"]
        indexes: ClassVar = [
            # Read by hosts several times a second: SessionQuerySet.claimable().
            models.Index(fields=["desired", "lease_until"], name="oxy_session_claim"),
            models.Index(fields=["status"], name="oxy_session_status"),
            # The list's own order, a page of which is read for every change of a session.
            models.Index(fields=["name", "session_id"], name="oxy_session_by_name"),
        ]
        permissions: ClassVar = [("export_whatsappsession", "Can download the encrypted keys of a session")]

    def __str__(self) -> str:
        return self.name

    # --- what people read ---------------------------------------------------

    @property
    def has_creds(self) -> bool:
        return self.creds is not None

    @property
    def explanation(self) -> reasons.Explanation:
        return reasons.explain(self.reason)

    @property
    def current_round(self) -> PairingRound | None:
        """The pairing round that is on now, or None."""
        return self.rounds.filter(ended_at=None).order_by("-pk").first()

    @property
    def phone_away(self) -> Reason:
        """The warning that is due because nothing was heard of the phone, or `Reason.NONE`."""
        away = timezone.now() - self.phone_seen_at if self.phone_seen_at else timedelta(0)
        return next((reason for days, reason in PHONE_WARNINGS if away >= timedelta(days=days)), Reason.NONE)

    def allows(self, command: Command) -> bool:
        return not self.deleting and command in lifecycle.allowed(Status(self.status))

    def to_dict(self) -> dict[str, Any]:
        """The session as the API shows it; never a secret. `creds_size` is in characters of JSON."""
        size = self._vault_size()
        return {
            "session_id": self.session_id,
            "name": self.name,
            "owner": self.owner,
            "status": self.status,
            "reason": self.reason,
            "desired": self.desired,
            "phone": self.phone,
            "jid": self.jid,
            "push_name": self.push_name,
            "has_creds": size["linked"],
            "keys": size["key_count"],
            "creds_size": size["creds_size"],
            "last_connected_at": self.last_connected_at,
            "last_backup_at": self.last_backup_at,
            "host": self.lease_host.name if self.lease_host else None,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }

    def _vault_size(self) -> dict[str, Any]:
        """What `with_vault_size()` counts: with the row, or asked for now."""
        names = ("linked", "key_count", "creds_size")
        if names[0] in self.__dict__:
            return {name: self.__dict__[name] for name in names}
        found = WhatsAppSession.objects.filter(pk=self.pk).with_vault_size().values(*names).first()
        return found or {"linked": False, "key_count": 0, "creds_size": 0}

    def seal_proxy(self, url: str | None) -> None:
        """Set the proxy of this session's connection; it may hold a password, so it is sealed. Not saved yet."""
        self.proxy_url = crypto.seal(url.encode(), self.session_id, "proxy-url") if url else None

    # --- what hosts do ------------------------------------------------------

    def apply(
        self,
        event: Event,
        reason: Reason = Reason.NONE,
        *,
        epoch: int,
        retry_at: datetime | None = None,
        actor: str = SYSTEM,
        **changes: Any,
    ) -> bool:
        """Move the session through the lifecycle: the only writer of `status`.

        One UPDATE, conditional on the lease's epoch and on the status that was read; the timeline and the event log
        get a row in the same transaction. Returns False, and changes nothing, where the epoch has passed. Raises `IllegalTransition`.
        """
        new = lifecycle.advance(Status(self.status), event)
        fields = {"status": new.value, "reason": reason.value, "retry_at": retry_at, **self._loss(new), **changes}
        with transaction.atomic():
            moved = WhatsAppSession.objects.filter(pk=self.pk, lease_epoch=epoch, status=self.status).update(
                **fields, updated_at=Now(), **({"status_at": Now()} if new != self.status else {})
            )
            if not moved:
                return False
            if new != self.status or reason.value != self.reason:
                self.record("status", status=new.value, reason=reason.value, actor=actor, **self._library(new))
                self._tell_programs()
        for name, value in fields.items():
            setattr(self, name, value)
        return True

    def _loss(self, new: Status) -> dict[str, Any]:
        """Since when a connection is lost that a host is to bring back. `CONNECTED` leaves it, for the host to say how long it took."""
        if new in (Status.WAITING, Status.CONNECTING):
            return {"lost_at": timezone.now()} if self.status == Status.CONNECTED and not self.lost_at else {}
        return {} if new == Status.CONNECTED else {"lost_at": None}

    def _library(self, new: Status) -> dict[str, str]:
        """With which version of the library a connection was made, for the timeline."""
        if new != Status.CONNECTED:
            return {}
        # Read anew: a host learns it from its first engine, after this row was read.
        library = Host.objects.filter(sessions__pk=self.pk).values_list("library", flat=True).first()
        return {"library": library} if library else {}

    def _tell_programs(self) -> None:
        """Write the session, as the transaction leaves it, to the event log."""
        now = WhatsAppSession.objects.select_related("lease_host").with_vault_size().defer("creds").get(pk=self.pk)
        OutboxEvent.write(self, EventName.SESSION_STATUS, {"session": now.to_dict()})

    def record(self, kind: str, *, actor: str = SYSTEM, status: str = "", reason: str = "", **detail: Any) -> None:
        """Add a row to the timeline."""
        SessionEvent.objects.create(
            session=self,
            kind=kind,
            actor=actor,
            status=status,
            reason=reason,
            detail=detail,
            epoch=self.lease_epoch,
            host=self.lease_host.name if self.lease_host_id and self.lease_host else "",
        )

    # --- what people ask for ------------------------------------------------

    def request(self, command: Command, *, by: str, **arguments: Any) -> SessionCommand:
        """Write down a command for the host that has, or takes, this session; raises `NotAllowed`.

        START and STOP also set the desired state, which hosts act on whether or not they see the row.
        """
        if not self.allows(command):
            raise NotAllowed(command, Status(self.status), deleting=self.deleting)
        with transaction.atomic():
            row = SessionCommand.objects.create(session=self, verb=command.value, arguments=arguments, requested_by=by)
            changes = wish_of(command)
            if changes:
                WhatsAppSession.objects.filter(pk=self.pk).update(**changes, updated_at=Now())
            if by != SCHEDULE:
                # The schedule asks 720 times a day; the backups that it asks for are listed by themselves.
                self.record("command", actor=by, command=command.value)
        for name, value in changes.items():
            setattr(self, name, value)
        return row

    def withdraw(self, command: SessionCommand, *, desired: str) -> bool:
        """Take a command back that no host has begun, and what `request()` changed with it; `desired` is what was wished before.

        False where a host has begun it: then it cannot be taken back.
        """
        with transaction.atomic():
            if not command.withdraw():
                return False
            mine = WhatsAppSession.objects.filter(pk=self.pk, desired=self.desired)
            mine.exclude(commands__pk__gt=command.pk).update(desired=desired, updated_at=Now())
            self.record("command", actor=command.requested_by, command=command.verb, outcome=command.Outcome.WITHDRAWN)
        return True

    def expect(self, phone: str, *, by: str) -> None:
        """Bind the session to this number (digits; "" to any): another phone is unlinked as soon as it has been linked.

        Raises `AlreadyLinked` where another one is linked now.
        """
        if phone and self.phone and self.paired_at and not numbers.same_line(phone, self.phone):
            raise AlreadyLinked
        with transaction.atomic():
            WhatsAppSession.objects.filter(pk=self.pk).update(expected_phone=phone, updated_at=Now())
            self.record("expected", actor=by, number=f"+{phone}" if phone else "–")
        self.expected_phone = phone

    def expects(self, phone: str) -> bool:
        """Whether a phone with this number may be linked, as the database says now."""
        expected = WhatsAppSession.objects.filter(pk=self.pk).values_list("expected_phone", flat=True).first()
        return not expected or numbers.same_line(expected, phone)

    def use_up_links(self) -> None:
        """A phone is linked: links that customers have for that open nothing any more."""
        self.pairing_links.filter(used_at=None).update(used_at=Now())

    def send_text(self, to: str, text: str, *, by: str, lasts: timedelta = QUEUE_LASTS) -> Message:
        """Queue a text; see `send`."""
        return self.send(Draft(to, text), by=by, lasts=lasts)

    def send(self, draft: Draft, *, by: str, lasts: timedelta = QUEUE_LASTS) -> Message:
        """Queue a message; it goes out when the session is connected, and is given up where that takes longer than `lasts`.

        Raises `NotLinked` and `QueueFull`.
        """
        with transaction.atomic():
            # The lock makes the limit exact, and has messages numbered in the order in which they can be seen.
            linked = WhatsAppSession.objects.select_for_update(no_key=True).filter(
                pk=self.pk, creds__isnull=False, deleting=False
            )
            if not linked.values_list("pk"):
                raise NotLinked
            waiting = self.messages.filter(direction=Message.Direction.OUT, status=Message.MessageStatus.QUEUED)
            if waiting.count() >= settings.OXY_QUEUE_LIMIT or (draft.file and self._files_are_full()):
                raise QueueFull
            message = Message.objects.create(
                session=self,
                direction=Message.Direction.OUT,
                status=Message.MessageStatus.QUEUED,
                chat=draft.chat,
                kind=draft.kind,
                text=draft.text,
                content=draft.content or None,
                about=draft.about.code if draft.about else None,
                requested_by=by,
                expires_at=timezone.now() + lasts,
            )
            if draft.file:
                MessageFile.of(message, draft.file)
            return message

    def _files_are_full(self) -> bool:
        """Whether the files of messages that wait take all the room that they may; one more is let in below that."""
        sizes = MessageFile.objects.filter(message__session=self).aggregate(models.Sum("size"))["size__sum"] or 0
        return int(sizes) >= settings.OXY_FILES_LIMIT
