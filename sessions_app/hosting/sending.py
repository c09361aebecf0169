"""Outgoing messages of one session: queued → sending → sent, in the order in which they were asked for.

A row is `sending` before its text leaves the host, so that whoever takes the session over after a crash knows which sends are in
doubt. Those end as `failed`, reason `outcome-unknown`: a silent repeat could say something twice. A message is `sent` only when the
keys that it changed are in the vault.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet

from sessions_app.engine import events as ev
from sessions_app.hosting import messages
from sessions_app.hosting.away import DATABASE_AWAY
from sessions_app.lifecycle import Status
from sessions_app.models import Message, WhatsAppSession
from sessions_app.reasons import Reason

if TYPE_CHECKING:
    from sessions_app.hosting.engines import Engine
    from sessions_app.hosting.runner import Runner

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
        self._early: OrderedDict[str, ev.ReceiptReceived] = OrderedDict()
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
        for message in queue.filter(status=_S.QUEUED).order_by("pk")[:room]:
            if not queue.filter(pk=message.pk, status=_S.QUEUED).update(status=_S.SENDING):
                continue
            ref = str(message.code)
            self._in_flight.add(ref)
            engine.send(
                ev.SendText(session=self._runner.session.session_id, ref=ref, to=message.chat, text=message.text)
            )

    def on_sent(self, event: ev.MessageSent) -> None:
        self._runner.intake.write_through()
        sent_at = datetime.fromtimestamp(event.timestamp, UTC)
        self._move(event.ref, status=_S.SENT, message_id=event.message_id, sent_at=sent_at)
        if early := self._early.pop(event.message_id, None):
            messages.record_receipt(self._runner.session, early)
        self._done(event.ref)

    def on_failed(self, event: ev.CommandFailed) -> None:
        if not event.tried:
            # Nothing has left: it goes out when the session is connected again.
            Message.objects.filter(code=event.ref, status=_S.SENDING).update(status=_S.QUEUED)
        else:
            refused = Reason.NOT_ON_WHATSAPP if event.absent else Reason.SEND_REFUSED
            reason = Reason.OUTCOME_UNKNOWN if event.in_doubt else refused
            self._move(event.ref, status=_S.FAILED, reason=reason.value)
        self._done(event.ref)

    def on_receipt(self, event: ev.ReceiptReceived) -> None:
        if not messages.record_receipt(self._runner.session, event) and self._in_flight:
            for message_id in event.message_ids:
                self._early[message_id] = event
            while len(self._early) > EARLY_RECEIPTS:
                self._early.popitem(last=False)

    def on_unreadable(self, message_id: str) -> None:
        """A device of the recipient could not read it, and cannot be helped any more: what was called sent is not."""
        believed = self._runner.session.messages.filter(
            direction="out", message_id=message_id, status__in=(_S.SENT, _S.DELIVERED)
        )
        messages.move(self._runner.session, believed, status=_S.FAILED, reason=Reason.UNREADABLE.value)
        self._runner.news()

    def give_up_interrupted(self) -> None:
        """End the sends that an engine, a host or a stop interrupted: nobody can say any more whether they went out."""
        self._in_flight.clear()
        self.grew = True
        sending = self._outgoing.filter(status=_S.SENDING)
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
        self.grew = True
        self._runner.news()
