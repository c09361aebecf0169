"""The vault for outside Baileys services: their auth state in, and the same out."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from django.http import HttpResponse
from ninja import Field, Header, Router, Schema
from ninja import Query as FromQuery

from sessions_app.api.auth import ApiRequest, Needs
from sessions_app.api.documents import answers
from sessions_app.api.errors import ApiError
from sessions_app.api.schemas import Body, Query
from sessions_app.models import ForeignState, Scope
from sessions_app.vault import crypto, foreign

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

router = Router(tags=["Vault for Baileys services"], auth=Needs(Scope.VAULT))

SESSION_ID = Field(description="Whatever the service calls its session.", examples=["shop"])
FILES = {"creds.json": '{"noiseKey":{}}', "pre-key-1.json": '{"private":{},"public":{}}'}


class BackupIn(Body):
    """A whole state. Files that are stored and not in it are deleted."""

    session_id: str = SESSION_ID
    session_data: dict[str, str] = Field(description="File name → text.", examples=[FILES])


class ChangesIn(Body):
    """What has changed: null deletes a file; what is not named stays."""

    session_id: str = SESSION_ID
    session_data: dict[str, str | None] = Field(
        description="File name → text, or null.", examples=[{"creds.json": "{}", "pre-key-1.json": None}]
    )


class StoredOut(Schema):
    """What is stored."""

    session_id: str = SESSION_ID
    files: int = Field(examples=[2])
    bytes: int = Field(description="Its size in the database, encrypted.", examples=[118])
    created_at: datetime = Field(examples=["2026-11-23T08:59:10.002Z"])
    updated_at: datetime = Field(examples=["2026-11-23T09:02:00.310Z"])


class StoredListOut(Schema):
    items: list[StoredOut]
    count: int = Field(description="How many there are in all.", examples=[1])


class StateOut(Schema):
    session_data: dict[str, str] = Field(examples=[FILES])
    session_id: str = SESSION_ID
    updated_at: datetime = Field(examples=["2026-11-23T09:02:00.310Z"])


class DeletedOut(Schema):
    session_id: str = SESSION_ID
    deleted: bool = True


class StoredQuery(Query):
    session_id: str | None = Field(None, description="Only the state with this id.")


_STORED = answers(200, StoredOut, "backup-not-found", "backup-changed", body=True)
IfMatch = Annotated[
    str | None,
    Header(
        None, alias="If-Match", description="An `ETag` that was answered: write only where nobody has written since."
    ),
]


@router.post("/backup", summary="Store a whole state", **_STORED)
def back_up(request: ApiRequest, response: HttpResponse, body: BackupIn, if_match: IfMatch = None) -> dict[str, Any]:
    """Replaces what is stored under this id, in one transaction: a call that is cut off changes nothing."""
    return _store(foreign.replace, request, response, body, if_match)


@router.patch("/backup", summary="Store the files that changed", **_STORED)
def back_up_changes(
    request: ApiRequest, response: HttpResponse, body: ChangesIn, if_match: IfMatch = None
) -> dict[str, Any]:
    """One transaction, too. 404 where no state is stored: send the whole state then."""
    return _store(foreign.update, request, response, body, if_match)


@router.get(
    "/restore",
    summary="Get a state back",
    **answers(200, StateOut, "backup-not-found", "backup-unreadable", "invalid"),
)
def restore(request: ApiRequest, response: HttpResponse, session_id: str) -> dict[str, Any]:
    """Every text as it was stored, byte for byte. 404 means that nothing is stored; any other failure does not."""
    owner = _owner(request, session_id)
    try:
        state, files = foreign.read(owner, session_id)
    except foreign.NoState:
        raise ApiError("backup-not-found") from None
    except crypto.Unreadable:
        raise ApiError("backup-unreadable") from None
    response["ETag"] = _tag(state)
    return {"session_data": files, "session_id": session_id, "updated_at": state.updated_at}


@router.get("/status", summary="What is stored", **answers(200, StoredListOut, "invalid"))
def status(request: ApiRequest, query: FromQuery[StoredQuery]) -> dict[str, Any]:
    """All states of this token's owner, or the one with `session_id`; an empty list where there is none."""
    token = request.auth
    states = foreign.stored(token.owner, query.session_id)
    if token.limited:
        states = states.filter(session_id__in=token.visible().values("session_id"))
    shown = states[query.offset : query.offset + query.limit]
    return {"items": [_shown(state) for state in shown], "count": states.count()}


@router.delete("/delete", summary="Delete a state", **answers(200, DeletedOut, "backup-not-found", "invalid"))
def delete(request: ApiRequest, session_id: str) -> dict[str, Any]:
    """The client's own copy keeps working, and the phone stays linked."""
    owner = _owner(request, session_id)
    try:
        foreign.delete(owner, session_id)
    except foreign.NoState:
        raise ApiError("backup-not-found") from None
    return {"session_id": session_id}


def _store(
    store: Callable[..., ForeignState],
    request: ApiRequest,
    response: HttpResponse,
    body: BackupIn | ChangesIn,
    if_match: str | None,
) -> dict[str, Any]:
    owner = _owner(request, body.session_id)
    try:
        state = store(owner, body.session_id, body.session_data, _seen(if_match))
    except foreign.NoState:
        raise ApiError("backup-not-found") from None
    except foreign.Changed:
        raise ApiError("backup-changed") from None
    except foreign.Refused as refusal:
        raise ApiError("invalid", str(refusal)) from None
    response["ETag"] = _tag(state)
    return _shown(state)


def _tag(state: ForeignState) -> str:
    """The state's version: when it was written, in microseconds."""
    return f'"{(state.updated_at - _EPOCH) // timedelta(microseconds=1)}"'


def _seen(tag: str | None) -> datetime | None:
    if tag is None:
        return None
    match = re.fullmatch(r'(?:W/)?"(\d{1,17})"', tag.strip())
    if match is None:
        raise ApiError("backup-changed")
    return _EPOCH + timedelta(microseconds=int(match[1]))


def _shown(state: ForeignState) -> dict[str, Any]:
    return {
        "session_id": state.session_id,
        "files": state.file_count,
        "bytes": state.size,
        "created_at": state.created_at,
        "updated_at": state.updated_at,
    }


def _owner(request: ApiRequest, session_id: str) -> str:
    """Whose states the token works on. A token for certain sessions reaches a state that bears the id of one of them."""
    token = request.auth
    if token.limited and not (
        foreign.is_session_id(session_id) and token.visible().filter(session_id=session_id).exists()
    ):
        raise ApiError("backup-not-found")
    return token.owner
