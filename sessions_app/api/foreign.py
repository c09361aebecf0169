"""The vault for outside Baileys services: their auth state in, and the same out."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from pydantic import ConfigDict

from sessions_app.api.auth import Needs
from sessions_app.api.errors import ApiError
from sessions_app.models import ApiToken, ForeignState, Scope
from sessions_app.vault import crypto, foreign

router = Router(tags=["Vault for Baileys services"], auth=Needs(Scope.VAULT))

SESSION_ID = "shop"
FILES = {"creds.json": '{"noiseKey":{}}', "pre-key-1.json": '{"private":{},"public":{}}'}


class BackupIn(Schema):
    """A whole state. Files that are stored and not in it are deleted."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"session_id": SESSION_ID, "session_data": FILES}}
    )
    session_id: str
    session_data: dict[str, str] = Field(description="File name → text")


class ChangesIn(Schema):
    """What has changed: null deletes a file; what is not named stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"session_id": SESSION_ID, "session_data": {"creds.json": "{}", "pre-key-1.json": None}}
        },
    )
    session_id: str
    session_data: dict[str, str | None] = Field(description="File name → text or null")


class StoredOut(Schema):
    """What is stored; `bytes` counts it as it lies in the database, encrypted."""

    session_id: str
    files: int
    bytes: int
    created_at: datetime
    updated_at: datetime


class StoredListOut(Schema):
    items: list[StoredOut]
    count: int


class StateOut(Schema):
    session_data: dict[str, str]
    session_id: str
    updated_at: datetime


class DeletedOut(Schema):
    session_id: str
    deleted: bool = True


class Page(Schema):
    model_config = ConfigDict(extra="forbid")
    session_id: str | None = None
    limit: int = Field(50, ge=1, le=500)
    offset: int = Field(0, ge=0, le=10_000_000)


@router.post("/backup", response=StoredOut, summary="Store a whole state")
def back_up(request: HttpRequest, body: BackupIn) -> dict[str, Any]:
    """Replaces what is stored under this id, in one transaction: a call that is cut off changes nothing."""
    return _store(foreign.replace, request, body)


@router.patch("/backup", response=StoredOut, summary="Store the files that changed")
def back_up_changes(request: HttpRequest, body: ChangesIn) -> dict[str, Any]:
    """One transaction, too. 404 where no state is stored: send the whole state then."""
    return _store(foreign.update, request, body)


@router.get("/restore", response=StateOut, summary="Get a state back")
def restore(request: HttpRequest, session_id: str) -> dict[str, Any]:
    """Every text as it was stored, byte for byte. 404 means that nothing is stored; any other failure does not."""
    owner = _owner(request, session_id)
    try:
        state, files = foreign.read(owner, session_id)
    except foreign.NoState:
        raise ApiError("backup-not-found") from None
    except crypto.Unreadable:
        raise ApiError("backup-unreadable") from None
    return {"session_data": files, "session_id": session_id, "updated_at": state.updated_at}


@router.get("/status", response=StoredListOut, summary="What is stored")
def status(request: HttpRequest, page: Query[Page]) -> dict[str, Any]:
    """All states of this token's owner, or the one with `session_id`; an empty list where there is none."""
    token: ApiToken = request.auth  # type: ignore[attr-defined]
    states = foreign.stored(token.owner, page.session_id)
    if token.limited:
        states = states.filter(session_id__in=token.visible().values("session_id"))
    shown = states[page.offset : page.offset + page.limit]
    return {"items": [_shown(state) for state in shown], "count": states.count()}


@router.delete("/delete", response=DeletedOut, summary="Delete a state")
def delete(request: HttpRequest, session_id: str) -> dict[str, Any]:
    """The client's own copy keeps working, and the phone stays linked."""
    owner = _owner(request, session_id)
    try:
        foreign.delete(owner, session_id)
    except foreign.NoState:
        raise ApiError("backup-not-found") from None
    return {"session_id": session_id}


def _store(store: Any, request: HttpRequest, body: BackupIn | ChangesIn) -> dict[str, Any]:
    owner = _owner(request, body.session_id)
    try:
        return _shown(store(owner, body.session_id, body.session_data))
    except foreign.NoState:
        raise ApiError("backup-not-found") from None
    except foreign.Refused as refusal:
        raise ApiError("invalid", str(refusal)) from None


def _shown(state: ForeignState) -> dict[str, Any]:
    return {
        "session_id": state.session_id,
        "files": state.file_count,
        "bytes": state.size,
        "created_at": state.created_at,
        "updated_at": state.updated_at,
    }


def _owner(request: HttpRequest, session_id: str) -> str:
    """Whose states the token works on. A token for certain sessions reaches a state that bears the id of one of them."""
    token: ApiToken = request.auth  # type: ignore[attr-defined]
    if token.limited and not (
        foreign.is_session_id(session_id) and token.visible().filter(session_id=session_id).exists()
    ):
        raise ApiError("backup-not-found")
    return token.owner
