"""Two calls that services of other consoles know: make a session, and start it with the QR code in the answer."""

from __future__ import annotations

import time
from typing import Any

from ninja import Field, Router, Status

from sessions_app.api import schemas
from sessions_app.api.auth import ApiRequest, Needs, session_for
from sessions_app.api.commands import ask
from sessions_app.api.documents import answers
from sessions_app.api.errors import ApiError
from sessions_app.api.sessions import create_session
from sessions_app.api.waiting import LOOK_EVERY, PATIENCE
from sessions_app.lifecycle import Command
from sessions_app.lifecycle import Status as SessionStatus
from sessions_app.models import Scope, SessionCommand, WhatsAppSession
from sessions_app.vault.crypto import Unreadable

router = Router(tags=["WhatsApp"], auth=Needs(Scope.CONTROL))

#: It runs, or tries to: there is nothing to start.
_ACTIVE = (SessionStatus.PAIRING, SessionStatus.CONNECTING, SessionStatus.CONNECTED, SessionStatus.WAITING)
#: A start that led here shows no code for now.
_WITHOUT_CODE = (SessionStatus.WAITING, SessionStatus.BANNED, SessionStatus.FAILED)


class NewWhatsApp(schemas.Body):
    name: schemas.Name = Field(examples=["Shop downtown"])
    userId: schemas.Owner = Field("", description="Whose session it is: its `owner`.", examples=["acme"])


class WhatsAppOut(schemas.SessionOut):
    id: str = Field(description="The session's `session_id`.", examples=["shop"])


class ActiveOut(WhatsAppOut):
    qr: schemas.QrOut | None = Field(description="The code to scan now; null where a phone is linked already.")


@router.post("", summary="Make a session", **answers(201, WhatsAppOut, "forbidden", "session-exists", body=True))
def create(request: ApiRequest, data: NewWhatsApp) -> Status[dict[str, Any]]:
    """The same as `POST /api/sessions`."""
    made = create_session(request, schemas.NewSession(name=data.name, owner=data.userId))
    return Status(201, _shown(made.value))


@router.post(
    "/{session_id}/activate",
    summary="Start a session and show its QR code",
    **answers(200, ActiveOut, "session-not-found", "not-allowed", "host-did-not-answer", "still-under-way"),
)
def activate(request: ApiRequest, session_id: str) -> dict[str, Any]:
    """Waits up to 20 seconds for the first code. A session that has credentials connects, and shows none.

    Call it again for the code that has followed: a session that is active already is not started anew.
    """
    session = session_for(request, session_id)
    desired = session.desired
    command = None
    if session.status not in _ACTIVE or session.allows(Command.START):
        command = ask(request, session, Command.START)
    code = _first_code(session, command, desired)
    return {**_shown(session_for(request, session_id).to_dict()), "qr": code}


def _first_code(session: WhatsAppSession, command: SessionCommand | None, desired: str) -> dict[str, Any] | None:
    """The code, once there is one; None where the session needs or has none. Raises `ApiError`, 504, after `PATIENCE`."""
    end = time.monotonic() + PATIENCE
    while True:
        if code := _code(session):
            return code
        now = WhatsAppSession.objects.filter(pk=session.pk).first()
        if now is None:
            raise ApiError("session-not-found")
        is_taken = command is None or SessionCommand.objects.filter(pk=command.pk, done_at__isnull=False).exists()
        if is_taken and (now.has_creds or now.status in _WITHOUT_CODE):
            return None
        if time.monotonic() > end:
            withdrawn = command is not None and not is_taken and session.withdraw(command, desired=desired)
            raise ApiError("host-did-not-answer" if withdrawn else "still-under-way")
        time.sleep(LOOK_EVERY)


def _code(session: WhatsAppSession) -> dict[str, Any] | None:
    current = session.current_round
    try:
        code = current.code if current else None
    except Unreadable:
        return None  # sealed with a key that is gone: as good as expired
    if current is None or not code:
        return None
    return {"code": code, "index": current.index, "of": current.of, "expires_at": current.expires_at}


def _shown(session: dict[str, Any]) -> dict[str, Any]:
    return {"id": session["session_id"], **session}
