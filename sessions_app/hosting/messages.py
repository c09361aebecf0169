"""Messages and receipts that came in, as rows; called after the keys that they changed are in the vault."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from sessions_app.engine.events import MessageReceived, ReceiptReceived
from sessions_app.models import Message, WhatsAppSession

_S = Message.MessageStatus
#: What a receipt of this kind makes of a message that is in one of these statuses.
_RECEIPTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "delivered": (_S.DELIVERED, (_S.SENDING, _S.SENT)),
    "read": (_S.READ, (_S.SENDING, _S.SENT, _S.DELIVERED)),
    "played": (_S.READ, (_S.SENDING, _S.SENT, _S.DELIVERED)),
}


def record_received(session: WhatsAppSession, events: Iterable[MessageReceived]) -> None:
    """Write messages once: a spool that is read again after a crash adds nothing."""
    Message.objects.bulk_create([_row(session, event) for event in events], ignore_conflicts=True)


def record_receipt(session: WhatsAppSession, event: ReceiptReceived) -> bool:
    """Move our own messages on; a receipt that comes late never moves one back. Returns whether we have those messages."""
    if event.kind not in _RECEIPTS:
        return True
    status, before = _RECEIPTS[event.kind]
    ours = session.messages.filter(direction=Message.Direction.OUT, message_id__in=event.message_ids)
    return bool(ours.filter(status__in=before).update(status=status)) or ours.exists()


def _row(session: WhatsAppSession, event: MessageReceived) -> Message:
    return Message(
        session=session,
        direction=Message.Direction.OUT if event.from_me else Message.Direction.IN,
        status=_S.SENT if event.from_me else _S.RECEIVED,
        message_id=event.message_id[:128],
        chat=event.chat[:80],
        sender=event.sender[:80],
        text=event.text.replace("\0", ""),  # PostgreSQL stores no NUL
        kind=event.kind[:40],
        sent_at=datetime.fromtimestamp(event.timestamp, UTC) if event.timestamp else None,
    )
