"""What is in a message besides its envelope: read as a phone shows it, and made as a phone sends it. One small function a kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from simulator.proto import Message

Proto = Any
#: Kind, readable text, and what else it carries.
Content = tuple[str, str, dict[str, Any]]

#: Fields that hold a file.
MEDIA = ("image", "document", "audio", "video")


def read(message: Proto) -> Content | None:
    """What a person sees of a message; None for what only devices read."""
    if message.conversation:
        return "text", message.conversation, {}
    for name, show in _SHOWN.items():
        if message.HasField(name):
            part = getattr(message, name)
            text, content = show(part)
            return ("text" if name == "extendedText" else name), text, content | _quote(part)
    return None


def _quote(part: Proto) -> dict[str, Any]:
    """The id of the quoted message, whose it is, and what is shown of it."""
    if "context" not in part.DESCRIPTOR.fields_by_name or not part.context.stanzaId:
        return {}
    shown = read(part.context.quoted)
    return {"quotes": part.context.stanzaId, "of": part.context.participant, "quoted": shown[1] if shown else ""}


def _reaction(part: Proto) -> tuple[str, dict[str, Any]]:
    key = part.key
    return part.text, {"reacts_to": key.id, "from_me": key.fromMe, "of": key.participant, "in": key.remoteJid}


def _location(part: Proto) -> tuple[str, dict[str, Any]]:
    return part.name, {"latitude": part.latitude, "longitude": part.longitude, "address": part.address}


def _contact(part: Proto) -> tuple[str, dict[str, Any]]:
    return part.displayName, {"vcard": part.vcard}


def _media(part: Proto) -> tuple[str, dict[str, Any]]:
    """With what is needed to fetch the file; bytes as hexadecimal digits."""
    names = ("mimetype", "fileName", "fileLength", "ptt", "directPath", "mediaKey", "encHash", "fileHash")
    values = {name: getattr(part, name) for name in names if name in part.DESCRIPTOR.fields_by_name}
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}
    return getattr(part, "caption", ""), shown


_SHOWN: dict[str, Callable[[Proto], tuple[str, dict[str, Any]]]] = {
    "extendedText": lambda part: (part.text, {}),
    "reaction": _reaction,
    "location": _location,
    "contact": _contact,
    **dict.fromkeys(MEDIA, _media),
}


# --- what a phone sends ------------------------------------------------------------------


def text(body: str) -> Proto:
    return Message(conversation=body)


def reply(body: str, message_id: str, author: str, quoted: str) -> Proto:
    """A text that quotes a message of `author` (an address)."""
    message = Message()
    message.extendedText.text = body
    message.extendedText.context.stanzaId, message.extendedText.context.participant = message_id, author
    message.extendedText.context.quoted.conversation = quoted
    return message


def reaction(emoji: str, message_id: str, chat: str, *, from_me: bool) -> Proto:
    message = Message()
    key = message.reaction.key
    key.remoteJid, key.id, key.fromMe = chat, message_id, from_me
    message.reaction.text = emoji
    message.reaction.senderTimestampMs = int(time.time() * 1000)
    return message


def location(latitude: float, longitude: float, name: str) -> Proto:
    message = Message()
    message.location.latitude, message.location.longitude, message.location.name = latitude, longitude, name
    return message
