"""The rows of Oxy: sessions and their vault, hosts, commands, the timeline, backups and messages.

Machine-owned rows (hosts, leases, blobs) are written by `hosting` and `vault` with conditional updates. The verbs that people
and programs use (`request()`, `send()`) are methods of the session; each writes its intention and nothing else.
"""

from __future__ import annotations

from sessions_app.models.access import OwnerLimit, PairingLink, SignInFailures
from sessions_app.models.alerts import Alert
from sessions_app.models.files import FILE_KINDS, DraftFile, MessageFile, ReceivedFile
from sessions_app.models.foreign import ForeignFile, ForeignState
from sessions_app.models.hosts import DatabaseIdentity, Host, LayerMessage
from sessions_app.models.messages import Draft, Message
from sessions_app.models.outbox import EventCounter, EventName, OutboxEvent
from sessions_app.models.questions import Question
from sessions_app.models.samples import Sample
from sessions_app.models.sessions import (
    PHONE_WARNINGS,
    SCHEDULE,
    SYSTEM,
    WHATSAPP,
    AlreadyLinked,
    NotAllowed,
    NotLinked,
    QueueFull,
    WhatsAppSession,
    new_session_id,
)
from sessions_app.models.timeline import PairingRound, SessionCommand, SessionEvent
from sessions_app.models.tokens import DEFAULT_SCOPES, ApiToken, IdempotentRequest, Scope
from sessions_app.models.vault import AuthBlob, Backup, VaultCheck
from sessions_app.models.webhooks import DeliveryTurn, Webhook, WebhookDelivery, WebhookStream

__all__ = [
    "DEFAULT_SCOPES",
    "FILE_KINDS",
    "PHONE_WARNINGS",
    "SCHEDULE",
    "SYSTEM",
    "WHATSAPP",
    "Alert",
    "AlreadyLinked",
    "ApiToken",
    "AuthBlob",
    "Backup",
    "DatabaseIdentity",
    "DeliveryTurn",
    "Draft",
    "DraftFile",
    "EventCounter",
    "EventName",
    "ForeignFile",
    "ForeignState",
    "Host",
    "IdempotentRequest",
    "LayerMessage",
    "Message",
    "MessageFile",
    "NotAllowed",
    "NotLinked",
    "OutboxEvent",
    "OwnerLimit",
    "PairingLink",
    "PairingRound",
    "Question",
    "QueueFull",
    "ReceivedFile",
    "Sample",
    "Scope",
    "SessionCommand",
    "SessionEvent",
    "SignInFailures",
    "VaultCheck",
    "Webhook",
    "WebhookDelivery",
    "WebhookStream",
    "WhatsAppSession",
    "new_session_id",
]
