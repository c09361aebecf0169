"""Messages of sessions, in and out."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from sessions_app.models.files import DraftFile
from sessions_app.querysets import MessageQuerySet

#: What programs and people are told a message is, by its kind: ours, or the name of WhatsApp's field; others keep that name.
TYPES = {
    "conversation": "text",
    "extendedTextMessage": "text",
    "imageMessage": "image",
    "documentMessage": "document",
    "documentWithCaptionMessage": "document",
    "audioMessage": "audio",
    "videoMessage": "video",
    "ptvMessage": "video",
    "stickerMessage": "sticker",
    "locationMessage": "location",
    "liveLocationMessage": "location",
    "contactMessage": "contact",
    "contactsArrayMessage": "contacts",
    "reactionMessage": "reaction",
    "pollCreationMessage": "poll",
    "pollCreationMessageV2": "poll",
    "pollCreationMessageV3": "poll",
}


@dataclass(frozen=True)
class Draft:
    """What is to be sent. `to` is a phone number (E.164, with or without plus) or a JID; `about` the message that it answers or
    reacts to."""

    to: str
    text: str = ""
    kind: str = "text"
    content: dict[str, Any] = field(default_factory=dict)
    about: Message | None = None
    file: DraftFile | None = None

    @property
    def chat(self) -> str:
        return self.to if "@" in self.to else f"{self.to.removeprefix('+')}@s.whatsapp.net"


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

    session = models.ForeignKey(
        "sessions_app.WhatsAppSession", on_delete=models.CASCADE, related_name="messages", verbose_name=_("session")
    )
    code = models.UUIDField(_("id"), default=uuid.uuid4, unique=True)
    direction = models.CharField(_("direction"), max_length=3, choices=Direction.choices)
    #: WhatsApp's id; empty for an outgoing message that was not sent yet.
    message_id = models.CharField(_("WhatsApp's id"), max_length=128, blank=True)
    chat = models.CharField(_("chat"), max_length=80)
    sender = models.CharField(_("sender"), max_length=80, blank=True)
    text = models.TextField(_("text"), blank=True)
    kind = models.CharField(_("kind"), max_length=40, default="text")
    #: What this kind carries besides its text: docs/api.md, "Kinds of messages".
    content = models.JSONField(_("content"), null=True)
    #: The code of the message that it answers or reacts to: no key, since that one may be forgotten first.
    about = models.UUIDField(_("about"), null=True)
    status = models.CharField(_("status"), max_length=10, choices=MessageStatus.choices)
    reason = models.CharField(_("reason"), max_length=40, blank=True)
    requested_by = models.CharField(_("asked by"), max_length=150, blank=True)
    #: An outgoing message that is still queued then is not sent any more.
    expires_at = models.DateTimeField(_("waits until"), null=True)
    created_at = models.DateTimeField(_("made"), db_default=Now())
    #: WhatsApp's own time of the message.
    sent_at = models.DateTimeField(_("sent"), null=True)

    objects = MessageQuerySet.as_manager()

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["session", "-id"], name="oxy_message_latest"),
            # Messages of today, for the sessions on a page.
            models.Index(fields=["session", "created_at"], name="oxy_message_by_day"),
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

    @property
    def type(self) -> str:
        return TYPES.get(self.kind, self.kind)

    def to_dict(self) -> dict[str, Any]:
        """The message as the API and events show it; `content` and `about` only where there is something to say."""
        more = {"content": self.content, "about": str(self.about) if self.about else None}
        return {
            "id": str(self.code),
            "direction": self.direction,
            "chat": self.chat,
            "sender": self.sender,
            "text": self.text,
            "type": self.type,
            "status": self.status,
            "reason": self.reason,
            "created_at": self.created_at,
            **{name: value for name, value in more.items() if value},
        }
