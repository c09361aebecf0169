"""One session's run in an engine: from its start to the word that its socket is closed.

A run has two sides. The library's threads call the handlers at the bottom, which append to the spool and return. The
engine's threads ask it to send, to give a pairing code, to log out or to stop. In the library a run goes through these
phases, and what may be called depends on them:

- dialling: `Disconnect` waits until it is over;
- a pairing round (`code_seen`): the run cannot be ended any more: the socket closes, two threads stay behind for good;
- live (`live`): it has credentials and events flow; it can be stopped.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from sessions_app.engine import events
from sessions_app.engine.library import (
    EVENT_NAMES,
    OWN_DEVICE,
    Handlers,
    Library,
    LibraryError,
    redact,
)
from sessions_app.engine.pipe import MessageWriter
from sessions_app.engine.questions import answer
from sessions_app.engine.sender import Sender
from sessions_app.engine.spool import SpoolWriter
from sessions_app.engine.store_lock import StoreBusy, StoreLock
from sessions_app.engine.translate import Translator, jid
from sessions_app.engine.turns import Turns

logger = logging.getLogger(__name__)

#: How long a run may take to return once its client is forgotten.
RETURN_SECONDS = 2.0
#: After the socket is closed: events that the library still holds have come out when nothing came for this long.
QUIET_SECONDS = 0.1
SETTLE_SECONDS = 1.0
FIRST_CODE_SECONDS = 10.0
#: How long a message that could not be stored may wait for the end of the socket, and with it everything that comes behind it.
CLOSED_SECONDS = 10.0
#: When to try to mark the account online: right after pairing its push name, which that needs, is still on its way.
PRESENCE_DELAYS = (0.0, 5.0, 30.0, 120.0)

_runs = itertools.count(1)


class Client:
    """Runs the session of one `StartClient`. `on_end` is called once, with the last word about the run."""

    def __init__(
        self,
        library: Library,
        command: events.StartClient,
        pipe: MessageWriter,
        on_end: Callable[[Client, events.ClientStopped], None],
    ) -> None:
        self.session = command.session
        self.epoch = command.epoch
        #: On the monotonic clock: when the lease runs out.
        self.deadline = (command.since or time.monotonic()) + command.lease_seconds
        self._closed = threading.Event()
        self._command = command
        self._library = library
        self._pipe = pipe
        self._on_end = on_end
        self._spool = SpoolWriter(command.spool)
        self._translator = Translator(command.session, command.epoch)
        # A name for this run alone: what the library keeps of an earlier run of the session must not be reached by it.
        self._uuid = f"{command.session}.{command.epoch}.{next(_runs)}"
        self._lock = threading.Lock()
        self._ending = False
        self._ended = False
        self._lease_ran_out = False
        self._own = events.Connected(session=self.session, epoch=self.epoch, at=0.0)
        self._code_seen = threading.Event()
        self._live = threading.Event()
        self._returned = threading.Event()
        self._heard_at = 0.0
        self._turns = Turns()
        #: Ids of messages whose keys the disk did not take. WhatsApp still holds them.
        self._not_stored: set[str] = set()
        self._sender = Sender(
            self.session,
            self._uuid,
            library,
            pipe,
            turns=self._turns,
            may_send=self._may_send,
            own=lambda: without_device(self._own.jid),
        )
        self._store_lock: StoreLock | None = None

    @property
    def closed(self) -> bool:
        """Whether the socket was closed for good."""
        return self._closed.is_set()

    # --- the engine's side ------------------------------------------------------

    def start(self) -> None:
        """Start the run; call inside `library.moving()`."""
        self._in_thread(self._run)

    def stop(self, *, error: str = "", cause: str = "", lease_ran_out: bool = False, grace: float = 0.0) -> None:
        """Close the socket and end the run, in its own thread: `ClientStopped` follows within a few seconds.

        A sending that is on its way has `grace` seconds to end, unless a later call has none left to give.
        """
        if not grace:
            self._sender.wait_no_more()
        with self._lock:
            if self._ending:
                return
            self._ending = True
        if lease_ran_out:
            self._lease_ran_out = True
        self._in_thread(self._stop, error, cause, grace)

    def disconnect(self) -> None:
        """Close the socket. Waits as long as the library is dialling."""
        self._library.disconnect(self._uuid)
        self._closed.set()

    def settle(self, timeout: float) -> None:
        """Wait until the library has handed over what it still held when its socket was closed."""
        end = time.monotonic() + timeout
        while (now := time.monotonic()) < end and now - self._heard_at < QUIET_SECONDS:
            time.sleep(QUIET_SECONDS / 10)

    def retry_spool(self) -> None:
        self._spool.retry()

    def log_out(self) -> None:
        self._in_thread(self._log_out)

    def request_pairing_code(self, phone: str) -> None:
        self._in_thread(self._request_pairing_code, phone)

    def send(self, command: events.SendMessage) -> None:
        self._sender.send(command)

    def ask(self, command: events.Ask | events.FetchFile) -> None:
        self._in_thread(self._ask, command)

    def _may_send(self) -> bool:
        return self._live.is_set() and not self._ending

    def _in_thread(self, work: Callable[..., None], *args: object) -> None:
        threading.Thread(target=work, args=args, name=f"{work.__name__} {self._uuid}", daemon=True).start()

    def _run(self) -> None:
        error, cause = "", ""
        try:
            if time.monotonic() > self.deadline:
                raise LibraryError("the lease had run out before the session was started")
            if self._ending:
                raise LibraryError("it was stopped before its turn to start")
            self._store_lock = StoreLock(self._command.path)
            self._library.run(
                self._uuid,
                self._command.path,
                device_name=self._command.device_name,
                proxy_url=self._command.proxy_url,
                handlers=Handlers(
                    qr=self._on_qr,
                    round_ended=self._on_round_ended,
                    event=self._on_event,
                    dropped=self._on_dropped,
                    not_resent=self._on_not_resent,
                    resending=self._turns.begin,
                    resent=self._turns.end,
                    not_stored=self._on_not_stored,
                ),
            )
        except StoreBusy as busy:
            error, cause = str(busy), "busy"
        except OSError as failure:
            error, cause = f"The live store could not be opened: {failure.strerror}.", "store"
        except LibraryError as failure:
            error, cause = sentence(str(failure))
        self._returned.set()
        self.stop(error=error, cause=cause)

    def _stop(self, error: str, cause: str, grace: float) -> None:
        """End the run in the one order that neither loses events nor brings the library down.

        0. Let a sending that is on its way end.
        1. Close the socket: nothing more arrives, so nothing more is acknowledged.
        2. Let out what the library still holds.
        3. Wait until the run is live or over. Between the end of a pairing round and its first event the library looks
           its own client up; forgotten in that moment, it would be a nil pointer.
        4. Forget the client. In a pairing round that must not be done, and the run never returns.
        """
        self._sender.wait(max(0.0, min(grace, self.deadline - time.monotonic())))
        self.disconnect()
        if self._lease_ran_out:
            self._pipe.send(events.LeaseRanOut(session=self.session, epoch=self.epoch))
        self.settle(SETTLE_SECONDS)
        while not (self._live.is_set() or self._returned.is_set() or self._code_seen.is_set()):
            self._returned.wait(0.02)
        # Once more: when it was closed above, it may not have been opened yet.
        self.disconnect()
        if self._live.is_set() or self._returned.is_set():
            with self._library.moving():
                self._library.stop(self._uuid)
            self._returned.wait(RETURN_SECONDS)
        self._say_stopped(error, cause, leaked=not self._returned.is_set())

    def _say_stopped(self, error: str, cause: str, *, leaked: bool) -> None:
        self._ended = True
        for event in self._spool.close():
            self._pipe.send(events.Unspooled(session=self.session, epoch=self.epoch, event=event))
        if self._store_lock:
            self._store_lock.release()
        logger.info("client_stopped session=%s epoch=%d leaked=%s error=%s", self.session, self.epoch, leaked, error)
        stopped = events.ClientStopped(session=self.session, epoch=self.epoch, error=error, leaked=leaked, cause=cause)
        self._on_end(self, stopped)

    def _log_out(self) -> None:
        try:
            if not self._live.is_set():
                raise LibraryError("it is not linked to a phone")
            self._library.log_out(self._uuid)
        except LibraryError as error:
            self._fail("LogOut", f"The session could not be logged out: {error}.")
            return
        self._append(events.LoggedOut(session=self.session, epoch=self.epoch, at=time.time(), code=0))
        self.stop()

    def _ask(self, command: events.Ask | events.FetchFile) -> None:
        try:
            if not self._may_send():
                raise LibraryError("the session is not connected")
            said = answer(self._library, self._uuid, command)
        except (LibraryError, OSError) as error:
            kind = type(command).__name__
            self._pipe.send(
                events.CommandFailed(session=self.session, command=kind, error=f"{error}.", ref=command.ref)
            )
            return
        self._pipe.send(events.Answered(session=self.session, ref=command.ref, answer=said))

    def _request_pairing_code(self, phone: str) -> None:
        try:
            if self._live.is_set():
                raise LibraryError("the session is linked already")
            if not self._code_seen.wait(FIRST_CODE_SECONDS):
                raise LibraryError("WhatsApp has not begun a pairing round")
            code = self._library.pairing_code(self._uuid, phone)
        except LibraryError as error:
            self._fail("RequestPairingCode", f"WhatsApp gave no pairing code: {error}.")
            return
        self._pipe.send(events.PairingCodeIssued(session=self.session, code=code))

    def _fail(self, command: str, error: str) -> None:
        self._pipe.send(events.CommandFailed(session=self.session, command=command, error=error))

    # --- the library's side -----------------------------------------------------

    def _on_qr(self, code: str) -> None:
        self._code_seen.set()
        self._append(events.QrIssued(session=self.session, epoch=self.epoch, at=time.time(), code=code))

    def _on_round_ended(self, outcome: str) -> None:
        self._append(events.PairingRoundEnded(session=self.session, epoch=self.epoch, at=time.time(), outcome=outcome))

    def _on_event(self, number: int, data: bytes) -> None:
        at = time.time()
        self._heard_at = time.monotonic()
        try:
            event = self._heard(number, data, at)
        except Exception:
            # Whatever it is, the event is named in the spool: an exception here would be swallowed with it.
            name = EVENT_NAMES.get(number, str(number))
            logger.exception("event_not_translated session=%s name=%s bytes=%d", self.session, name, len(data))
            event = events.UnknownHappened(session=self.session, epoch=self.epoch, at=at, name=name)
        if event is not None:
            self._append(event)

    def _on_dropped(self, message_id: str, sender: str, chat: str) -> None:
        self._append(
            events.MessageUndecryptable(
                session=self.session,
                epoch=self.epoch,
                at=time.time(),
                message_id=message_id,
                chat=without_device(chat),
                sender=without_device(sender),
            )
        )

    def _on_not_resent(self, message_id: str, receiver: str) -> None:
        self._append(
            events.ResendFailed(
                session=self.session,
                epoch=self.epoch,
                at=time.time(),
                message_id=message_id,
                receiver=without_device(receiver),
            )
        )

    def _on_not_stored(self, message_id: str) -> None:
        """Have WhatsApp keep the message: what is not acknowledged it delivers again, at the next login."""
        self._not_stored.add(message_id)
        self.stop(error="The disk did not take the session's keys, so it was disconnected.", cause="disk")
        self._closed.wait(CLOSED_SECONDS)

    def _heard(self, number: int, data: bytes, at: float) -> events.SpoolEvent | None:
        proto = self._library.parse(number, data)
        if number == OWN_DEVICE:
            self._own = self._account(proto)
            self._live.set()
            return None
        event = self._translator.event(EVENT_NAMES[number], proto, data, at)
        if isinstance(event, events.Connected):
            self._own = self._account(self._library.own_device(self._uuid))
            event = dataclasses.replace(self._own, at=at)
            if self._command.presence_online:
                self._in_thread(self._mark_online)
        elif isinstance(event, events.Paired):
            event = dataclasses.replace(event, lid=self._own.lid)
        return event

    def _account(self, device: Any) -> events.Connected:
        return events.Connected(
            session=self.session,
            epoch=self.epoch,
            at=0.0,
            jid=jid(device.JID),
            lid=jid(device.LID) if device.LID.User else "",
            push_name=device.PushName,
        )

    def _mark_online(self) -> None:
        for delay in PRESENCE_DELAYS:
            if self._returned.wait(delay) or self._ending:
                return
            try:
                self._library.set_online(self._uuid)
                return
            except LibraryError as error:
                logger.info("presence_not_set session=%s error=%s", self.session, error)

    def _append(self, event: events.SpoolEvent) -> None:
        if self._ended:
            # The spool may have a new writer by now, and a leaked run has nothing more to say.
            return
        if isinstance(event, events.MessageUndecryptable) and event.message_id in self._not_stored:
            return
        written = self._spool.append(event)
        self._pipe.ring(self.session)
        if not written:
            # What arrives from now on would be acknowledged and lost: better not to hear it.
            self.stop(error="The disk did not take the session's events, so it was disconnected.", cause="disk")


def without_device(address: str) -> str:
    """`user@server` of a JID that may name a device."""
    user, _, server = address.partition("@")
    return f"{re.split('[:.]', user)[0]}@{server}"


def sentence(error: str) -> tuple[str, str]:
    """What `connect` raised, as a sentence for a person and the cause that `ClientStopped` names."""
    text = redact(error).strip().rstrip(".")
    if re.search(r"database|sqlite|upgrade|disk", text, re.IGNORECASE):
        return f"The live store could not be opened: {text}.", "store"
    return f"WhatsApp could not be reached: {text}.", "whatsapp"
