"""From the library's protobuf events to ours: pure, one small function an event.

The argument types are neonize's generated classes (`Neonize.proto`), which are not imported here: only their field names
are relied on. A JID message has `User`, `Device` and `Server`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Container
from typing import Any

from sessions_app.engine import events

Proto = Any

#: WhatsApp's own numbers for the names that the binding gives (whatsmeow, `types/events/events.go`).
CONNECT_FAILURES = {
    "GENERIC": 400,
    "LOGGED_OUT": 401,
    "TEMP_BANNED": 402,
    "MAIN_DEVICE_GONE": 403,
    "CLIENT_OUTDATED": 405,
    "UNKNOWN_LOGOUT": 406,
    "BAD_USER_AGENT": 409,
    "INTERNAL_SERVER_ERROR": 500,
    "EXPERIMENTAL": 501,
    "SERVICE_UNAVAILABLE": 503,
}
TEMPORARY_BANS = {
    "SEND_TO_TOO_MANY_PEOPLE": 101,
    "BLOCKED_BY_USERS": 102,
    "CREATED_TOO_MANY_GROUPS": 103,
    "SENT_TOO_MANY_SAME_MESSAGE": 104,
    "BROADCAST_LIST": 106,
}
#: Parts of a message that carry no content of their own, so that they never name its kind.
_ENVELOPE = {"messageContextInfo", "senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage"}
#: Where the readable text of a kind is; the kinds that are not listed have none.
_TEXT_FIELDS = {
    "extendedTextMessage": "text",
    "imageMessage": "caption",
    "videoMessage": "caption",
    "documentMessage": "caption",
    "reactionMessage": "text",
    "buttonsResponseMessage": "selectedDisplayText",
    "templateButtonReplyMessage": "selectedDisplayText",
    "listResponseMessage": "title",
    "contactMessage": "displayName",
    "locationMessage": "name",
}


def jid(proto: Proto) -> str:
    """`user:device@server`, with the device left out where it is 0; "" for an empty JID."""
    if not proto.User:
        return str(proto.Server)
    return f"{proto.User}:{proto.Device}@{proto.Server}" if proto.Device else f"{proto.User}@{proto.Server}"


def chat_jid(proto: Proto) -> str:
    """`user@server`: a person or a group, whichever device it is."""
    return f"{proto.User}@{proto.Server}" if proto.User else str(proto.Server)


def kind_and_text(message: Proto) -> tuple[str, str]:
    """The name of the field that a message's content is in, and its readable text ("" where it has none)."""
    names = [field.name for field, _ in message.ListFields() if field.name not in _ENVELOPE]
    kind = names[0] if names else "empty"
    if kind == "conversation":
        return kind, str(message.conversation)
    if kind in _TEXT_FIELDS:
        return kind, str(getattr(getattr(message, kind), _TEXT_FIELDS[kind]))
    return kind, ""


def message_about(message: Proto) -> str:
    """WhatsApp's id of the message that this one answers or reacts to; "" where there is none."""
    for field, value in message.ListFields():
        if field.name == "reactionMessage":
            return str(value.key.ID)
        if field.name not in _ENVELOPE and "contextInfo" in _names(value):
            return str(value.contextInfo.stanzaID)
    return ""


def _names(value: Proto) -> Container[str]:
    return (getattr(value, "DESCRIPTOR", None) and value.DESCRIPTOR.fields_by_name) or ()


def content_of(message: Proto) -> dict[str, Any]:
    """What a message carries besides its text, by the names under which it is shown; {} for kinds without."""
    for field, value in message.ListFields():
        if read := _CONTENT.get(field.name):
            return read(value)
    return {}


def _place(proto: Proto) -> dict[str, Any]:
    found = {"latitude": float(proto.degreesLatitude), "longitude": float(proto.degreesLongitude)}
    # NaN is no JSON.
    return found | {"address": str(proto.address)} if all(map(math.isfinite, found.values())) else {}


def _card(proto: Proto) -> dict[str, Any]:
    found = re.search(r"waid=(\d+)", proto.vcard) or re.search(r"TEL[^:\n]*:\+?([\d ()-]+)", proto.vcard)
    return {"phone": re.sub(r"\D", "", found[1])[:20] if found else ""}


def _file(proto: Proto) -> dict[str, Any]:
    found: dict[str, Any] = {"mimetype": str(proto.mimetype), "size": int(proto.fileLength)}
    names = proto.DESCRIPTOR.fields_by_name
    if "fileName" in names:
        found["filename"] = str(proto.fileName)
    if "PTT" in names:
        found["voice"] = bool(proto.PTT)
    return found


_CONTENT: dict[str, Callable[[Proto], dict[str, Any]]] = {
    "locationMessage": _place,
    "contactMessage": _card,
    **dict.fromkeys(
        ("imageMessage", "documentMessage", "audioMessage", "videoMessage", "ptvMessage", "stickerMessage"), _file
    ),
}


def file_of(message: Proto) -> bytes:
    """What downloading a message's file takes: the part that names it, without pictures and quotes; b"" where it has none."""
    for field, value in message.ListFields():
        if field.name in _FILES and value.directPath:
            bare = type(message)()
            part = getattr(bare, field.name)
            for name in _LOCATION:
                setattr(part, name, getattr(value, name))
            return bytes(bare.SerializeToString())
    return b""


#: Kinds of which the library can download the file, and what it needs for that.
_FILES = ("imageMessage", "documentMessage", "audioMessage", "videoMessage", "stickerMessage")
_LOCATION = ("directPath", "mediaKey", "fileSHA256", "fileEncSHA256", "fileLength", "mimetype")


class Translator:
    """Makes our events of one session under one epoch."""

    def __init__(self, session: str, epoch: int) -> None:
        self._session = session
        self._epoch = epoch
        self._by_name: dict[str, Callable[[Proto, dict[str, Any]], events.SpoolEvent]] = {
            "PairStatus": _pair_status,
            "Connected": lambda _, base: events.Connected(**base),
            "Disconnected": lambda _, base: events.Disconnected(**base),
            "LoggedOut": _logged_out,
            "StreamReplaced": lambda _, base: events.Replaced(**base),
            "TemporaryBan": _temporary_ban,
            "ClientOutdated": lambda _, base: events.ClientOutdated(**base),
            "ConnectFailure": _connect_failure,
            "StreamError": lambda proto, base: events.StreamErrored(**base, code=proto.Code),
            "KeepAliveTimeout": _keep_alive_timeout,
            "KeepAliveRestored": lambda _, base: events.KeepAliveRestored(**base),
            "OfflineSyncCompleted": lambda proto, base: events.OfflineSyncCompleted(**base, count=proto.Count),
            "Message": _message,
            "UndecryptableMessage": _undecryptable,
            "Receipt": _receipt,
        }

    def event(self, name: str, proto: Proto, raw: bytes, at: float) -> events.SpoolEvent:
        """Ours for the library's event `name`, which came as the bytes `raw` at the time `at`; `UnknownHappened` for a name
        without a translation."""
        base: dict[str, Any] = {"session": self._session, "epoch": self._epoch, "at": at}
        translate = self._by_name.get(name)
        event = translate(proto, base) if translate else events.UnknownHappened(**base, name=name)
        return dataclasses.replace(event, raw=raw) if isinstance(event, events.MessageReceived) else event


def _pair_status(proto: Proto, base: dict[str, Any]) -> events.SpoolEvent:
    if proto.Status != proto.SUCCESS:
        return events.PairingRoundEnded(**base, outcome="error")
    return events.Paired(**base, jid=jid(proto.ID), platform=proto.Platform, business_name=proto.BusinessName)


def _failure_code(proto: Proto) -> int:
    return CONNECT_FAILURES[_enum_name(proto, "Reason")]


def _logged_out(proto: Proto, base: dict[str, Any]) -> events.SpoolEvent:
    return events.LoggedOut(**base, code=_failure_code(proto), on_connect=proto.OnConnect)


def _connect_failure(proto: Proto, base: dict[str, Any]) -> events.SpoolEvent:
    return events.ConnectFailed(**base, code=_failure_code(proto), message=proto.Message)


def _temporary_ban(proto: Proto, base: dict[str, Any]) -> events.SpoolEvent:
    return events.TemporarilyBanned(**base, code=TEMPORARY_BANS[_enum_name(proto, "Code")], seconds=proto.Expire)


def _keep_alive_timeout(proto: Proto, base: dict[str, Any]) -> events.SpoolEvent:
    return events.KeepAliveTimedOut(**base, error_count=proto.ErrorCount, last_success=proto.LastSuccess)


def _message(proto: Proto, base: dict[str, Any]) -> events.SpoolEvent:
    info, source = proto.Info, proto.Info.MessageSource
    kind, text = kind_and_text(proto.Message)
    return events.MessageReceived(
        **base,
        message_id=info.ID,
        chat=chat_jid(source.Chat),
        sender=chat_jid(source.Sender),
        sender_alt=chat_jid(source.SenderAlt),
        push_name=info.Pushname,
        from_me=source.IsFromMe,
        from_phone=_is_own_phone(source),
        is_group=source.IsGroup,
        timestamp=info.Timestamp // 1000,  # the one field of the binding that is in milliseconds
        kind=kind,
        text=text,
        content=content_of(proto.Message),
        about=message_about(proto.Message),
        file=file_of(proto.Message),
    )


def _undecryptable(proto: Proto, base: dict[str, Any]) -> events.SpoolEvent:
    info, source = proto.Info, proto.Info.MessageSource
    return events.MessageUndecryptable(
        **base,
        message_id=info.ID,
        chat=chat_jid(source.Chat),
        sender=chat_jid(source.Sender),
        timestamp=info.Timestamp // 1000,
    )


def _receipt(proto: Proto, base: dict[str, Any]) -> events.SpoolEvent:
    source = proto.MessageSource
    return events.ReceiptReceived(
        **base,
        chat=chat_jid(source.Chat),
        sender=chat_jid(source.Sender),
        message_ids=tuple(proto.MessageIDs),
        from_phone=_is_own_phone(source),
        kind=_enum_name(proto, "Type").lower().replace("_", "-"),
        timestamp=proto.Timestamp,
    )


def _is_own_phone(source: Proto) -> bool:
    """Whether the account's own main device, number 0, sent it."""
    return bool(source.IsFromMe and source.Sender.User and not source.Sender.Device)


def _enum_name(proto: Proto, field: str) -> str:
    values = proto.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return str(values[getattr(proto, field)].name)
