"""The dozen calls of the Go library that we make, each with what must be known before making it.

neonize's own client class is left out on purpose: it prints, it stops a namesake when it is garbage-collected, it wakes
five times a second for every session, and it hides the end of a pairing round. What it wraps is used directly: neonize
0.5.2, `goneonize/main.go`; the version is pinned in requirements.txt.

What bends everything here: the library keeps its clients in Go maps without a lock. Two writers, or a writer and a reader
in the same instant, are a fatal error that ends the process; a call for a client that is not there is a nil pointer that
ends it too. So whoever starts or stops a client holds `moving()`, and every other call passes through it first.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sessions_app.engine import loading

logger = logging.getLogger(__name__)

#: How long nobody else may call after a start or a stop. At 20 ms, 1000 starts were seen without a crash (wire.md).
MOVING_SECONDS = 0.02
#: What the live store says when it refuses a session (vault/ratchet.py).
REFUSED = "stale signal session"
#: `func_callback_bytes` says this where the account has credentials: the client's own device, not an event of WhatsApp.
OWN_DEVICE = 0

#: What we listen to, by the numbers of neonize's `EVENT_TO_INT`. A further number costs: an event whose protobuf the binding
#: cannot fill ends the whole client. Not among them: QR codes (they have a callback), presences and history (a flood).
EVENT_NAMES = {
    2: "PairStatus",
    3: "Connected",
    4: "KeepAliveTimeout",
    5: "KeepAliveRestored",
    6: "LoggedOut",
    7: "StreamReplaced",
    8: "TemporaryBan",
    9: "ConnectFailure",
    10: "ClientOutdated",
    11: "StreamError",
    12: "Disconnected",
    17: "Message",
    18: "Receipt",
    24: "IdentityChange",
    27: "OfflineSyncCompleted",
    44: "UndecryptableMessage",
    45: "RotateADVSecret",
}


#: neonize's `MediaType`.
MEDIA_TYPES = {"image": 0, "video": 1, "audio": 2, "document": 3}


class LibraryError(Exception):
    """The library refused or failed; the text is what it said, without secrets."""


class Overtaken(LibraryError):
    """Another use of the same Signal session overtook this one, and the live store refused it. Nothing has left."""


@dataclass(frozen=True)
class Handlers:
    """Called by the library on threads of Go. They must return at once, and nothing they raise is seen by anyone."""

    qr: Callable[[str], None]
    round_ended: Callable[[str], None]
    event: Callable[[int, bytes], None]
    #: The id of a message, its sender and its chat: it came again, after a crash had cut off its first coming.
    dropped: Callable[[str, str, str], None]
    #: The id of a message of ours and who could not read it: it was asked for again, and could not be sent again.
    not_resent: Callable[[str, str], None]
    #: The same two, before a message of ours is encrypted again, which waits for the return; and when that is over, either way.
    resending: Callable[[tuple[str, str]], None]
    resent: Callable[[tuple[str, str]], None]
    #: The id of a message that was read, but whose keys the live store could not take. It is acknowledged once this returns, and so
    #: must not return before the socket is closed.
    not_stored: Callable[[str], None]


class Library:
    """The loaded library. One in a process."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        binding: Any = loading.load(environment)
        proto = importlib.import_module("neonize.proto.Neonize_pb2")
        self._binding = binding
        self._go = binding.gocode
        self._proto = proto
        self._e2e = importlib.import_module("neonize.proto.waE2E.WAWebProtobufsE2E_pb2")
        self._device_props = importlib.import_module(
            "neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2"
        ).DeviceProps
        self._moving = threading.Lock()
        self._handlers: dict[str, Handlers] = {}
        # These are never given up: goroutines of a client call them long after its run has returned.
        self._on_qr = binding.func_string(self._hear_qr)
        self._on_round_ended = binding.func_string(self._hear_round_end)
        self._on_event = binding.func_callback_bytes(self._hear_event)
        self._on_log = {"": self._log_callback("")}
        self.version = str(importlib.import_module("neonize").__version__)
        self.whatsapp_version = loading.claimed_version(self._go._name)

    @contextlib.contextmanager
    def moving(self) -> Iterator[None]:
        """Hold while a client is started or stopped: nobody else starts, stops or calls until a moment after."""
        with self._moving:
            yield
            time.sleep(MOVING_SECONDS)
        # The next start is waiting on this very thread and would take the lock before anybody that sleeps on it.
        time.sleep(MOVING_SECONDS / 20)

    def run(self, uuid: str, path: str, *, device_name: str, proxy_url: str, handlers: Handlers) -> None:
        """Run a client until it is stopped; raises `LibraryError` when it could not even connect, at once, or later when
        the binding met an event that it cannot pass on (the socket is still open then).

        `uuid` must be used for one run only: two clients under one uuid send as each other. The JID of the account is not
        passed on: an unknown one is a nil pointer, and a live store holds one account at most.
        """
        self._handlers[uuid] = handlers
        self._on_log[uuid] = self._log_callback(uuid)
        subscribed = bytes(EVENT_NAMES)
        # The name and icon in the phone's list of linked devices. They are one global of the library: the last start wins.
        props = self._device_props(os=device_name, platformType=self._device_props.CHROME).SerializeToString()
        proxy = self._binding.ProxySettings(proxy_address=proxy_url)._to_c_struct() if proxy_url else None
        try:
            error = self._go.Neonize(
                store_name(path), uuid.encode(), b"", 0, 0, b"DEBUG",
                self._on_qr, self._on_round_ended, self._on_event, self._on_log[uuid],
                subscribed, len(subscribed), props, len(props), b"", 0,
                ctypes.byref(proxy) if proxy else None,
            )  # fmt: skip
        finally:
            del self._handlers[uuid]
        if error:
            raise LibraryError(redact(error.decode()))

    def parse(self, number: int, data: bytes) -> Any:
        """The protobuf of an event's bytes."""
        name = "Device" if number == OWN_DEVICE else EVENT_NAMES[number]
        return getattr(self._proto, name).FromString(data)

    def own_device(self, uuid: str) -> Any:
        """What the library knows about the account now: `JID`, `LID`, `PushName`. The client must be running."""
        self._pass()
        return self._proto.Device.FromString(self._go.GetMe(uuid.encode()))

    def disconnect(self, uuid: str) -> None:
        """Close the client's socket. Blocks as long as the client is dialling. A client that is not there is no error."""
        self._pass()
        self._go.Disconnect(uuid.encode())

    def stop(self, uuid: str) -> None:
        """End the client's run and forget it; call inside `moving()`, and after `disconnect()`.

        Events that are still in the library's queue are dropped, although WhatsApp holds them for delivered.
        """
        self._go.Stop(uuid.encode())

    def prepare(self, path: str) -> int:
        """Make or migrate the library's tables in a file; the number of accounts in it. Opens no connection to WhatsApp."""
        answer = self._go.GetAllDevices(store_name(path), self._on_log[""]).decode()
        if answer.startswith("error: "):
            raise LibraryError(redact(answer.removeprefix("error: ")))
        # Not split further: neonize's own wrapper does, at commas, and fails on a name that has one.
        return len(answer.split("|\u0001|")) if answer else 0

    def pairing_code(self, uuid: str, phone: str) -> str:
        """Ask for a code to type on the phone. Not before the first QR code: the client is a nil pointer until then.

        The display name is a common browser on a common system, because phones refuse the codes of anything else.
        """
        params = self._proto.PairPhoneParams(
            phone=phone, clientDisplayName="Chrome (Linux)", clientType=1, showPushNotification=True
        ).SerializeToString()
        self._pass()
        answer = self._proto.PairPhoneReturnFunction.FromString(self._go.PairPhone(uuid.encode(), params, len(params)))
        if answer.Error:
            raise LibraryError(redact(answer.Error))
        return str(answer.Code)

    def new_message(self) -> Any:
        """An empty message, for `compose`."""
        return self._e2e.Message()

    def send(self, uuid: str, user: str, server: str, message: Any) -> tuple[str, int]:
        """Send a message; WhatsApp's id and its time in Unix seconds. Raises after 75 s without an acknowledgement, though the
        peer may have got it."""
        to = self._proto.JID(
            User=user, Server=server, Device=0, RawAgent=0, Integrator=0, IsEmpty=False
        ).SerializeToString()
        body = message.SerializeToString()
        self._pass()
        answer = self._proto.SendMessageReturnFunction.FromString(
            self._go.SendMessage(uuid.encode(), to, len(to), body, len(body))
        )
        if answer.Error:
            raise (Overtaken if REFUSED in answer.Error else LibraryError)(redact(answer.Error))
        return str(answer.SendResponse.ID), int(answer.SendResponse.Timestamp)

    def upload(self, uuid: str, kind: str, data: bytes) -> Any:
        """Encrypt a file and give it to WhatsApp's media servers; where it lies there, and under which key. It takes no time limit."""
        self._pass()
        answer = self._proto.UploadReturnFunction.FromString(
            self._go.Upload(uuid.encode(), data, len(data), MEDIA_TYPES[kind])
        )
        if answer.Error:
            raise LibraryError(redact(answer.Error))
        return answer.UploadResponse

    def on_whatsapp(self, uuid: str, phone: str) -> tuple[bool, str, str]:
        """Whether there is an account with this number (digits), and the user and server of its address."""
        self._pass()
        answer = self._proto.IsOnWhatsAppReturnFunction.FromString(
            self._go.IsOnWhatsApp(uuid.encode(), f"+{phone}".encode())
        )
        if answer.Error or not answer.IsOnWhatsAppResponse:
            raise LibraryError(redact(answer.Error or "there was no answer"))
        first = answer.IsOnWhatsAppResponse[0]
        return bool(first.IsIn), str(first.JID.User), str(first.JID.Server)

    def groups(self, uuid: str) -> list[tuple[str, str, int]]:
        """Address, name and number of members of each group that the account is in."""
        self._pass()
        answer = self._proto.GetJoinedGroupsReturnFunction.FromString(self._go.GetJoinedGroups(uuid.encode()))
        if answer.Error:
            raise LibraryError(redact(answer.Error))
        return [(f"{g.JID.User}@{g.JID.Server}", str(g.GroupName.Name), len(g.Participants)) for g in answer.Group]

    def download(self, uuid: str, message: bytes) -> bytes:
        """The file of a message (`MessageReceived.file`), decrypted and checked against its hashes. It takes no time limit."""
        self._pass()
        answer = self._proto.DownloadReturnFunction.FromString(
            self._go.DownloadAny(uuid.encode(), message, len(message))
        )
        if answer.Error:
            raise LibraryError(redact(answer.Error))
        return bytes(answer.Binary)

    def set_online(self, uuid: str) -> None:
        """Mark the account available. Fails as long as the library does not know the account's push name."""
        self._pass()
        if error := self._go.SendPresence(uuid.encode(), b"available"):
            raise LibraryError(redact(error.decode()))

    def log_out(self, uuid: str) -> None:
        """Unlink the device at WhatsApp; the library then closes the socket and deletes its rows, without an event."""
        self._pass()
        if error := self._go.Logout(uuid.encode()):
            raise LibraryError(redact(error.decode()))

    def _pass(self) -> None:
        with self._moving:
            pass

    # --- called by the library ---------------------------------------------------

    def _hear_qr(self, uuid: int, text: int) -> None:
        if handlers := self._handlers.get(ctypes.string_at(uuid).decode()):
            handlers.qr(ctypes.string_at(text).decode())

    def _hear_round_end(self, uuid: int, text: int) -> None:
        if handlers := self._handlers.get(ctypes.string_at(uuid).decode()):
            handlers.round_ended(ctypes.string_at(text).decode())

    def _hear_event(self, uuid: bytes, data: int, size: int, number: int) -> None:
        if handlers := self._handlers.get(uuid.decode()):
            handlers.event(number, ctypes.string_at(data, size))

    def _log_callback(self, uuid: str) -> Any:
        """One a run, because it is not told whose line it gets."""
        return self._binding.func_callback_bytes2(lambda data, size: self._hear_log(uuid, data, size))

    def _hear_log(self, uuid: str, data: int, size: int) -> None:
        """A line of the Go library's log. Below WARN it quotes stanzas and QR codes: that is never passed on.

        Some lines are news. A process that dies between storing a message's key as used and handing the message over gets it
        once more, and then the library drops it as known: no event, and the sender sees it delivered. And when a message of
        ours is asked for again, the log alone says so before it is encrypted, and on the very thread that will do it. So does it when
        the keys of a message cannot be stored, on the thread that will acknowledge it.
        """
        line = ctypes.string_at(data, size)
        if not _OF_INTEREST.search(line):
            return
        entry = self._proto.LogEntry.FromString(line)
        handlers = self._handlers.get(uuid)
        if entry.Level in ("WARN", "ERROR"):
            level = logging.ERROR if entry.Level == "ERROR" else logging.WARNING
            logger.log(level, "library_said part=%s text=%s", entry.Name, redact(entry.Message)[:300])
        elif not entry.Message.startswith(_OF_RESENDING):
            return
        if handlers:
            _tell(handlers, entry.Message)


def _tell(handlers: Handlers, line: str) -> None:
    """Pass on what is news in a line of the log."""
    if match := _NOT_STORED.match(line):
        handlers.not_stored(match["id"])
    elif match := _DROPPED.match(line):
        handlers.dropped(match["id"], match["sender"], match["chat"] or match["sender"])
    elif match := _RESENDING.match(line):
        handlers.resending((match["id"], match["receiver"]))
    elif match := _RESENT.match(line):
        handlers.resent((match["id"], match["receiver"]))
    elif match := _NOT_RESENT.match(line) or _GIVEN_UP.match(line):
        handlers.resent((match["id"], match["receiver"]))
        handlers.not_resent(match["id"], match["receiver"])


def store_name(path: str) -> bytes:
    """The library's name for a live store: it puts `file:` before it and a query of its own behind it, which `z` swallows.

    Only in WAL mode can the host read the file while the library writes to it; in the default mode a reader makes sends
    disappear without an error.
    """
    options = "_foreign_keys=on&_journal_mode=WAL&_busy_timeout=20000&_synchronous=FULL&z="
    return f"{quote(path)}?{options}".encode()


_LONG_RUNS = re.compile(r"[A-Za-z0-9+/=_-]{28,}")
_CREDENTIALS = re.compile(r"//[^/@\s]*@")
_STANZA = re.compile(r"<.*", re.DOTALL)
#: whatsmeow, `message.go`, where it meets ErrOldCounter; the source is "SENDER" or "SENDER in CHAT".
_DROPPED = re.compile(r"Ignoring message (?P<id>\S+) from (?P<sender>\S+?)(?: in (?P<chat>\S+))?: .*old counter")
#: whatsmeow, `message.go`, `decryptMessages`: any error. These are SQLite's for a disk that is full, broken or read-only.
_NOT_STORED = re.compile(
    r"Error decrypting message (?P<id>\S+) from .*: (?:disk I/O error|database or disk is full|attempt to write a readonly)"
)
#: whatsmeow, `retry.go`: where it is about to answer a retry receipt, where it has, and where it cannot or will not.
_OF_RESENDING = ("Found message ", "Sent retry ")
#: What a serialized line has that may have to be read at all: most are stanzas.
_OF_INTEREST = re.compile("|".join(("WARN", "ERROR", *_OF_RESENDING)).encode())
_RESENDING = re.compile(r"Found message in .* for \S+?/(?P<id>\S+) from (?P<receiver>\S+)$")
_RESENT = re.compile(r"Sent retry #\d+ for \S+?/(?P<id>\S+) to (?P<receiver>\S+)$")
_NOT_RESENT = re.compile(r"Failed to handle retry receipt for \S+?/(?P<id>\S+) from (?P<receiver>\S+?): ")
_GIVEN_UP = re.compile(r"Dropping retry request from (?P<id>\S+) for (?P<receiver>\S+): ")


def redact(text: str) -> str:
    """A text of the library without what could be a key, a code, a stanza or a proxy's password."""
    return _LONG_RUNS.sub("…", _STANZA.sub("<…>", _CREDENTIALS.sub("//…@", text))).replace("\n", " ")
