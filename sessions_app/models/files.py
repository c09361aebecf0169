"""Files of messages on their way through, beside the rows that lists read: sealed, and gone as soon as nobody needs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models.functions import Now

from sessions_app.vault import crypto

if TYPE_CHECKING:
    from sessions_app.models.messages import Message


#: Kinds of messages that are a file.
FILE_KINDS = ("image", "document", "audio", "video")


@dataclass(frozen=True)
class DraftFile:
    """The bytes of a file, or where to fetch them from."""

    data: bytes = b""
    url: str = ""


class MessageFile(models.Model):
    """The file of a message that waits to be sent: its bytes, or its address until a task has fetched them.

    In the database, because only that survives everything that a queued message must survive; deleted once the message has gone out
    or has failed.
    """

    message = models.OneToOneField("sessions_app.Message", on_delete=models.CASCADE, related_name="file")
    #: Bytes; None until they are fetched.
    sealed = models.BinaryField(null=True)
    #: An address can be a secret in itself.
    sealed_url = models.BinaryField(null=True)
    #: Of the bytes; 0 until they are known.
    size = models.PositiveIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0)
    #: When a task may fetch it (again); None where there is nothing to fetch.
    due_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["due_at"], name="oxy_file_due", condition=models.Q(due_at__isnull=False))
        ]

    def __str__(self) -> str:
        return f"file of {self.message_id}"

    @classmethod
    def of(cls, message: Message, draft: DraftFile) -> Self:
        """Write the file of a message; call it in the transaction that writes the message."""
        row = cls(message=message, size=len(draft.data))
        if draft.url:
            row.sealed_url = crypto.seal(draft.url.encode(), message.session.session_id, "file-url")
        else:
            row.sealed = crypto.seal(draft.data, message.session.session_id, "file")
        row.save(force_insert=True)
        if draft.url:
            cls.objects.filter(pk=row.pk).update(due_at=Now())
        return row

    @property
    def url(self) -> str:
        assert self.sealed_url is not None
        return crypto.unseal(bytes(self.sealed_url), self.message.session.session_id, "file-url").decode()

    @property
    def data(self) -> bytes:
        """Raises `Unreadable` where the key is gone."""
        assert self.sealed is not None
        return crypto.unseal(bytes(self.sealed), self.message.session.session_id, "file")


class ReceivedFile(models.Model):
    """What it takes to download the file of a message that came in: where WhatsApp has it, and the key, sealed. The file itself stays there
    until somebody asks for it."""

    message = models.OneToOneField("sessions_app.Message", on_delete=models.CASCADE, related_name="received_file")
    sealed = models.BinaryField()

    def __str__(self) -> str:
        return f"received file of {self.message_id}"

    @classmethod
    def of(cls, message: Message, location: bytes) -> Self:
        """Not saved yet."""
        return cls(message=message, sealed=crypto.seal(location, message.session.session_id, "received-file"))

    @property
    def location(self) -> bytes:
        """Raises `Unreadable` where the key is gone."""
        return crypto.unseal(bytes(self.sealed), self.message.session.session_id, "received-file")
