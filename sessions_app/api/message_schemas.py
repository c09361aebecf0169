"""What goes in and out about messages: one body for every kind, of which it holds exactly one, and the message as it is shown."""

from __future__ import annotations

import base64
import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from django.utils.translation import gettext
from ninja import Schema
from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from sessions_app import fetching
from sessions_app.api.schemas import Body, Query, printable, said
from sessions_app.models import FILE_KINDS
from sessions_app.numbers import read_chat, read_phone

#: The longest text that is taken, in characters.
LONGEST_TEXT = 65_536
DAY, WEEK = 86_400, 7 * 86_400
#: What a body may hold besides a file.
ROOM = 512 * 1024
ID = "6f1c1f52-6d7c-4d0c-9d0e-0f6f0c6f8f11"

Text = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT), AfterValidator(printable)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300), AfterValidator(printable)]
Emoji = Annotated[str, StringConstraints(strip_whitespace=True, max_length=16), AfterValidator(printable)]


def _code(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValueError(
            gettext("it is the id of a message, as it was given when that was sent or received.")
        ) from None


MessageId = Annotated[str, StringConstraints(max_length=40), AfterValidator(_code)]


class Reaction(Body):
    message: MessageId = Field(description="The id of the message to react to; it is in the chat `to`.", examples=[ID])
    emoji: Emoji = Field(description="One emoji; an empty text takes the reaction back.", examples=["👍"])


class Location(Body):
    latitude: float = Field(ge=-90, le=90, allow_inf_nan=False, examples=[-23.5614])
    longitude: float = Field(ge=-180, le=180, allow_inf_nan=False, examples=[-46.6559])
    name: Line | None = Field(default=None, examples=["Shop downtown"])
    address: Line | None = Field(default=None, examples=["Avenida Paulista 1578"])


class Contact(Body):
    name: Line = Field(examples=["Bia"])
    phone: Annotated[str, StringConstraints(max_length=40), said(read_phone)] = Field(
        description="With its country code.", examples=["+55 11 98765-0003"]
    )


class File(Body):
    """Its bytes, or where they are. The type is read from the bytes themselves, whatever the file is called."""

    data: str | None = Field(default=None, description="The bytes in base64.", examples=[None])
    url: str | None = Field(
        default=None,
        min_length=1,
        max_length=fetching.URL_LIMIT,
        description="From where a worker fetches it, within 45 seconds; not from private networks.",
        examples=["https://shop.example/bike.png"],
    )
    _bytes: bytes = b""

    @model_validator(mode="after")
    def _is_one_file(self) -> Self:
        if (self.data is None) == (self.url is None):
            raise ValueError(gettext("it has either data or a url."))
        if self.data is not None:
            try:
                self._bytes = base64.b64decode(self.data, validate=True)
            except ValueError:
                raise ValueError(gettext("its data is not base64.")) from None
            if not self._bytes:
                raise ValueError(gettext("its data is empty."))
        return self

    @property
    def bytes(self) -> bytes:
        return self._bytes


class Document(File):
    filename: Annotated[Line, StringConstraints(max_length=200, pattern=r"^[^/\\]+$")] = Field(
        description="What the receiver sees it called.", examples=["menu.pdf"]
    )


class Audio(File):
    voice: bool = Field(default=False, description="A voice note: Opus in an Ogg file.", examples=[True])


#: The fields of which a message has one; to a file, `text` is its caption.
KINDS = ("reaction", "location", "contact", *FILE_KINDS)
CAPTIONED = ("image", "document", "video")


class NewMessage(Body):
    """`text`, or exactly one of `reaction`, `location`, `contact`, `image`, `document`, `audio` and `video`."""

    to: Annotated[str, StringConstraints(max_length=80), said(read_chat)] = Field(
        description="A phone number with its country code, or an address that ends in @s.whatsapp.net, @lid or @g.us.",
        examples=["+55 11 98765-0002"],
    )
    text: Text = Field(default_factory=str, examples=["Your order has left the shop."])
    reply_to: MessageId | None = Field(
        default=None, description="The id of a message of the same chat, which is quoted.", examples=[None]
    )
    reaction: Reaction | None = Field(default=None, examples=[None])
    location: Location | None = Field(default=None, examples=[None])
    contact: Contact | None = Field(default=None, examples=[None])
    image: File | None = Field(default=None, description="JPEG or PNG; `text` is its caption.", examples=[None])
    document: Document | None = Field(default=None, description="Any file; `text` is its caption.", examples=[None])
    audio: Audio | None = Field(default=None, description="Ogg, MP3, M4A, AAC or AMR.", examples=[None])
    video: File | None = Field(default=None, description="MP4 or 3GP; `text` is its caption.", examples=[None])
    expires_in: int = Field(
        default=DAY,
        ge=1,
        le=WEEK,
        description="Seconds that it may wait for the session to be connected.",
        examples=[3600],
    )

    @property
    def kind(self) -> str:
        return next((name for name in KINDS if getattr(self, name) is not None), "text")

    @property
    def file(self) -> File | None:
        return getattr(self, self.kind) if self.kind in FILE_KINDS else None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) > 1:
            raise _wrong(given[1], gettext("a message is one thing: send another one for this."))
        if not given and not self.text:
            raise _wrong("text", gettext("it is required, where nothing else is sent."))
        if given and self.text and given[0] not in CAPTIONED:
            raise _wrong("text", gettext("this kind of message has no text."))
        if self.reaction and self.reply_to:
            raise _wrong("reply_to", gettext("a reaction names its message itself."))
        return self


_TO = "+55 11 98765-0002"
#: A body of each kind, for the document.
EXAMPLES: dict[str, dict[str, Any]] = {
    "text": {"to": _TO, "text": "Your order has left the shop."},
    "reply": {"to": _TO, "text": "It comes by bicycle.", "reply_to": ID},
    "group": {"to": "120363000000000001@g.us", "text": "Good morning, neighbours."},
    "reaction": {"to": _TO, "reaction": {"message": ID, "emoji": "👍"}},
    "location": {"to": _TO, "location": {"latitude": -23.5614, "longitude": -46.6559, "name": "Shop downtown"}},
    "contact": {"to": _TO, "contact": {"name": "Caio, the courier", "phone": "+55 11 98765-0003"}},
    "image": {"to": _TO, "image": {"url": "https://shop.example/bike.png"}, "text": "Your new bike"},
    "document": {"to": _TO, "document": {"data": "JVBERi0xLjQK", "filename": "menu.pdf"}},
    "audio": {"to": _TO, "audio": {"url": "https://shop.example/hello.ogg", "voice": True}},
    "video": {"to": _TO, "video": {"url": "https://shop.example/tour.mp4"}},
}


def _wrong(field: str, sentence: str) -> ValidationError:
    """What is wrong with one field, found where all are known."""
    problem = InitErrorDetails(type=PydanticCustomError("kind", sentence.replace("{", "(")), loc=(field,), input=None)
    return ValidationError.from_exception_data("NewMessage", [problem])


class MessageTaken(Schema):
    id: str = Field(examples=[ID])
    status: str = Field(examples=["queued"])


class MessageQuery(Query):
    direction: Literal["in", "out"] | None = None
    status: Literal["queued", "sending", "sent", "delivered", "read", "failed", "received"] | None = None
    chat: str | None = Field(default=None, max_length=80, description="Only messages of this chat.")


class MessageOut(Schema):
    id: str = Field(examples=[ID])
    direction: Literal["in", "out"] = Field(examples=["out"])
    chat: str = Field(examples=["5511987650002@s.whatsapp.net"])
    sender: str = Field(examples=[""])
    text: str = Field(
        description="The text or caption; a reaction's emoji, a place's or a contact's name.",
        examples=["Your order has left the shop."],
    )
    type: str = Field(
        description="text, reaction, location, contact, image, document, audio, video, sticker, … or WhatsApp's own name.",
        examples=["text"],
    )
    status: str = Field(
        description="Of a message that goes out: queued, sending, sent, delivered, read or failed. Else: received.",
        examples=["delivered"],
    )
    reason: str = Field(description="Why it failed, as a code.", examples=[""])
    created_at: datetime = Field(examples=["2026-11-23T09:05:00.500Z"])
    content: dict[str, Any] = Field(
        default_factory=dict,
        description="What a type carries besides the text; absent where that is nothing.",
        examples=[{"latitude": -23.5614, "longitude": -46.6559, "address": "Avenida Paulista 1578"}],
    )
    about: str | None = Field(
        default=None,
        description="The id of the message that it answers or reacts to; absent where there is none, or where we do not have it.",
        examples=[ID],
    )


class MessageList(Schema):
    items: list[MessageOut]
    count: int = Field(examples=[1])


class NumberOut(Schema):
    phone: str = Field(description="Digits, with the country code.", examples=["5511987650002"])
    exists: bool = Field(examples=[True])
    jid: str = Field(
        description="Where to write to; empty where there is no account.", examples=["5511987650002@s.whatsapp.net"]
    )


class GroupOut(Schema):
    jid: str = Field(examples=["120363000000000001@g.us"])
    name: str = Field(examples=["Neighbours"])
    participants: int = Field(description="How many are in it.", examples=[12])


class GroupList(Schema):
    items: list[GroupOut]
    count: int = Field(examples=[1])
