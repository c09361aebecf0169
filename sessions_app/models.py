"""The rows of Oxy: sessions and their vault, hosts, commands, the timeline, backups and messages.

Machine-owned rows (hosts, leases, blobs) are written by `hosting` and `vault` with conditional updates. The verbs that people
and programs use (`request_start()`, ...) are methods here; each writes its intention and nothing else.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.core.validators import RegexValidator
from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from sessions_app import lifecycle, reasons
from sessions_app.lifecycle import Command, Event, Status
from sessions_app.querysets import CommandQuerySet, HostQuerySet, SessionQuerySet
from sessions_app.reasons import Reason
from sessions_app.vault import crypto

if TYPE_CHECKING:
    from datetime import datetime

#: Who did it, where nobody in particular did: shown in the timeline.
SYSTEM, WHATSAPP = "system", "whatsapp"


def new_session_id() -> str:
    """A public id for a session whose creator named none: 12 hex digits."""
    return uuid.uuid4().hex[:12]


class NotAllowed(Exception):
    """A command that this session's status does not allow; the text is for people."""

    def __init__(self, command: Command, status: Status) -> None:
        self.command, self.status, self.allowed = command, status, sorted(lifecycle.allowed(status))
        super().__init__(f"{command.value} is not possible while the session is {status.value}.")


class Host(models.Model):
    """A django-q task that owns sessions. It is alive while `beat_at` is recent, by the database's clock."""

    name = models.CharField(max_length=100, unique=True)
    #: Which machine, since its start, and which process there: a neighbour sees at once that it is dead (hosting/neighbours.py).
    machine = models.CharField(max_length=100, blank=True)
    pid = models.PositiveIntegerField()
    pid_started = models.PositiveBigIntegerField(default=0)
    version = models.CharField(max_length=40, blank=True)
    library = models.CharField(max_length=80, blank=True)
    capacity = models.PositiveIntegerField(default=0)
    session_path = models.CharField(max_length=500, blank=True)
    #: The session path of the settings could not be written, and another is used.
    path_fell_back = models.BooleanField(default=False)
    stopping = models.BooleanField(default=False)
    started_at = models.DateTimeField(db_default=Now())
    beat_at = models.DateTimeField(db_default=Now())

    objects = HostQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


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
            RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._-]*$", _("Letters, digits, dot, dash and underscore only."))
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
    retry_at = models.DateTimeField(null=True, editable=False)
    deleting = models.BooleanField(default=False, editable=False)

    # The vault's main record, in the shape of Baileys' creds.json; every private half is sealed (vault/keys.py).
    creds = models.JSONField(null=True, editable=False)
    #: The epoch under which the vault was last written.
    vault_epoch = models.PositiveBigIntegerField(default=0, editable=False)

    phone = models.CharField(_("phone"), max_length=20, blank=True, editable=False)
    jid = models.CharField("JID", max_length=80, blank=True, editable=False)
    lid = models.CharField("LID", max_length=80, blank=True, editable=False)
    push_name = models.CharField(_("push name"), max_length=200, blank=True, editable=False)
    proxy_url = models.BinaryField(null=True, editable=False)

    lease_host = models.ForeignKey(
        Host, null=True, on_delete=models.SET_NULL, related_name="sessions", editable=False, verbose_name=_("host")
    )
    lease_until = models.DateTimeField(null=True, editable=False)
    lease_epoch = models.PositiveBigIntegerField(default=0, editable=False)
    #: The last holder gave the lease back after writing everything through.
    lease_clean = models.BooleanField(default=True, editable=False)

    created_at = models.DateTimeField(_("created"), db_default=Now(), editable=False)
    updated_at = models.DateTimeField(_("changed"), db_default=Now(), editable=False)
    status_at = models.DateTimeField(db_default=Now(), editable=False)
    paired_at = models.DateTimeField(null=True, editable=False)
    last_connected_at = models.DateTimeField(_("last connected"), null=True, editable=False)
    last_backup_at = models.DateTimeField(_("last backup"), null=True, editable=False)

    objects = SessionQuerySet.as_manager()

    class Meta:
        verbose_name = _("WhatsApp session")
        verbose_name_plural = _("WhatsApp sessions")
        ordering: ClassVar = ["name", "session_id"]
        indexes: ClassVar = [
            # Read by hosts several times a second: SessionQuerySet.claimable().
            models.Index(fields=["desired", "lease_until"], name="oxy_session_claim"),
            models.Index(fields=["status"], name="oxy_session_status"),
        ]

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

    def allows(self, command: Command) -> bool:
        return not self.deleting and command in lifecycle.allowed(Status(self.status))

    def to_dict(self) -> dict[str, Any]:
        """The session as the API shows it; never a secret."""
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
            "has_creds": self.has_creds,
            "last_connected_at": self.last_connected_at,
            "last_backup_at": self.last_backup_at,
            "host": self.lease_host.name if self.lease_host else None,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
        }

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

        One UPDATE, conditional on the lease's epoch and on the status that was read; the timeline gets a row in the same
        transaction. Returns False, and changes nothing, where the epoch has passed. Raises `IllegalTransition`.
        """
        new = lifecycle.advance(Status(self.status), event)
        fields = {"status": new.value, "reason": reason.value, "retry_at": retry_at, **changes}
        with transaction.atomic():
            moved = WhatsAppSession.objects.filter(pk=self.pk, lease_epoch=epoch, status=self.status).update(
                **fields, updated_at=Now(), **({"status_at": Now()} if new != self.status else {})
            )
            if not moved:
                return False
            if new != self.status or reason.value != self.reason:
                self.record("status", status=new.value, reason=reason.value, actor=actor)
        for name, value in fields.items():
            setattr(self, name, value)
        return True

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
            raise NotAllowed(command, Status(self.status))
        with transaction.atomic():
            row = SessionCommand.objects.create(session=self, verb=command.value, arguments=arguments, requested_by=by)
            changes: dict[str, Any] = {}
            if command in (Command.START, Command.RESTART, Command.PAIRING_CODE):
                changes["desired"] = self.Desired.RUNNING
            elif command in (Command.STOP, Command.LOGOUT):
                changes["desired"] = self.Desired.STOPPED
            elif command is Command.DELETE:
                changes |= {"desired": self.Desired.STOPPED, "deleting": True}
            if changes:
                WhatsAppSession.objects.filter(pk=self.pk).update(**changes, updated_at=Now())
            self.record("command", actor=by, command=command.value)
        for name, value in changes.items():
            setattr(self, name, value)
        return row


    def send_text(self, to: str, text: str, *, by: str) -> Message:
        """Queue a text to a phone number (E.164, with or without plus) or a JID; it goes out when the session is connected."""
        return Message.objects.create(
            session=self,
            direction=Message.Direction.OUT,
            status=Message.MessageStatus.QUEUED,
            chat=to if "@" in to else f"{to.removeprefix('+')}@s.whatsapp.net",
            text=text,
            requested_by=by,
        )


class AuthBlob(models.Model):
    """One key of a session's vault; `data_value` is sealed with the session and `data_key` as associated data."""

    session = models.ForeignKey(WhatsAppSession, on_delete=models.CASCADE, related_name="blobs")
    data_key = models.CharField(max_length=255)
    data_value = models.BinaryField()
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["session", "data_key"], name="oxy_blob_key")]

    def __str__(self) -> str:
        return self.data_key


class LayerMessage(models.Model):
    """News on its way between processes (`channel_layer`): all of it on SQLite, what NOTIFY cannot carry on PostgreSQL. Gone after a minute."""

    body = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    def __str__(self) -> str:
        return f"news {self.pk}"


class VaultCheck(models.Model):
    """A known text sealed with each encryption key in use: a wrong key is found at start, not at the first read."""

    key_id = models.CharField(max_length=16, unique=True)
    sealed = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.key_id


class PairingRound(models.Model):
    """One round of codes: the present code with its times, and how the round ended."""

    session = models.ForeignKey(WhatsAppSession, on_delete=models.CASCADE, related_name="rounds")
    epoch = models.PositiveBigIntegerField()
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=40, blank=True)
    #: Position of the present QR code, from 1; 0 until the first one.
    index = models.PositiveSmallIntegerField(default=0)
    of = models.PositiveSmallIntegerField(default=6)
    sealed_code = models.BinaryField(null=True)
    issued_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    sealed_pairing_code = models.BinaryField(null=True)
    pairing_code_phone = models.CharField(max_length=20, blank=True)

    def __str__(self) -> str:
        return f"round {self.pk}"

    @property
    def code(self) -> str | None:
        """The QR text, while it can still be scanned; else None."""
        alive = self.ended_at is None and self.expires_at is not None and self.expires_at > timezone.now()
        return self._open("qr-code", self.sealed_code) if alive else None

    @property
    def pairing_code(self) -> str | None:
        """The code to type on the phone, `ABCD-1234`, while the round is on; else None."""
        return self._open("pairing-code", self.sealed_pairing_code) if self.ended_at is None else None

    @property
    def remaining(self) -> timedelta:
        """How long the present QR code lives; never negative."""
        return max(timedelta(0), self.expires_at - timezone.now()) if self.expires_at else timedelta(0)

    def _open(self, name: str, sealed: bytes | memoryview | None) -> str | None:
        return crypto.unseal(bytes(sealed), self.session.session_id, name).decode() if sealed else None


class SessionEvent(models.Model):
    """The timeline: what happened to a session, why, and who did it. `kind` is `status`, `command`, `backup`, `pairing`, `vault`, ..."""

    session = models.ForeignKey(WhatsAppSession, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(db_default=Now())
    kind = models.CharField(max_length=20)
    status = models.CharField(max_length=12, blank=True)
    reason = models.CharField(max_length=40, blank=True)
    actor = models.CharField(max_length=150)
    host = models.CharField(max_length=100, blank=True)
    epoch = models.PositiveBigIntegerField(default=0)
    detail = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [models.Index(fields=["session", "-id"], name="oxy_event_timeline")]

    def __str__(self) -> str:
        return f"{self.kind} {self.status}{self.reason}"


class SessionCommand(models.Model):
    """What somebody asked for: taken by the host that has the session, and answered with an outcome."""

    class Outcome(models.TextChoices):
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        WITHDRAWN = "withdrawn", _("withdrawn")

    session = models.ForeignKey(WhatsAppSession, on_delete=models.CASCADE, related_name="commands")
    verb = models.CharField(max_length=20, choices=[(c.value, c.value) for c in Command])
    arguments = models.JSONField(default=dict)
    requested_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(db_default=Now())
    taken_at = models.DateTimeField(null=True)
    done_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=10, choices=Outcome.choices, blank=True)
    #: A sentence for people where the outcome is not `done`.
    error = models.CharField(max_length=300, blank=True)

    objects = CommandQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            # Read by hosts several times a second.
            models.Index(fields=["session"], name="oxy_command_open", condition=models.Q(done_at=None)),
        ]

    def __str__(self) -> str:
        return self.verb

    def finish(self, outcome: str = Outcome.DONE, error: str = "") -> None:
        """Write the outcome once; a later one is ignored."""
        SessionCommand.objects.filter(pk=self.pk, done_at=None).update(done_at=Now(), outcome=outcome, error=error)


class Backup(models.Model):
    """One full comparison of a live store with its vault. `differed` counts the keys that the write-through had missed."""

    session = models.ForeignKey(WhatsAppSession, on_delete=models.CASCADE, related_name="backups")
    at = models.DateTimeField(db_default=Now())
    keys = models.PositiveIntegerField()
    bytes = models.PositiveBigIntegerField()
    duration_ms = models.PositiveIntegerField()
    differed = models.PositiveIntegerField(default=0)
    #: The first few names of keys that differed.
    detail = models.JSONField(default=list)

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [models.Index(fields=["session", "-id"], name="oxy_backup_latest")]

    def __str__(self) -> str:
        return f"{self.keys} keys"


class Message(models.Model):
    """A message of a session, in or out. An outgoing one is written before it is sent."""

    class Direction(models.TextChoices):
        IN = "in", _("in")
        OUT = "out", _("out")

    class MessageStatus(models.TextChoices):
        QUEUED = "queued", _("queued")
        SENDING = "sending", _("sending")
        SENT = "sent", _("sent")
        DELIVERED = "delivered", _("delivered")
        READ = "read", _("read")
        FAILED = "failed", _("failed")
        RECEIVED = "received", _("received")

    session = models.ForeignKey(WhatsAppSession, on_delete=models.CASCADE, related_name="messages")
    code = models.UUIDField(default=uuid.uuid4, unique=True)
    direction = models.CharField(max_length=3, choices=Direction.choices)
    #: WhatsApp's id; empty for an outgoing message that was not sent yet.
    message_id = models.CharField(max_length=128, blank=True)
    chat = models.CharField(max_length=80)
    sender = models.CharField(max_length=80, blank=True)
    text = models.TextField(blank=True)
    kind = models.CharField(max_length=40, default="text")
    status = models.CharField(max_length=10, choices=MessageStatus.choices)
    reason = models.CharField(max_length=40, blank=True)
    requested_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    #: WhatsApp's own time of the message.
    sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["session", "-id"], name="oxy_message_latest"),
            # Read by hosts several times a second.
            models.Index(fields=["session", "id"], name="oxy_message_queue", condition=models.Q(status="queued")),
        ]
        constraints: ClassVar = [
            # A spool that is read again after a crash writes no message twice.
            models.UniqueConstraint(
                fields=["session", "direction", "chat", "sender", "message_id"],
                condition=~models.Q(message_id=""),
                name="oxy_message_once",
            )
        ]

    def __str__(self) -> str:
        return f"{self.direction} {self.kind}"


__all__ = [
    "AuthBlob",
    "Backup",
    "Host",
    "LayerMessage",
    "Message",
    "NotAllowed",
    "PairingRound",
    "SessionCommand",
    "SessionEvent",
    "VaultCheck",
    "WhatsAppSession",
]
