"""From what is to be said to the library's protobuf: pure, one small function a kind, so that everything is checked before Go sees it.

The protobuf classes are neonize's (`waE2E`), which are not imported here: the class of a whole message is handed in. What a field must
hold so that phones show it was read in whatsmeow and Baileys.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sessions_app.engine import events

Proto = Any

#: Kinds that are a file.
FILES = ("image", "document", "audio", "video")
#: Servers of chats between two, where a message's author needs no name.
_PRIVATE = ("s.whatsapp.net", "lid")


class CannotCompose(ValueError):
    """A message that no kind fits; the text is a sentence's end."""


def compose(command: events.SendMessage, message: Proto, *, to: str, own: str, uploaded: Proto | None = None) -> Proto:
    """Fill an empty `message`. `to` and `own` are the JIDs of the chat and of this account, without device; `uploaded` is what the
    library said about the command's file."""
    try:
        _KINDS[command.kind](command, message, to)
        if command.kind in FILES:
            _attach(getattr(message, f"{command.kind}Message"), uploaded)
        if command.about and command.kind != "reaction":
            _quote(command, message, own)
    except (KeyError, TypeError, ValueError) as error:
        raise CannotCompose(f"a {command.kind} cannot be made of this ({type(error).__name__})") from None
    return message


def _text(command: events.SendMessage, message: Proto, to: str) -> None:
    # Only the longer form can quote; phones make the short one wherever they can.
    if command.about:
        message.extendedTextMessage.text = command.text
    else:
        message.conversation = command.text


def _reaction(command: events.SendMessage, message: Proto, to: str) -> None:
    """The text is an emoji; none takes the reaction back."""
    reaction = message.reactionMessage
    reaction.key.remoteJID = to
    reaction.key.ID = command.about["message_id"]
    reaction.key.fromMe = not command.about["sender"]
    if command.about["sender"] and to.partition("@")[2] not in _PRIVATE:
        reaction.key.participant = command.about["sender"]
    reaction.text = command.text
    reaction.senderTimestampMS = int(time.time() * 1000)


def _location(command: events.SendMessage, message: Proto, to: str) -> None:
    place = message.locationMessage
    place.degreesLatitude = command.content["latitude"]
    place.degreesLongitude = command.content["longitude"]
    place.name = command.text
    place.address = command.content.get("address", "")


def _contact(command: events.SendMessage, message: Proto, to: str) -> None:
    message.contactMessage.displayName = command.text
    message.contactMessage.vcard = vcard(command.text, command.content["phone"])


def _file(command: events.SendMessage, message: Proto, to: str) -> None:
    """What is said about a file; where it lies, `_attach` adds."""
    part, content = getattr(message, f"{command.kind}Message"), command.content
    part.mimetype = content["mimetype"]
    if command.kind == "document":
        part.fileName = part.title = content.get("filename", "")
    if command.kind == "audio":
        part.PTT = content.get("voice", False)
    elif command.text:
        part.caption = command.text


def _attach(part: Proto, uploaded: Proto | None) -> None:
    if uploaded is None:
        raise ValueError("no file")
    part.URL, part.directPath, part.mediaKey = uploaded.url, uploaded.DirectPath, uploaded.MediaKey
    part.fileSHA256, part.fileEncSHA256, part.fileLength = (
        uploaded.FileSHA256,
        uploaded.FileEncSHA256,
        uploaded.FileLength,
    )
    part.mediaKeyTimestamp = int(time.time())


def vcard(name: str, phone: str) -> str:
    """A card with one number (digits with the country code); `waid` is what makes phones offer to write to it."""
    said = name.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\r", "").replace("\n", "\\n")
    lines = ("BEGIN:VCARD", "VERSION:3.0", f"N:;{said};;;", f"FN:{said}", f"TEL;type=CELL;waid={phone}:+{phone}")
    return "\n".join((*lines, "END:VCARD"))


def _quote(command: events.SendMessage, message: Proto, own: str) -> None:
    """Put what is answered into the message: phones show this copy, and find the original by its id."""
    about = command.about
    (field, _), *_rest = message.ListFields()
    context = getattr(message, field.name).contextInfo
    context.stanzaID = about["message_id"]
    context.participant = about["sender"] or own
    quoted = events.SendMessage(session="", ref="", to="", **{n: about[n] for n in ("kind", "text", "content")})
    if quoted.kind in _QUOTABLE and quoted.content:
        _KINDS[quoted.kind](quoted, context.quotedMessage, "")
    else:
        context.quotedMessage.conversation = quoted.text


_KINDS: dict[str, Callable[[events.SendMessage, Proto, str], None]] = {
    "text": _text,
    "reaction": _reaction,
    "location": _location,
    "contact": _contact,
    **dict.fromkeys(FILES, _file),
}
#: Kinds of which a quote shows more than the text, where we know it.
_QUOTABLE = ("location", "contact", *FILES)
