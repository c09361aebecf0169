"""Sessions over HTTP: make, list, read, change and delete them, and read their timeline."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext
from ninja import Query as FromQuery
from ninja import Router, Status

from sessions_app import broadcast
from sessions_app.api import schemas
from sessions_app.api.auth import ApiRequest, Needs, session_for
from sessions_app.api.commands import give
from sessions_app.api.documents import answers
from sessions_app.api.errors import ApiError
from sessions_app.lifecycle import Command
from sessions_app.models import ApiToken, Scope, WhatsAppSession, new_session_id

router = Router(tags=["Sessions"])


def page(rows: QuerySet[Any], query: schemas.Query) -> dict[str, Any]:
    """A part of a list, as the contract shows lists."""
    part = rows[query.offset : query.offset + query.limit]
    return {"items": [row.to_dict() for row in part], "count": rows.count()}


@router.post(
    "/sessions",
    auth=Needs(Scope.CONTROL),
    summary="Make a session",
    **answers(201, schemas.SessionOut, "forbidden", "session-exists", body=True),
)
def create_session(request: ApiRequest, data: schemas.NewSession) -> Status[dict[str, Any]]:
    """It is `NEW` then. `start` shows a QR code; `pairing-code` a code to type."""
    session = make_session(request.auth, data)
    return Status(201, session.to_dict())


def make_session(token: ApiToken, data: schemas.NewSession) -> WhatsAppSession:
    """A new session, as far as the token may make it; raises `ApiError`."""
    if token.limited:
        raise ApiError("forbidden", gettext("This token is limited to certain sessions, so it cannot make others."))
    session = WhatsAppSession(
        session_id=data.session_id or new_session_id(), name=data.name, owner=_owner(token, data.owner)
    )
    session.seal_proxy(data.proxy_url)
    try:
        with transaction.atomic():
            session.save(force_insert=True)
            session.record("created", actor=token.actor)
    except IntegrityError:
        raise ApiError("session-exists") from None
    broadcast.sessions_changed()
    session.refresh_from_db(fields=["created_at", "updated_at"])
    return session


def _owner(token: ApiToken, wanted: str) -> str:
    """The owner to write; a token that is limited to one owner's sessions can't give one away."""
    if token.owner and wanted not in ("", token.owner):
        raise ApiError("forbidden", gettext("This token is limited to the sessions of another owner."))
    return token.owner or wanted


@router.get(
    "/sessions",
    auth=Needs(Scope.READ),
    summary="List sessions",
    **answers(200, schemas.SessionList, "invalid"),
)
def list_sessions(request: ApiRequest, query: FromQuery[schemas.SessionQuery]) -> dict[str, Any]:
    """The sessions that the token may see, by name."""
    rows = request.auth.visible().select_related("lease_host").with_vault_size().defer("creds", "proxy_url")
    if query.status:
        rows = rows.filter(status=query.status.value)
    if query.owner is not None:
        rows = rows.filter(owner=query.owner.replace("\0", ""))
    return page(rows, query)


@router.get(
    "/sessions/{session_id}",
    auth=Needs(Scope.READ),
    summary="Read a session",
    **answers(200, schemas.SessionOut, "session-not-found"),
)
def read_session(request: ApiRequest, session_id: str) -> dict[str, Any]:
    """The session as it is now."""
    return session_for(request, session_id).to_dict()


@router.patch(
    "/sessions/{session_id}",
    auth=Needs(Scope.CONTROL),
    summary="Change a session",
    **answers(200, schemas.SessionOut, "forbidden", "session-not-found", body=True),
)
def change_session(request: ApiRequest, session_id: str, data: schemas.SessionChange) -> dict[str, Any]:
    """Only the fields that are given change."""
    session = session_for(request, session_id)
    given = data.model_fields_set
    changes: dict[str, Any] = {}
    if "name" in given:
        changes["name"] = data.name
    if "owner" in given:
        if request.auth.owner and data.owner != request.auth.owner:
            raise ApiError("forbidden", gettext("This token is limited to the sessions of another owner."))
        changes["owner"] = data.owner
    if "proxy_url" in given:
        session.seal_proxy(data.proxy_url)
        changes["proxy_url"] = session.proxy_url
    if changes:
        with transaction.atomic():
            WhatsAppSession.objects.filter(pk=session.pk).update(**changes, updated_at=Now())
            session.record("changed", actor=request.auth.actor, fields=", ".join(sorted(changes)))
        broadcast.session_changed(session.pk)
    return session_for(request, session_id).to_dict()


@router.delete(
    "/sessions/{session_id}",
    auth=Needs(Scope.CONTROL),
    summary="Delete a session",
    **answers(202, schemas.SessionOut, "session-not-found", "not-allowed", "invalid"),
)
def delete_session(request: ApiRequest, session_id: str, force: bool = False) -> Status[dict[str, Any]]:
    """A worker unlinks the phone first, and then deletes the session with its messages and its history: until then it can be read.

    Where WhatsApp cannot be reached within a minute nothing is deleted, and the timeline says so. `force=true` deletes all the same;
    the phone then goes on showing a linked device.
    """
    return give(request, session_id, Command.DELETE, **({"force": True} if force else {}))


@router.get(
    "/sessions/{session_id}/events",
    auth=Needs(Scope.READ),
    summary="Read the timeline",
    **answers(200, schemas.EventList, "session-not-found", "invalid"),
)
def list_events(request: ApiRequest, session_id: str, query: FromQuery[schemas.Query]) -> dict[str, Any]:
    """What happened to the session, the latest first."""
    return page(session_for(request, session_id).events.all(), query)
