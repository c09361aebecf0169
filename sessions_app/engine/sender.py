"""What one session's run sends: one message at a time, in the order in which they were handed over, each answered for once."""

from __future__ import annotations

import collections
import contextlib
import logging
import queue
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sessions_app.engine import events
from sessions_app.engine.compose import compose
from sessions_app.engine.library import REFUSED, Library, LibraryError, Overtaken
from sessions_app.engine.pipe import MessageWriter
from sessions_app.engine.turns import Turns

logger = logging.getLogger(__name__)

#: How often a message is begun anew when others overtake it.
OVERTAKEN_TRIES = 10
#: How long an upload may take, and the pauses after each that failed.
UPLOAD_SECONDS, UPLOAD_PAUSES = 120.0, (1.0, 3.0, 0.0)


class Sender:
    """`may_send` says whether the run is live; `own` is the account's JID without device."""

    def __init__(
        self,
        session: str,
        uuid: str,
        library: Library,
        pipe: MessageWriter,
        *,
        turns: Turns,
        may_send: Callable[[], bool],
        own: Callable[[], str],
    ) -> None:
        self._session, self._uuid, self._library, self._pipe = session, uuid, library, pipe
        self._turns, self._may_send, self._own = turns, may_send, own
        self._lock = threading.Lock()
        self._waiting: collections.deque[events.SendMessage] = collections.deque()
        self._at_work = False
        self._stopping = threading.Event()
        self._nothing_on_its_way = threading.Event()
        self._nothing_on_its_way.set()

    def send(self, command: events.SendMessage) -> None:
        """Send in the order of the calls, one at a time: only so do two messages to one person keep their order."""
        with self._lock:
            self._waiting.append(command)
            if self._at_work:
                return
            self._at_work = True
            self._nothing_on_its_way.clear()
        threading.Thread(target=self._send_all, name=f"send {self._uuid}", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Let what is on its way end, for so long at most."""
        self._nothing_on_its_way.wait(seconds)

    def wait_no_more(self) -> None:
        self._stopping.set()
        self._nothing_on_its_way.set()

    def _send_all(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._at_work = False
                    self._nothing_on_its_way.set()
                    return
                command = self._waiting.popleft()
            try:
                self._send(command)
            except Exception as error:
                # Whatever it is, those behind it must go out; its text may quote the message.
                logger.error("send_broke_off session=%s error=%s", self._session, type(error).__name__)
                self._fail(command, "the library failed", tried=True, in_doubt=True)

    def _send(self, command: events.SendMessage) -> None:
        if not self._may_send():
            self._fail(command, "the session is not connected")
            return
        try:
            user, server = address(command.to)
            uploaded = self._upload(command) if command.path else None
            message = compose(
                command, self._library.new_message(), to=f"{user}@{server}", own=self._own(), uploaded=uploaded
            )
            message_id, timestamp = self._hand_over(user, server, message)
        except ValueError as error:
            self._fail(command, str(error), tried=True)
        except _NotUploaded as error:
            self._fail(command, str(error), tried=not error.later, not_uploaded=not error.later)
        except LibraryError as error:
            absent = bool(_ABSENT.match(str(error)))
            tried, in_doubt = (True, False) if absent else judge_send_error(str(error))
            said = "this number is not on WhatsApp" if absent else str(error)
            self._fail(command, said, tried=tried, in_doubt=in_doubt, absent=absent)
        else:
            self._pipe.send(
                events.MessageSent(session=self._session, ref=command.ref, message_id=message_id, timestamp=timestamp)
            )

    def _upload(self, command: events.SendMessage) -> Any:
        """Upload the command's file, in a few tries, in threads of their own: one that takes too long is left alone."""
        try:
            data = Path(command.path).read_bytes()
        except OSError as error:
            raise _NotUploaded(f"its file could not be read ({error.strerror})") from None
        problem = ""
        for pause in UPLOAD_PAUSES:
            answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
            threading.Thread(target=self._try_upload, args=(command.kind, data, answer), daemon=True).start()
            try:
                uploaded, problem = answer.get(timeout=UPLOAD_SECONDS)
            except queue.Empty:
                break  # a second try of that length would hold up everybody behind it
            if uploaded is not None and self._may_send():
                return uploaded
            logger.warning("upload_failed session=%s error=%s", self._session, problem)
            if not self._may_send() or self._stopping.wait(pause):
                break
        # A stop in the middle of it, or a connection that is on its way back, is nobody's fault: it is begun anew.
        later = not self._may_send() or bool(_TRY_LATER.search(problem))
        raise _NotUploaded("WhatsApp did not take its file", later=later)

    def _try_upload(self, kind: str, data: bytes, answer: queue.SimpleQueue[Any]) -> None:
        try:
            answer.put((self._library.upload(self._uuid, kind, data), ""))
        except LibraryError as error:
            answer.put((None, str(error)))

    def _hand_over(self, user: str, server: str, message: Any) -> tuple[str, int]:
        """Send; again where the live store has refused a session because another message overtook ours: nothing has left then."""
        for _ in range(OVERTAKEN_TRIES - 1):
            with contextlib.suppress(Overtaken), self._turns.turn("send"):
                return self._library.send(self._uuid, user, server, message)
            logger.info("send_overtaken session=%s", self._session)
        with self._turns.turn("send"):
            return self._library.send(self._uuid, user, server, message)

    def _fail(
        self,
        command: events.SendMessage,
        error: str,
        *,
        tried: bool = False,
        in_doubt: bool = False,
        absent: bool = False,
        not_uploaded: bool = False,
    ) -> None:
        doubt, certain = "It is not known whether the message was sent", "The message was not sent"
        self._pipe.send(
            events.CommandFailed(
                session=self._session,
                command=type(command).__name__,
                error=f"{doubt if in_doubt else certain}: {error}.",
                ref=command.ref,
                tried=tried,
                in_doubt=in_doubt,
                absent=absent,
                not_uploaded=not_uploaded,
            )
        )


class _NotUploaded(Exception):
    """A file that did not get to WhatsApp; the text is a sentence's end. `later` says whether it may be tried again."""

    def __init__(self, text: str, *, later: bool = False) -> None:
        super().__init__(text)
        self.later = later


def address(to: str) -> tuple[str, str]:
    """(user, server) of a JID or a phone number; raises `ValueError` with a sentence's end."""
    user, at, server = to.strip().partition("@")
    if at and user and server:
        return user.partition(":")[0], server
    digits = re.sub(r"[+()\s.-]", "", user)
    if at or not digits.isdecimal():
        raise ValueError("the recipient is neither a phone number nor a JID")
    return digits, "s.whatsapp.net"


#: What the library says before a message's frame is written, or when WhatsApp refuses it (whatsmeow, `send.go`).
_NOT_SENT = re.compile(
    r"failed to (?!send message node)|failed to send message node: websocket not connected$"
    r"|server returned error|can't |message recipient "
)
#: It asks WhatsApp for the LID of every number that it does not know yet, before anything goes out: an account always has one.
_ABSENT = re.compile(r"no LID found for ")
_TRY_LATER = re.compile(rf"websocket|timed out|disconnected|{REFUSED}")


def judge_send_error(error: str) -> tuple[bool, bool]:
    """(tried, in doubt) of a `CommandFailed` for this error of the library. Whatever is not known to be harmless is in doubt.

    A message that stayed here for want of a connection, or because others overtook it, counts as not tried: it can go out later.
    """
    in_doubt = not _NOT_SENT.match(error)
    return in_doubt or not _TRY_LATER.search(error), in_doubt
