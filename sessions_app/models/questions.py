"""What programs ask of WhatsApp through a session that is connected: rows that live for as long as somebody waits for the answer."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from sessions_app.vault import crypto


class Question(models.Model):
    """One question: written by who asks, taken by the host of the session, and deleted by who asked. It changes nothing, so that an
    answer that comes too late is simply nobody's."""

    class Kind(models.TextChoices):
        NUMBER = "number", _("is this number on WhatsApp?")
        GROUPS = "groups", _("which groups is it in?")
        FILE = "file", _("the file of a message")

    session = models.ForeignKey("sessions_app.WhatsAppSession", on_delete=models.CASCADE, related_name="questions")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    arguments = models.JSONField(default=dict)
    asked_at = models.DateTimeField(db_default=Now())
    taken_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)
    answer = models.JSONField(default=dict)
    #: A file that was asked for.
    sealed = models.BinaryField(null=True)
    #: Whether nobody could answer.
    failed = models.BooleanField(default=False)

    class Meta:
        indexes: ClassVar = [
            # Read by hosts several times a second.
            models.Index(fields=["session"], name="oxy_question_open", condition=models.Q(taken_at=None)),
        ]

    def __str__(self) -> str:
        return self.kind

    @classmethod
    def settle(cls, pk: int, *, data: bytes | None = None, session_id: str = "", **answer: object) -> None:
        """Write the answer, where somebody still waits for it."""
        sealed = None if data is None else crypto.seal(data, session_id, "asked-file")
        cls.objects.filter(pk=pk, answered_at=None).update(answered_at=Now(), answer=answer, sealed=sealed)

    @classmethod
    def fail(cls, pk: int) -> None:
        cls.objects.filter(pk=pk, answered_at=None).update(answered_at=Now(), failed=True)

    @property
    def data(self) -> bytes:
        assert self.sealed is not None
        return crypto.unseal(bytes(self.sealed), self.session.session_id, "asked-file")
