"""Messages over HTTP: send one of any kind, and read what went out and came in."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated, Any

from django.conf import settings
from django.http import HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext
from ninja import Header, Router
from ninja import Query as FromQuery

from sessions_app import broadcast, fetching, files, outbound
from sessions_app.api import message_schemas as schemas
from sessions_app.api.auth import ApiRequest, Needs, session_for
from sessions_app.api.documents import answers
from sessions_app.api.errors import ApiError
from sessions_app.api.idempotency import Answer, once
from sessions_app.api.sessions import page
from sessions_app.models import Draft, DraftFile, Message, NotLinked, QueueFull, Scope, WhatsAppSession

router = Router(tags=["Messages"])

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Send the same key with the same request again, and it is not sent twice: the first answer comes back.",
    ),
]


_SEND = answers(
    202,
    schemas.MessageTaken,
    "session-not-found",
    "not-linked",
    "queue-full",
    "idempotency-key-reused",
    "bad-url",
    body=True,
)
_SEND["openapi_extra"]["requestBody"] = {
    "content": {"application/json": {"examples": {kind: {"value": body} for kind, body in schemas.EXAMPLES.items()}}}
}


@router.post("/sessions/{session_id}/messages", auth=Needs(Scope.SEND), summary="Send a message", **_SEND)
def send_message(
    request: ApiRequest, session_id: str, data: schemas.NewMessage, idempotency_key: Key = None
) -> HttpResponse:
    """It is queued, and goes out while the session is connected; messages of a chat keep their order.

    A body is one of these, each with its `to`: `text`; `reaction`; `location`; `contact`; `image`, `document`, `audio` or `video`, with
    their bytes in base64 or an address. All but reactions can answer another message of the chat: `reply_to`.
    """
    session = session_for(request, session_id)
    response = once(request, idempotency_key, data.model_dump(), lambda: _send(request, session, data))
    broadcast.session_changed(session.pk)
    return response


def _send(request: ApiRequest, session: WhatsAppSession, data: schemas.NewMessage) -> Answer:
    draft = _draft(session, data)
    try:
        message = session.send(draft, by=request.auth.actor, lasts=timedelta(seconds=data.expires_in))
    except NotLinked:
        raise ApiError("not-linked") from None
    except QueueFull:
        raise ApiError(
            "queue-full",
            gettext("%(n)d messages of this session wait to be sent already.") % {"n": settings.OXY_QUEUE_LIMIT},
            headers={"Retry-After": "60"},
        ) from None
    fetching.fetch_soon(message)
    return 202, {"id": str(message.code), "status": message.status}


def _draft(session: WhatsAppSession, data: schemas.NewMessage) -> Draft:
    if data.reaction:
        about = _about(session, data.to, data.reaction.message, "reaction.message")
        return Draft(data.to, data.reaction.emoji, "reaction", about=about)
    about = _about(session, data.to, data.reply_to, "reply_to")
    if data.location:
        place = data.location.model_dump(exclude={"name"}, exclude_none=True)
        return Draft(data.to, data.location.name or "", "location", place, about)
    if data.contact:
        return Draft(data.to, data.contact.name, "contact", {"phone": data.contact.phone}, about)
    if data.file:
        content, file = _file(data, data.file)
        return Draft(data.to, data.text, data.kind, content, about, file)
    return Draft(data.to, data.text, about=about)


def _file(data: schemas.NewMessage, file: schemas.File) -> tuple[dict[str, Any], DraftFile]:
    """The file and what the message says of it; raises `ApiError` where it is too large, of a wrong type, or at a wrong address."""
    content: dict[str, Any] = file.model_dump(include={"filename", "voice"})
    if file.url is not None:
        try:
            return content, DraftFile(url=outbound.check_url(file.url, limit=fetching.URL_LIMIT))
        except outbound.Refused as error:
            raise ApiError("bad-url", str(error)) from None
    if len(file.bytes) > settings.OXY_FILE_LIMIT:
        limit = filesizeformat(settings.OXY_FILE_LIMIT)
        raise ApiError("too-large", gettext("A file may have %(limit)s at most.") % {"limit": limit})
    name, voice = content.get("filename", ""), content.get("voice", False)
    try:
        mimetype = files.type_of(data.kind, file.bytes, filename=name, voice=voice)
    except files.WrongType as error:
        raise ApiError("invalid", f"“{data.kind}”: {error}", field=data.kind) from None
    return content | {"mimetype": mimetype, "size": len(file.bytes)}, DraftFile(file.bytes)


def _about(session: WhatsAppSession, chat: str, code: str | None, field: str) -> Message | None:
    """The message that is answered or reacted to; raises `ApiError` where it is not of this chat, or nobody has ever seen it."""
    if code is None:
        return None
    found = session.messages.filter(code=code, chat=chat).first()
    if found is None:
        raise ApiError(
            "invalid", gettext("“%(field)s”: this chat has no such message.") % {"field": field}, field=field
        )
    if found.status == Message.MessageStatus.FAILED:
        raise ApiError("invalid", gettext("“%(field)s”: that message was never sent.") % {"field": field}, field=field)
    return found


@router.get(
    "/sessions/{session_id}/messages",
    auth=Needs(Scope.READ),
    summary="List messages",
    exclude_unset=True,
    **answers(200, schemas.MessageList, "session-not-found", "invalid"),
)
def list_messages(request: ApiRequest, session_id: str, query: FromQuery[schemas.MessageQuery]) -> dict[str, Any]:
    """Messages in and out, the latest first."""
    asked = query.model_dump(include={"direction", "status", "chat"}, exclude_none=True)
    rows = session_for(request, session_id).messages.filter(
        **{name: value.replace("\0", "") for name, value in asked.items()}
    )
    return page(rows, query)


@router.get(
    "/sessions/{session_id}/messages/{message_id}",
    auth=Needs(Scope.READ),
    summary="Read a message",
    exclude_unset=True,
    **answers(200, schemas.MessageOut, "session-not-found", "message-not-found"),
)
def read_message(request: ApiRequest, session_id: str, message_id: str) -> dict[str, Any]:
    """Its `status` follows the receipts; where it is `failed`, `reason` says why."""
    return message_for(session_for(request, session_id), message_id).to_dict()


def message_for(session: WhatsAppSession, message_id: str) -> Message:
    """The message with this id; raises `ApiError` where the session has none."""
    try:
        message = session.messages.filter(code=uuid.UUID(message_id)).first()
    except ValueError:
        message = None
    if message is None:
        raise ApiError("message-not-found")
    return message
