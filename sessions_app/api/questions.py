"""What a program asks of WhatsApp through a session: whether a number is there, which groups the account is in, and files that came in."""

from __future__ import annotations

import re
import time
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.template.defaultfilters import filesizeformat
from django.utils.http import content_disposition_header
from django.utils.translation import gettext
from ninja import Router

from sessions_app.api import message_schemas as schemas
from sessions_app.api import waiting
from sessions_app.api.auth import ApiRequest, Needs, session_for
from sessions_app.api.documents import answers
from sessions_app.api.errors import ApiError
from sessions_app.api.messages import message_for
from sessions_app.lifecycle import Status
from sessions_app.models import Message, Question, ReceivedFile, Scope, WhatsAppSession
from sessions_app.numbers import read_phone
from sessions_app.vault.crypto import Unreadable

router = Router(tags=["Questions"])

_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+(; ?codecs=[a-z0-9]+)?")
_ASKED = ("session-not-found", "not-connected", "refused", "host-did-not-answer", "whatsapp-did-not-answer")


def ask(session: WhatsAppSession, kind: Question.Kind, **arguments: Any) -> Question:
    """The question with its answer; raises `ApiError` where there is none within the patience that waiting has."""
    if session.status != Status.CONNECTED or session.deleting:
        raise ApiError("not-connected", status_now=session.status)
    row = Question.objects.create(session=session, kind=kind, arguments=arguments)
    try:
        return _answer_to(row)
    finally:
        row.delete()


def _answer_to(row: Question) -> Question:
    end = time.monotonic() + waiting.PATIENCE
    while True:
        found = Question.objects.defer("sealed").filter(pk=row.pk).first()
        if found is None:
            raise ApiError("session-not-found")
        if found.failed:
            raise ApiError("refused")
        if found.answered_at:
            return Question.objects.select_related("session").get(pk=row.pk)
        if time.monotonic() >= end:
            raise ApiError("whatsapp-did-not-answer" if found.taken_at else "host-did-not-answer")
        time.sleep(waiting.LOOK_EVERY)


@router.get(
    "/sessions/{session_id}/numbers/{phone}",
    auth=Needs(Scope.READ),
    summary="Look a number up",
    **answers(200, schemas.NumberOut, *_ASKED, "invalid"),
)
def look_up_number(request: ApiRequest, session_id: str, phone: str) -> dict[str, Any]:
    """Whether there is a WhatsApp account with this number, and its address. WhatsApp limits how many numbers an account may look up."""
    session = session_for(request, session_id)
    try:
        digits = read_phone(phone)
    except ValidationError as error:
        raise ApiError("invalid", f"“phone”: {error.messages[0]}", field="phone") from None
    found = ask(session, Question.Kind.NUMBER, phone=digits).answer
    return {"phone": digits, "exists": bool(found.get("exists")), "jid": str(found.get("jid", ""))}


@router.get(
    "/sessions/{session_id}/groups",
    auth=Needs(Scope.READ),
    summary="List groups",
    **answers(200, schemas.GroupList, *_ASKED),
)
def list_groups(request: ApiRequest, session_id: str) -> dict[str, Any]:
    """The groups that the account is in now, by name. Send to a group by its `jid`."""
    groups = ask(session_for(request, session_id), Question.Kind.GROUPS).answer.get("groups", [])
    return {"items": groups, "count": len(groups)}


_FILE = answers(200, None, *_ASKED, "message-not-found", "file-not-found", "file-gone", "too-large")
_FILE["openapi_extra"]["responses"][200] = {
    "description": "The file, under the type that its sender gave it.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


@router.get(
    "/sessions/{session_id}/messages/{message_id}/media",
    auth=Needs(Scope.READ),
    summary="Download a file",
    **_FILE,
)
def download_file(request: ApiRequest, session_id: str, message_id: str) -> HttpResponse:
    """The image, document, audio, video or sticker of a message that came in, fetched from WhatsApp now; it has them for some weeks."""
    session = session_for(request, session_id)
    message = message_for(session, message_id)
    content = message.content or {}
    if not ReceivedFile.objects.filter(message=message).exists():
        raise ApiError("file-not-found")
    if content.get("size", 0) > settings.OXY_FILE_LIMIT:
        raise _too_large()
    found = ask(session, Question.Kind.FILE, message=str(message.code))
    if not found.answer.get("found"):
        raise ApiError("file-gone")
    if found.sealed is None:
        raise _too_large()
    try:
        data = found.data
    except Unreadable:
        raise ApiError("refused") from None
    return _as_file(message, data)


def _too_large() -> ApiError:
    limit = filesizeformat(settings.OXY_FILE_LIMIT)
    return ApiError("too-large", gettext("A file may have %(limit)s at most.") % {"limit": limit})


def _as_file(message: Message, data: bytes) -> HttpResponse:
    """Never shown by a browser as a page of ours, whatever its sender calls it."""
    content = message.content or {}
    said = str(content.get("mimetype", ""))
    response = HttpResponse(data, content_type=said if _TYPE.fullmatch(said) else "application/octet-stream")
    name = str(content.get("filename") or message.type)
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    response["X-Content-Type-Options"] = "nosniff"
    return response
