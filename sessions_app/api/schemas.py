"""What goes in and out: bodies are strict and closed (an unknown field is an error), answers are the contract's shapes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, ValidationInfo, model_validator

from sessions_app.lifecycle import Status
from sessions_app.numbers import read_phone


def printable(text: str) -> str:
    if "\0" in text:  # PostgreSQL stores none, and nobody means one
        raise ValueError(gettext("it must not contain NUL characters."))
    return text


def _proxy(url: str) -> str:
    parts = urlsplit(printable(url))
    if parts.scheme not in ("http", "https", "socks5") or not parts.hostname:
        raise ValueError(gettext("it looks like http://user:password@host:port, or https:// or socks5://."))
    return url


def said(read: Any) -> Any:
    """A reader that raises Django's `ValidationError`, as pydantic wants it."""

    def validate(text: str) -> str:
        try:
            return str(read(printable(text)))
        except ValidationError as error:
            raise ValueError(error.messages[0]) from None

    return AfterValidator(validate)


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(printable)]
Owner = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100), AfterValidator(printable)]
SessionId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
ProxyUrl = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(_proxy)]


class Body(Schema):
    """A body that a program sends."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Query(Schema):
    """The query string of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=200, description="How many at most.")
    offset: int = Field(default=0, ge=0, le=1_000_000_000, description="How many to leave out.")

    @model_validator(mode="before")
    @classmethod
    def _with_unknown(cls, data: Any, info: ValidationInfo) -> Any:
        """The library hands on the parameters that it knows; put the others back, so that they are refused like unknown fields."""
        request = (info.context or {}).get("request")
        # The library validates twice, the second time with a wrapper in place of what came.
        if request is None or not isinstance(data, dict):
            return data
        unknown = {name: request.GET[name] for name in request.GET if name not in cls.model_fields}
        return {**data, **unknown}


# --- sessions ------------------------------------------------------------------


class NewSession(Body):
    session_id: SessionId | None = Field(
        default=None,
        description="The session's name in URLs, for good; made up where it is not given.",
        examples=["shop"],
    )
    name: Name = Field(examples=["Shop downtown"])
    owner: Owner = Field(default="", examples=["acme"])
    proxy_url: ProxyUrl | None = Field(
        default=None, description="The way out of this session's connection; never shown again.", examples=["socks5://10.0.0.9:1080"]
    )  # fmt: skip


class SessionChange(Body):
    """Only the fields that are given change. A proxy is used from the next connection on; null takes it away."""

    name: Name = Field(default_factory=str, examples=["Shop uptown"])
    owner: Owner = Field(default_factory=str, examples=["acme"])
    proxy_url: ProxyUrl | None = Field(default=None, examples=[None])


class SessionQuery(Query):
    status: Status | None = Field(default=None, description="Only sessions in this status.")
    owner: str | None = Field(default=None, max_length=100, description="Only sessions of this owner.")


class SessionOut(Schema):
    session_id: str = Field(examples=["shop"])
    name: str = Field(examples=["Shop downtown"])
    owner: str = Field(examples=["acme"])
    status: Status = Field(examples=["CONNECTED"])
    reason: str = Field(description="Why, as a code; empty where there is nothing to say.", examples=[""])
    desired: Literal["running", "stopped"] = Field(examples=["running"])
    phone: str = Field(examples=["5511987650001"])
    jid: str = Field(examples=["5511987650001:7@s.whatsapp.net"])
    push_name: str = Field(examples=["Ana"])
    has_creds: bool = Field(examples=[True])
    keys: int = Field(description="Keys in the vault.", examples=[836])
    creds_size: int = Field(description="Size of the credentials, in characters of JSON.", examples=[2210])
    last_connected_at: datetime | None = Field(examples=["2026-11-23T09:00:04.120Z"])
    last_backup_at: datetime | None = Field(examples=["2026-11-23T09:02:00.310Z"])
    host: str | None = Field(examples=["worker-1-4711-9f3a"])
    created_at: datetime = Field(examples=["2026-11-23T08:59:10.002Z"])
    updated_at: datetime = Field(examples=["2026-11-23T09:02:00.310Z"])


class SessionList(Schema):
    items: list[SessionOut]
    count: int = Field(description="How many there are in all.", examples=[1])


class QrOut(Schema):
    code: str = Field(description="The text of the QR code.", examples=["2@AbCd…,EfGh…,IjKl…,MnOp…"])
    index: int = Field(description="Which of the round's codes this is, from 1.", examples=[3])
    of: int = Field(examples=[6])
    expires_at: datetime = Field(examples=["2026-11-23T09:01:20Z"])


class PhoneIn(Body):
    phone: Annotated[str, StringConstraints(max_length=40), said(read_phone)] = Field(
        description="The number of the phone that will type the code, with its country code.",
        examples=["+55 11 98765-0001"],
    )


class PairingCodeOut(Schema):
    code: str = Field(description="What to type on the phone.", examples=["ABCD-1234"])


class BackupOut(Schema):
    """A full comparison of what the session works with and what the vault holds."""

    at: datetime = Field(examples=["2026-11-23T09:02:00.310Z"])
    keys: int = Field(examples=[836])
    bytes: int = Field(examples=[61_204])
    duration_ms: int = Field(examples=[42])
    differed: int = Field(description="Keys that the vault lacked until now; 0 when all is well.", examples=[0])


class EventOut(Schema):
    id: int = Field(examples=[17])
    at: datetime = Field(examples=["2026-11-23T09:00:04.120Z"])
    kind: str = Field(examples=["status"])
    status: str = Field(examples=["CONNECTED"])
    reason: str = Field(examples=[""])
    actor: str = Field(description="Who did it.", examples=["system"])
    host: str = Field(examples=["worker-1-4711-9f3a"])
    detail: dict[str, Any] = Field(examples=[{}])


class EventList(Schema):
    items: list[EventOut]
    count: int = Field(examples=[1])
