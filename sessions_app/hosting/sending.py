"""Outgoing messages of one session: queued → sending → sent, in the order in which they were asked for.

A row is `sending` before its text leaves the host, so that whoever takes the session over after a crash knows which sends are in
doubt. Those end as `failed`, reason `outcome-unknown`: a silent repeat could say something twice. A message is `sent` only when the
keys that it changed are in the vault.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef, QuerySet

from sessions_app.engine import events as ev
from sessions_app.hosting import messages
from sessions_app.hosting.away import DATABASE_AWAY
from sessions_app.hosting.keeper import FILES_NAME
from sessions_app.lifecycle import Status
from sessions_app.models import FILE_KINDS, Message, MessageFile, WhatsAppSession
from sessions_app.reasons import Reason
from sessions_app.vault.crypto import Unreadable

if TYPE_CHECKING:
    from sessions_app.hosting.engines import Engine
    from sessions_app.hosting.runner import Runner

log = logging.getLogger(__name__)

_S = Message.MessageStatus
#: Messages that an engine holds of one session at a time; it sends them one after the other.
IN_FLIGHT = 20
#: Receipts kept for messages whose id is not known yet: a receipt may overtake the word that its message was sent.
EARLY_RECEIPTS = 500


class Outbox:
    """What a runner does about the messages that its session sends."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._in_flight: set[str] = set()
        #: What was said of messages before the engine's word that they went out: receipts, and None where nobody could read it.
        self._early: OrderedDict[str, ev.ReceiptReceived | None] = OrderedDict()
        self.grew = True
        self._lost_track = False

    @property
    def busy(self) -> bool:
        """Whether an engine holds messages that were not answered for yet."""
        return bool(self._in_flight)

    def send_queued(self) -> None:
        """Hand queued messages to the engine, oldest first, while the session is connected."""
        runner = self._runner
        if not self.grew or runner.phase != "running" or runner.session.status != Status.CONNECTED or not runner.engine:
            return
        self.grew = False
        try:
            self._hand_over(runner.engine)
        except DATABASE_AWAY:
            self.grew = self._lost_track = True
            raise

    def _hand_over(self, engine: Engine) -> None:
        queue = self._outgoing
        if self._lost_track:
            # The connection broke as a row was marked. If the mark was stored nevertheless, the engine has never heard of it.
            queue.filter(status=_S.SENDING).exclude(code__in=self._in_flight).update(status=_S.QUEUED)
            self._lost_track = False
        self._runner.session.messages.give_up_expired()
        room = IN_FLIGHT - len(self._in_flight)
        held: set[str] = set()
        for message in self._ready(queue.filter(status=_S.QUEUED))[:room]:
            if message.chat in held:
                continue
            about = self._about(message)
            if about is None:
                # Its turn comes when the one that it is about has gone out; what follows in the chat waits with it.
                held.add(message.chat)
            elif not self._hand_one_over(engine, message, about):
                held.add(message.chat)

    @staticmethod
    def _ready(queued: QuerySet[Message]) -> QuerySet[Message]:
        """Those before which nothing in their chat waits for its file to be fetched, oldest first."""
        waits = MessageFile.objects.filter(
            sealed=None,
            message__session=OuterRef("session"),
            message__chat=OuterRef("chat"),
            message__status=_S.QUEUED,
            message_id__lte=OuterRef("pk"),
        )
        return queued.filter(~Exists(waits)).order_by("pk")

    def _hand_one_over(self, engine: Engine, message: Message, about: dict[str, Any]) -> bool:
        """Whether what follows in its chat may go out, too."""
        if not self._outgoing.filter(pk=message.pk, status=_S.QUEUED).update(status=_S.SENDING):
            return True
        ref = str(message.code)
        if message.about and not about:
            self._move(ref, status=_S.FAILED, reason=Reason.NOTHING_TO_ANSWER.value)
            return True
        try:
            path = self._write_file(message)
        except (Unreadable, MessageFile.DoesNotExist):
            self._move(ref, status=_S.FAILED, reason=Reason.FILE_UNREADABLE.value)
            return True
        except OSError as error:
            # The disk is full: nothing has left, and it is tried again.
            log.error("file_not_handed_over", extra={"file_of": ref, "error": str(error.strerror)})
            Message.objects.filter(pk=message.pk, status=_S.SENDING).update(status=_S.QUEUED)
            return False
        self._in_flight.add(ref)
        engine.send(
            ev.SendMessage(
                session=self._runner.session.session_id,
                ref=ref,
                to=message.chat,
                text=message.text,
                kind=message.kind,
                content=message.content or {},
                path=path,
                about=about,
            )
        )
        return True

    def _write_file(self, message: Message) -> str:
        """Put the message's file where the engine can read it: on this machine alone, for as long as it is being sent."""
        if message.kind not in FILE_KINDS:
            return ""
        file = MessageFile.objects.select_related("message__session").get(message=message)
        directory = self._runner.directory / FILES_NAME
        directory.mkdir(mode=0o700, exist_ok=True)
        path = directory / str(message.code)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as written:
            written.write(file.data)
        return str(path)

    def _about(self, message: Message) -> dict[str, Any] | None:
        """What the engine needs to know of the message that this one answers or reacts to: {} where there is none (any more), None
        while it has not gone out itself."""
        found = self._runner.session.messages.filter(code=message.about).first() if message.about else None
        if found is None or (found.status == _S.FAILED and not found.message_id):
            return {}
        if not found.message_id:
            return None
        return {
            "message_id": found.message_id,
            "sender": found.sender if found.direction == Message.Direction.IN else "",
            "kind": found.type,
            "text": found.text,
            "content": found.content or {},
        }

    def on_sent(self, event: ev.MessageSent) -> None:
        self._runner.intake.write_through()
        sent_at = datetime.fromtimestamp(event.timestamp, UTC)
        self._move(event.ref, status=_S.SENT, message_id=event.message_id, sent_at=sent_at)
        if event.message_id in self._early:
            early = self._early.pop(event.message_id)
            messages.record_receipt(self._runner.session, early) if early else self.on_unreadable(event.message_id)
        self._done(event.ref)

    def on_failed(self, event: ev.CommandFailed) -> None:
        if not event.tried:
            # Nothing has left: it goes out when the session is connected again.
            Message.objects.filter(code=event.ref, status=_S.SENDING).update(status=_S.QUEUED)
        else:
            self._move(event.ref, status=_S.FAILED, reason=_why(event).value)
        self._done(event.ref)

    def on_receipt(self, event: ev.ReceiptReceived) -> None:
        if not messages.record_receipt(self._runner.session, event) and self._in_flight:
            self._remember(event.message_ids, event)

    def on_unreadable(self, message_id: str) -> None:
        """A device of the recipient could not read it, and cannot be helped any more: what was called sent is not."""
        ours = self._runner.session.messages.filter(direction="out", message_id=message_id)
        if not ours.exists() and self._in_flight:
            self._remember([message_id], None)
        believed = ours.filter(status__in=(_S.SENT, _S.DELIVERED))
        messages.move(self._runner.session, believed, status=_S.FAILED, reason=Reason.UNREADABLE.value)
        self._runner.news()

    def _remember(self, message_ids: Iterable[str], event: ev.ReceiptReceived | None) -> None:
        self._early.update((message_id, event) for message_id in message_ids)
        while len(self._early) > EARLY_RECEIPTS:
            self._early.popitem(last=False)

    def give_up_interrupted(self) -> None:
        """End the sends that an engine, a host or a stop interrupted: nobody can say any more whether they went out."""
        self._in_flight.clear()
        self.grew = True
        shutil.rmtree(self._runner.directory / FILES_NAME, ignore_errors=True)
        sending = self._outgoing.filter(status=_S.SENDING)
        # Asked first, because hundreds of sessions that begin at once seldom have one.
        if sending.exists():
            messages.move(self._runner.session, sending, status=_S.FAILED, reason=Reason.OUTCOME_UNKNOWN.value)

    def give_up_queued(self, reason: Reason) -> None:
        """End what waits: it is not to go out after all."""
        waiting = self._outgoing.filter(status=_S.QUEUED)
        messages.move(self._runner.session, waiting, status=_S.FAILED, reason=reason.value)

    @property
    def _outgoing(self) -> QuerySet[Message]:
        """The messages that the session sends, or none: once the lease has passed, another host may be sending them."""
        runner = self._runner
        held = WhatsAppSession.objects.filter(pk=runner.session.pk, lease_epoch=runner.lease.epoch)
        return Message.objects.filter(session__in=held, direction="out")

    def _move(self, ref: str, **changes: Any) -> None:
        messages.move(self._runner.session, Message.objects.filter(code=ref, status=_S.SENDING), **changes)

    def _done(self, ref: str) -> None:
        self._in_flight.discard(ref)
        path = self._runner.directory / FILES_NAME / ref
        if path.exists():
            path.unlink()
            MessageFile.objects.filter(message__code=ref).exclude(message__status=_S.QUEUED).delete()
        self.grew = True
        self._runner.news()


def _why(event: ev.CommandFailed) -> Reason:
    """What a message that was tried in vain failed of."""
    if event.in_doubt:
        return Reason.OUTCOME_UNKNOWN
    if event.not_uploaded:
        return Reason.FILE_NOT_TAKEN
    return Reason.NOT_ON_WHATSAPP if event.absent else Reason.SEND_REFUSED
