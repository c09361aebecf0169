"""Webhooks over HTTP: whom to tell about events, and what became of each delivery (events: docs/webhooks.md)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

from django.db.models import QuerySet
from django.utils.translation import gettext
from ninja import Query as FromQuery
from ninja import Router, Schema, Status
from pydantic import Field, StringConstraints

from sessions_app import outbound, webhooks
from sessions_app.api import schemas
from sessions_app.api.auth import ApiRequest, Needs, session_for
from sessions_app.api.documents import answers
from sessions_app.api.errors import ApiError
from sessions_app.api.sessions import page
from sessions_app.models import Scope, Webhook, WebhookDelivery

router = Router(tags=["Webhooks"], auth=Needs(Scope.ADMIN))

Url = Annotated[str, StringConstraints(min_length=1, max_length=outbound.URL_LIMIT)]
Event = Literal[
    "*", "session.status", "session.qr", "session.deleted", "message.received", "message.status"
]  # `models.webhooks.SUBSCRIBABLE`, which a test compares
Events = Annotated[list[Event], Field(min_length=1, max_length=20)]


class NewWebhook(schemas.Body):
    url: Url = Field(examples=["https://shop.example/oxy"])
    session_id: schemas.SessionId | None = Field(None, description="Only this session; else all.", examples=["shop"])
    events: Events = Field(
        ["*"],
        description="Only these events; `*` is all, those of later releases too.",
        examples=[["message.received"]],
    )


class WebhookChange(schemas.Body):
    """Only the fields that are given change."""

    url: Url = Field("", examples=["https://shop.example/oxy-2"])
    events: Events = Field(["*"], examples=[["message.received", "message.status"]])
    active: bool = Field(True, description="While it is off, nothing is collected for it.", examples=[False])


class WebhookOut(Schema):
    id: str = Field(examples=["0b9a2f0e-5d1d-4a53-9a8a-7f4d3f0c2f10"])
    url: str = Field(examples=["https://shop.example/oxy"])
    session_id: str | None = Field(examples=["shop"])
    events: list[str] = Field(examples=[["message.received"]])
    active: bool = Field(examples=[True])
    created_by: str = Field(examples=["API: shop"])
    created_at: datetime = Field(examples=["2026-11-23T08:59:10.002Z"])
    updated_at: datetime = Field(examples=["2026-11-23T08:59:10.002Z"])
    failing_since: datetime | None = Field(description="Null while deliveries succeed.", examples=[None])


class WebhookMade(WebhookOut):
    secret: str = Field(description="Signs every delivery. It is shown here and never again.", examples=["whsec_…"])


class SecretOut(Schema):
    secret: str = Field(description="It is shown here and never again.", examples=["whsec_…"])


class WebhookList(Schema):
    items: list[WebhookOut]
    count: int = Field(examples=[1])


class DeliveryQuery(schemas.Query):
    status: Literal["pending", "delivered", "failed", "given-up"] | None = None


class DeliveryOut(Schema):
    id: str = Field(description="As in `X-Oxy-Delivery`.", examples=["5f3c7f8e-11d5-4c7b-9a43-1d1f0f7f7a11"])
    event_id: int | None = Field(examples=[41])
    event: str = Field(examples=["message.received"])
    session_id: str | None = Field(examples=["shop"])
    status: str = Field(description="`failed` is tried again; `given-up` is not, after a day.", examples=["delivered"])
    attempts: int = Field(examples=[1])
    next_attempt_at: datetime | None = Field(examples=[None])
    response_status: int | None = Field(description="Null where no answer came.", examples=[200])
    response_excerpt: str = Field(description="The beginning of the answer, or why there was none.", examples=["ok"])
    duration_ms: int | None = Field(examples=[84])
    created_at: datetime = Field(examples=["2026-11-23T09:05:00.500Z"])
    attempted_at: datetime | None = Field(examples=["2026-11-23T09:05:00.920Z"])


class DeliveryList(Schema):
    items: list[DeliveryOut]
    count: int = Field(examples=[1])


def _visible(request: ApiRequest) -> QuerySet[Webhook]:
    """The webhooks that concern nothing but what the token may see."""
    token = request.auth
    rows = Webhook.objects.all()
    return rows.filter(session__in=token.visible()) if token.limited or token.owner else rows


def _webhook(request: ApiRequest, webhook_id: str) -> Webhook:
    code = _uuid(webhook_id)
    found = _visible(request).filter(code=code).first() if code else None
    if found is None:
        raise ApiError("webhook-not-found")
    return found


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


@router.post(
    "/webhooks",
    summary="Make a webhook",
    **answers(201, WebhookMade, "forbidden", "session-not-found", "bad-url", body=True),
)
def create_webhook(request: ApiRequest, data: NewWebhook) -> Status[dict[str, Any]]:
    """The answer holds its secret. The address must not lead to a private network, unless OXY_WEBHOOK_ALLOW_PRIVATE is set."""
    if data.session_id is None and (request.auth.limited or request.auth.owner):
        raise ApiError("forbidden", gettext("This token is limited to certain sessions: name one of them."))
    session = session_for(request, data.session_id) if data.session_id is not None else None
    try:
        webhook, secret = webhooks.make(data.url, session=session, events=data.events, by=request.auth.actor)
    except outbound.Refused as refusal:
        raise ApiError("bad-url", str(refusal)) from None
    return Status(201, {**webhook.to_dict(), "secret": secret})


@router.get("/webhooks", summary="List webhooks", **answers(200, WebhookList, "invalid"))
def list_webhooks(request: ApiRequest, query: FromQuery[schemas.Query]) -> dict[str, Any]:
    """The latest first; never a secret."""
    return page(_visible(request), query)


@router.get("/webhooks/{webhook_id}", summary="Read a webhook", **answers(200, WebhookOut, "webhook-not-found"))
def read_webhook(request: ApiRequest, webhook_id: str) -> dict[str, Any]:
    """The webhook as it is now."""
    return _webhook(request, webhook_id).to_dict()


@router.patch(
    "/webhooks/{webhook_id}",
    summary="Change a webhook",
    **answers(200, WebhookOut, "webhook-not-found", "bad-url", body=True),
)
def change_webhook(request: ApiRequest, webhook_id: str, data: WebhookChange) -> dict[str, Any]:
    """What waits for a retry is tried at once."""
    webhook = _webhook(request, webhook_id)
    try:
        webhooks.change(webhook, **data.model_dump(exclude_unset=True))
    except outbound.Refused as refusal:
        raise ApiError("bad-url", str(refusal)) from None
    return webhook.to_dict()


@router.delete("/webhooks/{webhook_id}", summary="Delete a webhook", **answers(204, None, "webhook-not-found"))
def delete_webhook(request: ApiRequest, webhook_id: str) -> Status[None]:
    """Its deliveries go with it."""
    _webhook(request, webhook_id).remove()
    return Status(204, None)


@router.post(
    "/webhooks/{webhook_id}/rotate", summary="Make a new secret", **answers(200, SecretOut, "webhook-not-found")
)
def rotate_secret(request: ApiRequest, webhook_id: str) -> dict[str, Any]:
    """It signs every attempt from now on; the old one signs nothing any more."""
    return {"secret": webhooks.rotate(_webhook(request, webhook_id))}


@router.post("/webhooks/{webhook_id}/test", summary="Send a test", **answers(202, WebhookOut, "webhook-not-found"))
def send_test(request: ApiRequest, webhook_id: str) -> Status[dict[str, Any]]:
    """Delivers an event named `ping` to this webhook alone."""
    webhook = _webhook(request, webhook_id)
    webhooks.ping(webhook)
    return Status(202, webhook.to_dict())


@router.get(
    "/webhooks/{webhook_id}/deliveries",
    summary="List deliveries",
    **answers(200, DeliveryList, "webhook-not-found", "invalid"),
)
def list_deliveries(request: ApiRequest, webhook_id: str, query: FromQuery[DeliveryQuery]) -> dict[str, Any]:
    """What was sent and what it answered, the latest first; kept for a week."""
    rows = _webhook(request, webhook_id).deliveries.select_related("event")
    return page(rows.filter(status=query.status) if query.status else rows, query)


@router.post(
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
    summary="Send again",
    **answers(202, DeliveryOut, "webhook-not-found", "delivery-not-found"),
)
def redeliver(request: ApiRequest, webhook_id: str, delivery_id: str) -> Status[dict[str, Any]]:
    """What still waits for its retry is tried now; what was delivered or given up is sent once more, as a new delivery."""
    webhook, code = _webhook(request, webhook_id), _uuid(delivery_id)
    found: WebhookDelivery | None = (
        webhook.deliveries.select_related("event").filter(code=code).first() if code else None
    )
    if found is None:
        raise ApiError("delivery-not-found")
    again = webhooks.send_again(found)
    again.refresh_from_db()
    return Status(202, again.to_dict())
