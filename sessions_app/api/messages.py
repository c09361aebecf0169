"""Messages over HTTP: send a text, and read what went out and came in."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Annotated, Any

from django.conf import settings
from django.http import HttpResponse
from django.utils.translation import gettext
from ninja import Header, Router
from ninja import Query as FromQuery

from sessions_app import broadcast
from sessions_app.api import schemas
from sessions_app.api.auth import ApiRequest, Needs, session_for
from sessions_app.api.documents import answers
from sessions_app.api.errors import ApiError
from sessions_app.api.idempotency import Answer, once
from sessions_app.api.sessions import page
from sessions_app.models import NotLinked, QueueFull, Scope, WhatsAppSession

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


@router.post(
    "/sessions/{session_id}/messages",
    auth=Needs(Scope.SEND),
    summary="Send a text",
    **answers(
        202,
        schemas.MessageTaken,
        "session-not-found",
        "not-linked",
        "queue-full",
        "idempotency-key-reused",
        body=True,
    ),
)
def send_message(
    request: ApiRequest, session_id: str, data: schemas.NewMessage, idempotency_key: Key = None
) -> HttpResponse:
    """It is queued, and goes out while the session is connected; messages of a session keep their order."""
    session = session_for(request, session_id)
    response = once(request, idempotency_key, data.model_dump(), lambda: _send(request, session, data))
    broadcast.session_changed(session.pk)
    return response


def _send(request: ApiRequest, session: WhatsAppSession, data: schemas.NewMessage) -> Answer:
    try:
        message = session.send_text(data.to, data.text, by=request.auth.actor, lasts=timedelta(seconds=data.expires_in))
    except NotLinked:
        raise ApiError("not-linked") from None
    except QueueFull:
        raise ApiError(
            "queue-full",
            gettext("%(n)d messages of this session wait to be sent already.") % {"n": settings.OXY_QUEUE_LIMIT},
            headers={"Retry-After": "60"},
        ) from None
    return 202, {"id": str(message.code), "status": message.status}


@router.get(
    "/sessions/{session_id}/messages",
    auth=Needs(Scope.READ),
    summary="List messages",
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
    **answers(200, schemas.MessageOut, "session-not-found", "message-not-found"),
)
def read_message(request: ApiRequest, session_id: str, message_id: str) -> dict[str, Any]:
    """Its `status` follows the receipts; where it is `failed`, `reason` says why."""
    session = session_for(request, session_id)
    try:
        message = session.messages.filter(code=uuid.UUID(message_id)).first()
    except ValueError:
        message = None
    if message is None:
        raise ApiError("message-not-found")
    return message.to_dict()
