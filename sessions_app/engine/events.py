"""What hosts and engines say to each other: commands in the imperative, events in the past tense, all frozen.

`encode()` gives one line of JSON without a newline, `decode()` its inverse. Bytes travel as base64. The field `session` is a
session's public id; `epoch` is the lease's fencing number under which the engine runs it, so that a late event of an
earlier runner can be told from a fresh one. Times are Unix seconds, spans seconds.

Texts and codes are hidden from `repr()`: a QR code holds a secret, a message is somebody's.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

# --- commands: host → engine --------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PrepareStore:
    """Make or migrate the library's tables in the file `path`; answered by `StorePrepared`."""

    session: str
    path: str


@dataclass(frozen=True, kw_only=True)
class StartClient:
    """Run the session of the live store `path`. Without credentials in it, a pairing round begins at once.

    `spool` is the directory that its events are written into (spool.py). The engine disconnects it when `lease_seconds` pass
    without a `RenewLease`, counted as there. `presence_online`: mark the account online once connected.
    """

    session: str
    epoch: int
    path: str
    spool: str
    lease_seconds: float
    since: float = 0.0
    proxy_url: str = field(default="", repr=False)
    device_name: str = "Oxy"
    presence_online: bool = True


@dataclass(frozen=True, kw_only=True)
class StopClient:
    """Close the session's socket; answered by `ClientStopped`. A sending that is on its way may take `grace` seconds to end; those
    that have not begun are given back."""

    session: str
    grace: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LogOut:
    """Unlink the device at WhatsApp, then stop; answered by `LoggedOut`, or `CommandFailed`."""

    session: str


@dataclass(frozen=True, kw_only=True)
class RequestPairingCode:
    """Ask WhatsApp for a code that the phone with this number (E.164 digits, no plus) can type; answered by
    `PairingCodeIssued`, or `CommandFailed`. Works only while a QR round is on."""

    session: str
    phone: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class SendMessage:
    """Send a message to a JID or a phone number; answered by `MessageSent`, or `CommandFailed` with `ref`.

    `kind` is one of `compose.py`, `content` what it carries besides its text, `path` its file, to be uploaded. `about` is the message
    that it answers or reacts to: `message_id`, `sender` (a JID, "" for our own account), `kind`, `text` and `content`; empty where
    there is none.
    """

    session: str
    ref: str
    to: str = field(repr=False)
    text: str = field(default="", repr=False)
    kind: str = "text"
    content: dict[str, Any] = field(default_factory=dict, repr=False)
    path: str = ""
    about: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Ask WhatsApp something that changes nothing; `question` is one of questions.py. Answered by `Answered`, or `CommandFailed`."""

    session: str
    ref: str
    question: str
    arguments: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class FetchFile:
    """Download the file of a message that came in, and write it to `path`. `file` is what its `MessageReceived` held. Answered like `Ask`,
    where `found` says whether WhatsApp still has it."""

    session: str
    ref: str
    path: str
    file: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class RenewLease:
    """How long each lease still runs: {session: seconds}, from `since` on the machine's monotonic clock; 0: from now.

    A command may lie in the pipe of a frozen process for long, and must not promise then what was true once.
    """

    seconds: dict[str, float]
    since: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ShutDown:
    """Stop every client and exit."""


# --- events: engine → host ----------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EngineStarted:
    """The library is loaded. `library` is neonize's version, `whatsapp_version` the web version that it claims."""

    pid: int
    library: str
    whatsapp_version: str


@dataclass(frozen=True, kw_only=True)
class StorePrepared:
    """Answer to `PrepareStore`; `error` is a sentence, or empty."""

    session: str
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class SpoolGrew:
    """The session's spool has something new: the only thing that a handler of the library rings the pipe with."""

    session: str


@dataclass(frozen=True, kw_only=True)
class CommandFailed:
    """A command could not be done; `error` is a sentence, without secrets.

    `tried`: it reached the library; where it did not, nothing has left this machine. `in_doubt`: the other side may have got
    it all the same (an acknowledgement that never came, a connection that broke meanwhile). `absent`: WhatsApp has no such account.
    `not_uploaded`: WhatsApp did not take the message's file.
    """

    session: str
    command: str
    error: str
    ref: str = ""
    tried: bool = False
    in_doubt: bool = False
    absent: bool = False
    not_uploaded: bool = False


@dataclass(frozen=True, kw_only=True)
class MessageSent:
    """WhatsApp has taken a message: its id there, and the server's time."""

    session: str
    ref: str
    message_id: str
    timestamp: int


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What WhatsApp said to an `Ask` or a `FetchFile`."""

    session: str
    ref: str
    answer: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class PairingCodeIssued:
    session: str
    code: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class ClientStopped:
    """The client's run is over: its socket is closed. `error` is a sentence about what ended it by accident, or empty, and `cause` what
    that was about: `whatsapp` (no connection), `store` (the live store), `busy` (another process has the store), `disk` (the spool).
    `leaked` says that the library left threads behind (a stop in the QR phase), so that the host can recycle the engine in time."""

    session: str
    epoch: int
    error: str = ""
    leaked: bool = False
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class LeaseRanOut:
    """The dead man's switch: the session was disconnected because nobody renewed its lease."""

    session: str
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Unspooled:
    """An event that belongs behind everything in the spool, as `encode()` gives it: the disk had no room for it to the end."""

    session: str
    epoch: int
    event: bytes = field(repr=False)


# --- events of WhatsApp: engine → spool → host ---------------------------------


@dataclass(frozen=True, kw_only=True)
class SpoolEvent:
    """Base of everything that comes through the spool: `at` is when the engine heard it."""

    session: str
    epoch: int
    at: float


@dataclass(frozen=True, kw_only=True)
class QrIssued(SpoolEvent):
    code: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class PairingRoundEnded(SpoolEvent):
    """The end of a pairing round by the library's own name: `success`, `timeout`, `error`, `err-client-outdated`,
    `err-unexpected-state`, `passkey-request`, ... (docs/architecture.md)."""

    outcome: str


@dataclass(frozen=True, kw_only=True)
class Paired(SpoolEvent):
    """A phone has linked the device: JIDs as `user:device@server`."""

    jid: str
    lid: str = ""
    platform: str = ""
    business_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Connected(SpoolEvent):
    """`push_name` is the account's own name, where it is known by now."""

    jid: str = ""
    lid: str = ""
    push_name: str = ""


@dataclass(frozen=True, kw_only=True)
class Disconnected(SpoolEvent):
    pass


@dataclass(frozen=True, kw_only=True)
class LoggedOut(SpoolEvent):
    """WhatsApp says that the device is gone (`code` 401, 403, 406, ...), or a `LogOut` command was done (`code` 0)."""

    code: int = 0
    on_connect: bool = False


@dataclass(frozen=True, kw_only=True)
class Replaced(SpoolEvent):
    pass


@dataclass(frozen=True, kw_only=True)
class TemporarilyBanned(SpoolEvent):
    code: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ClientOutdated(SpoolEvent):
    pass


@dataclass(frozen=True, kw_only=True)
class ConnectFailed(SpoolEvent):
    """WhatsApp refused a login for a reason that may pass (`code` 500, 503, ...)."""

    code: int
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class StreamErrored(SpoolEvent):
    code: str


@dataclass(frozen=True, kw_only=True)
class KeepAliveTimedOut(SpoolEvent):
    error_count: int
    last_success: float


@dataclass(frozen=True, kw_only=True)
class KeepAliveRestored(SpoolEvent):
    pass


@dataclass(frozen=True, kw_only=True)
class OfflineSyncCompleted(SpoolEvent):
    count: int


@dataclass(frozen=True, kw_only=True)
class MessageReceived(SpoolEvent):
    """`chat`, `sender`: JIDs without device; `sender_alt` the same person's other address (phone number for a LID, and the
    reverse), where known. `kind` is the protobuf's field name (`conversation`, `imageMessage`, ...), `content` what it carries
    besides its text, `about` WhatsApp's id of the message that it answers or reacts to. `file` is what downloading its file takes,
    a key among it, `raw` the library's protobuf event. `from_me`: sent from another device of the same account; `from_phone`: that
    device is the phone."""

    message_id: str
    chat: str
    sender: str = field(repr=False)
    sender_alt: str = field(default="", repr=False)
    push_name: str = field(default="", repr=False)
    from_me: bool = False
    from_phone: bool = False
    is_group: bool = False
    timestamp: int = 0
    kind: str = "text"
    text: str = field(default="", repr=False)
    content: dict[str, Any] = field(default_factory=dict, repr=False)
    about: str = ""
    file: bytes = field(default=b"", repr=False)
    raw: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, kw_only=True)
class MessageUndecryptable(SpoolEvent):
    """A message came that cannot be read. One whose id is known already came twice, and nothing is lost: after a crash
    WhatsApp delivers the last messages again, and the engine cannot tell whether their first coming reached the spool."""

    message_id: str
    chat: str
    sender: str = field(repr=False)
    timestamp: int = 0


@dataclass(frozen=True, kw_only=True)
class ReceiptReceived(SpoolEvent):
    """`kind` as WhatsApp names it: `delivered` for the empty type, `read`, `played`, `retry`, `sender`, ... `from_phone`: sent by the
    phone of this very account."""

    chat: str
    sender: str = field(repr=False)
    message_ids: tuple[str, ...] = ()
    from_phone: bool = False
    kind: str = "delivered"
    timestamp: int = 0


@dataclass(frozen=True, kw_only=True)
class ResendFailed(SpoolEvent):
    """A device of the recipient could not read a message of ours and asked for it again, and the library could not send it again.

    `receiver` is that device's account, a JID without device: our own, where it was the copy for another device of ours.
    """

    message_id: str
    receiver: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class UnknownHappened(SpoolEvent):
    """Something the engine does not translate: its type's name, for the log."""

    name: str


Message = Any  # any dataclass of this module

_TYPES: dict[str, type] = {
    name: value
    for name, value in list(globals().items())
    if isinstance(value, type) and dataclasses.is_dataclass(value)
}


class BadMessage(ValueError):
    """A line that is not one of ours."""


def encode(message: Message) -> bytes:
    """One line of JSON, without its newline."""
    fields = {name: _to_json(value) for name, value in vars(message).items()}
    return json.dumps({"type": type(message).__name__, **fields}, separators=(",", ":")).encode()


def decode(line: bytes) -> Message:
    """The inverse of `encode`; raises `BadMessage`, which never quotes the line."""
    try:
        fields = json.loads(line)
        kind = _TYPES[fields.pop("type")]
        return kind(**{name: _from_json(value) for name, value in fields.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadMessage(f"not a message of an engine: {type(error).__name__}, {len(line)} bytes") from None


def _to_json(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, dict) and value.keys() == {"base64"}:
        return base64.b64decode(value["base64"])
    return tuple(value) if isinstance(value, list) else value
