"""What a program asks of a session: start, stop, restart, log out, back up, and the codes that link a phone."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from ninja import Router, Status

from sessions_app import broadcast, qr
from sessions_app.api import schemas
from sessions_app.api.auth import ApiRequest, Needs, session_for
from sessions_app.api.documents import answers
from sessions_app.api.errors import ApiError
from sessions_app.api.waiting import answer_to
from sessions_app.lifecycle import Command, allowed
from sessions_app.lifecycle import Status as SessionStatus
from sessions_app.models import PairingRound, Scope, SessionCommand, WhatsAppSession
from sessions_app.vault.crypto import Unreadable

router = Router(tags=["Commands"])

_PICTURES = {"image/png": qr.png, "image/svg+xml": qr.svg}


def ask(request: ApiRequest, session: WhatsAppSession, command: Command, **arguments: Any) -> SessionCommand:
    """Write a command down for the host; raises 409 with what the status allows."""
    row = session.request(command, by=request.auth.actor, **arguments)
    broadcast.session_changed(session.pk)
    return row


def give(request: ApiRequest, session_id: str, command: Command, **arguments: Any) -> Status[dict[str, Any]]:
    """Ask, and answer 202 with the session."""
    session = session_for(request, session_id)
    ask(request, session, command, **arguments)
    return Status(202, session_for(request, session_id).to_dict())


_TAKEN = answers(202, schemas.SessionOut, "session-not-found", "not-allowed")


@router.post("/sessions/{session_id}/start", auth=Needs(Scope.CONTROL), summary="Start a session", **_TAKEN)
def start_session(request: ApiRequest, session_id: str) -> Status[dict[str, Any]]:
    """Connects a session that has credentials; begins to show QR codes for one that has none."""
    return give(request, session_id, Command.START)


@router.post("/sessions/{session_id}/stop", auth=Needs(Scope.CONTROL), summary="Stop a session", **_TAKEN)
def stop_session(request: ApiRequest, session_id: str) -> Status[dict[str, Any]]:
    """Closes the connection. The credentials are kept: a start needs no new scan."""
    return give(request, session_id, Command.STOP)


@router.post("/sessions/{session_id}/restart", auth=Needs(Scope.CONTROL), summary="Restart a session", **_TAKEN)
def restart_session(request: ApiRequest, session_id: str) -> Status[dict[str, Any]]:
    """Closes the connection and opens it again; in a pairing round, begins a new one."""
    return give(request, session_id, Command.RESTART)


@router.post("/sessions/{session_id}/logout", auth=Needs(Scope.CONTROL), summary="Log a session out", **_TAKEN)
def log_out_session(request: ApiRequest, session_id: str) -> Status[dict[str, Any]]:
    """Unlinks the phone and deletes the credentials. The session and its history stay; it can be paired again."""
    return give(request, session_id, Command.LOGOUT)


@router.post(
    "/sessions/{session_id}/backup",
    auth=Needs(Scope.CONTROL),
    summary="Back a session up now",
    **answers(
        200, schemas.BackupOut, "session-not-found", "not-allowed", "refused", "host-did-not-answer", "still-under-way"
    ),
)
def back_up_session(request: ApiRequest, session_id: str) -> dict[str, Any]:
    """Compares all keys with the vault, writes what differs, and answers with what it found."""
    session = session_for(request, session_id)
    before = session.backups.values_list("pk", flat=True).first() or 0
    answer_to(session, ask(request, session, Command.BACKUP), desired=session.desired)
    row = session.backups.filter(pk__gt=before).order_by("pk").first()
    if row is None:
        raise ApiError("refused")
    return {name: getattr(row, name) for name in ("at", "keys", "bytes", "duration_ms", "differed")}


_QR = answers(200, schemas.QrOut, "session-not-found", "no-qr")
_QR["openapi_extra"]["responses"][200] = {
    "description": "The code: as JSON, or as the picture that `Accept` prefers.",
    "content": {"image/png": {}, "image/svg+xml": {}},
}


@router.get("/sessions/{session_id}/qr", auth=Needs(Scope.CONTROL), summary="Show the QR code", **_QR)
def show_qr(request: ApiRequest, session_id: str) -> Any:
    """The code to scan now. A code lives for 60 or 20 seconds: fetch again when it expires."""
    session = session_for(request, session_id)
    current = session.current_round
    code = code_of(current)
    if current is None or not code:
        can = sorted(allowed(SessionStatus(session.status)))
        raise ApiError("no-qr", status_now=session.status, allowed=can)
    wanted = request.get_preferred_type(["application/json", *_PICTURES])
    if wanted in _PICTURES:
        return HttpResponse(_PICTURES[wanted](code), content_type=wanted)
    return {"code": code, "index": current.index, "of": current.of, "expires_at": current.expires_at}


def code_of(current: PairingRound | None) -> str | None:
    """The QR text that a phone can scan now, or None."""
    try:
        return current.code if current else None
    except Unreadable:
        return None  # sealed with a key that is gone: as good as expired


@router.post(
    "/sessions/{session_id}/pairing-code",
    auth=Needs(Scope.CONTROL),
    summary="Get a code to type on the phone",
    **answers(
        200,
        schemas.PairingCodeOut,
        "session-not-found",
        "not-allowed",
        "refused",
        "host-did-not-answer",
        "still-under-way",
        body=True,
    ),
)
def get_pairing_code(request: ApiRequest, session_id: str, data: schemas.PhoneIn) -> dict[str, Any]:
    """On the phone: Linked devices, Link with phone number. Waits up to 20 seconds for a worker."""
    session = session_for(request, session_id)
    desired = session.desired
    row = ask(request, session, Command.PAIRING_CODE, phone=data.phone)
    answer_to(session, row, desired=desired)
    current = session.current_round
    code = current.pairing_code if current and current.pairing_code_phone == data.phone else None
    if code is None:
        raise ApiError("refused")
    return {"code": code}
