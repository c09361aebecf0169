"""What happens to a session over time: pairing rounds, events, commands."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from sessions_app.lifecycle import Command
from sessions_app.querysets import CommandQuerySet
from sessions_app.vault import crypto


class PairingRound(models.Model):
    """One round of codes: the present code with its times, and how the round ended."""

    session = models.ForeignKey(
        "sessions_app.WhatsAppSession", on_delete=models.CASCADE, related_name="rounds", verbose_name=_("session")
    )
    epoch = models.PositiveBigIntegerField(_("number of the lease"))
    started_at = models.DateTimeField(_("began"), db_default=Now())
    ended_at = models.DateTimeField(_("ended"), null=True)
    outcome = models.CharField(_("outcome"), max_length=40, blank=True)
    #: Position of the present QR code, from 1; 0 until the first one.
    index = models.PositiveSmallIntegerField(_("code"), default=0)
    of = models.PositiveSmallIntegerField(_("codes in all"), default=6)
    sealed_code = models.BinaryField(null=True)
    issued_at = models.DateTimeField(_("code since"), null=True)
    expires_at = models.DateTimeField(_("code until"), null=True)
    sealed_pairing_code = models.BinaryField(null=True)
    pairing_code_phone = models.CharField(max_length=20, blank=True)

    class Meta:
        verbose_name = _("pairing round")
        verbose_name_plural = _("pairing rounds")

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

    session = models.ForeignKey(
        "sessions_app.WhatsAppSession", on_delete=models.CASCADE, related_name="events", verbose_name=_("session")
    )
    at = models.DateTimeField(_("when"), db_default=Now())
    kind = models.CharField(_("kind"), max_length=20)
    status = models.CharField(_("status"), max_length=12, blank=True)
    reason = models.CharField(_("reason"), max_length=40, blank=True)
    actor = models.CharField(_("who"), max_length=150)
    host = models.CharField(_("worker"), max_length=100, blank=True)
    epoch = models.PositiveBigIntegerField(_("number of the lease"), default=0)
    detail = models.JSONField(_("details"), default=dict)

    class Meta:
        verbose_name = _("timeline entry")
        verbose_name_plural = _("timeline entries")
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [models.Index(fields=["session", "-id"], name="oxy_event_timeline")]

    def __str__(self) -> str:
        return f"{self.kind} {self.status}{self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """The entry as the API shows it."""
        names = ("at", "kind", "status", "reason", "actor", "host", "detail")
        return {"id": self.pk, **{name: getattr(self, name) for name in names}}


class SessionCommand(models.Model):
    """What somebody asked for: taken by the host that has the session, and answered with an outcome."""

    class Outcome(models.TextChoices):
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        WITHDRAWN = "withdrawn", _("withdrawn")

    session = models.ForeignKey(
        "sessions_app.WhatsAppSession", on_delete=models.CASCADE, related_name="commands", verbose_name=_("session")
    )
    verb = models.CharField(_("command"), max_length=20, choices=[(c.value, c.value) for c in Command])
    arguments = models.JSONField(_("details"), default=dict)
    requested_by = models.CharField(_("asked by"), max_length=150)
    created_at = models.DateTimeField(_("asked"), db_default=Now())
    taken_at = models.DateTimeField(_("taken"), null=True)
    done_at = models.DateTimeField(_("finished"), null=True)
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices, blank=True)
    #: A sentence for people where the outcome is not `done`.
    error = models.CharField(_("what went wrong"), max_length=300, blank=True)

    objects = CommandQuerySet.as_manager()

    class Meta:
        verbose_name = _("command")
        verbose_name_plural = _("commands")
        indexes: ClassVar = [
            # Read by hosts several times a second.
            models.Index(fields=["session"], name="oxy_command_open", condition=models.Q(done_at=None)),
        ]

    def __str__(self) -> str:
        return self.verb

    def finish(self, outcome: str = Outcome.DONE, error: str = "") -> None:
        """Write the outcome once; a later one is ignored."""
        SessionCommand.objects.filter(pk=self.pk, done_at=None).update(done_at=Now(), outcome=outcome, error=error)

    def withdraw(self) -> bool:
        """Take it back where no host has taken it. One UPDATE on the column that a host's taking needs too: only one of them wins."""
        withdrawn = SessionCommand.objects.filter(pk=self.pk, taken_at=None, done_at=None)
        return bool(withdrawn.update(taken_at=Now(), done_at=Now(), outcome=self.Outcome.WITHDRAWN))
