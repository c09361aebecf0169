"""Messages and receipts that came in, as rows; called after the keys that they changed are in the vault."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from sessions_app.engine.events import MessageReceived, MessageUndecryptable, ReceiptReceived
from sessions_app.hosting.away import DATABASE_AWAY
from sessions_app.models import EventName, Message, WhatsAppSession
from sessions_app.models.outbox import write_messages
from sessions_app.vault.keys import printable

log = logging.getLogger(__name__)

_S = Message.MessageStatus
#: What a receipt of this kind makes of a message that is in one of these statuses.
_RECEIPTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "delivered": (_S.DELIVERED, (_S.SENDING, _S.SENT)),
    "read": (_S.READ, (_S.SENDING, _S.SENT, _S.DELIVERED)),
    "played": (_S.READ, (_S.SENDING, _S.SENT, _S.DELIVERED)),
}
#: What devices tell each other; nobody wrote it.
_NOT_FOR_PEOPLE = frozenset({"protocolMessage", "senderKeyDistributionMessage", ""})
#: The kind of a message that came and could not be read; its sender is asked to send it again under the same id.
UNREADABLE = "unreadable"


def record_received(session: WhatsAppSession, events: Iterable[MessageReceived]) -> None:
    """Write messages once: a spool that is read again after a crash adds nothing, and tells programs nothing again."""
    rows = [_row(session, event) for event in events if event.kind not in _NOT_FOR_PEOPLE]
    with transaction.atomic():
        session.messages.filter(kind=UNREADABLE, message_id__in=[row.message_id for row in rows]).delete()
        Message.objects.bulk_create(rows, ignore_conflicts=True)
        # A row that was ignored is not found by the code that it was given here.
        write_messages(session, EventName.MESSAGE_RECEIVED, [row.code for row in rows if row.direction == "in"])
        write_messages(session, EventName.MESSAGE_STATUS, [row.code for row in rows if row.direction == "out"])


def record_what_can_be(session: WhatsAppSession, events: list[MessageReceived]) -> None:
    """`record_received`; where one of them cannot be stored, it is logged, and does not keep away those behind it."""
    try:
        record_received(session, events)
    except DATABASE_AWAY:
        raise
    except Exception:
        if len(events) > 1:
            for event in events:
                record_what_can_be(session, [event])
        else:
            log.exception(
                "message_not_stored", extra={"session": session.session_id, "message_id": events[0].message_id}
            )


def record_unreadable(session: WhatsAppSession, event: MessageUndecryptable) -> None:
    """Write down that a message came which nobody can read, so that it is not lost in silence; nothing for a known one.

    WhatsApp delivers the last messages again after a crash, and the library, which has used up their keys, can read them no more:
    those that had reached us are here already.
    """
    if session.messages.filter(message_id=event.message_id).exists():
        return
    with transaction.atomic():
        row = Message.objects.create(
            session=session,
            direction=Message.Direction.IN,
            status=_S.RECEIVED,
            kind=UNREADABLE,
            message_id=printable(event.message_id)[:128],
            chat=printable(event.chat)[:80],
            sender=printable(event.sender)[:80],
        )
        write_messages(session, EventName.MESSAGE_RECEIVED, [row.code])


def record_receipt(session: WhatsAppSession, event: ReceiptReceived) -> bool:
    """Move our own messages on; a receipt that comes late never moves one back. Returns whether we have those messages."""
    if event.kind not in _RECEIPTS:
        return True
    status, before = _RECEIPTS[event.kind]
    named = [printable(message_id) for message_id in event.message_ids]
    ours = session.messages.filter(direction=Message.Direction.OUT, message_id__in=named)
    return bool(move(session, ours.filter(status__in=before), status=status)) or ours.exists()


def move(session: WhatsAppSession, rows: QuerySet[Message], **changes: Any) -> int:
    """Change these messages of a session and tell programs, both or neither; returns how many there were."""
    with transaction.atomic():
        codes = list(rows.select_for_update().values_list("code", flat=True))
        if codes:
            Message.objects.filter(code__in=codes).update(**changes)
            write_messages(session, EventName.MESSAGE_STATUS, codes)
    return len(codes)


def _row(session: WhatsAppSession, event: MessageReceived) -> Message:
    sender = known_number(event.sender, event.sender_alt)
    chat = sender if not event.is_group and event.chat == event.sender else event.chat
    return Message(
        session=session,
        direction=Message.Direction.OUT if event.from_me else Message.Direction.IN,
        status=_S.SENT if event.from_me else _S.RECEIVED,
        message_id=printable(event.message_id)[:128],
        chat=printable(chat)[:80],
        sender=printable(sender)[:80],
        text=printable(event.text),
        kind=event.kind[:40],
        sent_at=datetime.fromtimestamp(event.timestamp, UTC) if event.timestamp else None,
    )


def known_number(jid: str, other: str) -> str:
    """The address with the phone number, where WhatsApp names somebody by an LID and gives the number beside it."""
    return other if jid.endswith("@lid") and other.endswith("@s.whatsapp.net") else jid
