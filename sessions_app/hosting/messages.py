"""Messages and receipts that came in, as rows; called after the keys that they changed are in the vault."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from sessions_app.engine.events import MessageReceived, MessageUndecryptable, ReceiptReceived
from sessions_app.hosting.away import DATABASE_AWAY
from sessions_app.models import EventName, Message, ReceivedFile, WhatsAppSession
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
#: What devices tell each other; nobody wrote it. A sender key comes as an empty message, under the id of the one that it opens.
_NOT_FOR_PEOPLE = frozenset({"protocolMessage", "senderKeyDistributionMessage", "empty", ""})
#: The kind of a message that came and could not be read; its sender is asked to send it again under the same id.
UNREADABLE = "unreadable"


def record_received(session: WhatsAppSession, events: Iterable[MessageReceived]) -> None:
    """Write messages once: a spool that is read again after a crash adds nothing, and tells programs nothing again."""
    shown = [event for event in events if event.kind not in _NOT_FOR_PEOPLE]
    known = _codes(session, {printable(event.about) for event in shown} - {""})
    rows = [_row(session, event, known) for event in shown]
    with transaction.atomic():
        session.messages.filter(kind=UNREADABLE, message_id__in=[row.message_id for row in rows]).delete()
        Message.objects.bulk_create(rows, ignore_conflicts=True)
        _keep_files(session, rows, shown)
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


def _keep_files(session: WhatsAppSession, rows: list[Message], events: list[MessageReceived]) -> None:
    """Keep what it takes to download the files of those that are new."""
    files = {row.code: event.file for row, event in zip(rows, events, strict=True) if event.file}
    if files:
        new = Message.objects.filter(session=session, code__in=files).select_related("session")
        ReceivedFile.objects.bulk_create([ReceivedFile.of(message, files[message.code]) for message in new])


def _codes(session: WhatsAppSession, message_ids: set[str]) -> dict[str, uuid.UUID]:
    """Our codes of the messages with these ids of WhatsApp, as far as we have them."""
    if not message_ids:
        return {}
    return dict(session.messages.filter(message_id__in=message_ids).values_list("message_id", "code"))


def _row(session: WhatsAppSession, event: MessageReceived, known: dict[str, uuid.UUID]) -> Message:
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
        content={name: printable(v) if isinstance(v, str) else v for name, v in event.content.items()} or None,
        about=known.get(printable(event.about)),
        sent_at=datetime.fromtimestamp(event.timestamp, UTC) if event.timestamp else None,
    )


def known_number(jid: str, other: str) -> str:
    """The address with the phone number, where WhatsApp names somebody by an LID and gives the number beside it."""
    return other if jid.endswith("@lid") and other.endswith("@s.whatsapp.net") else jid
