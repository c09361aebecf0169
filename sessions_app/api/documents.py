"""How endpoints are documented: the answers that each gives, with an example of every error; and who may read the document."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from ninja import Schema
from pydantic import ConfigDict, Field

from sessions_app.api.auth import count, token_of
from sessions_app.api.errors import ERRORS, ApiError
from sessions_app.models import Scope

#: What every endpoint can answer, and what one with a body can.
ALWAYS = ("unauthorized", "missing-scope", "rate-limited", "database-unavailable")
WITH_BODY = ("bad-json", "too-large", "invalid")


class ErrorOut(Schema):
    """Every error. `code` never changes; `error` is a sentence for people, in the language of `Accept-Language`."""

    model_config = ConfigDict(extra="allow")

    error: str = Field(examples=["There is no such session."])
    code: str = Field(examples=["session-not-found"])


def answers(status: int, schema: Any, *codes: str, body: bool = False) -> dict[str, Any]:
    """Keyword arguments for an endpoint: its good answer, and the errors with these codes beside those that all can give."""
    by_status: dict[int, list[str]] = {}
    for code in (*ALWAYS, *(WITH_BODY if body else ()), *codes):
        by_status.setdefault(ERRORS[code][0], []).append(code)
    return {
        "response": {status: schema, **dict.fromkeys(by_status, ErrorOut)},
        "openapi_extra": {"responses": {number: _described(number, found) for number, found in by_status.items()}},
    }


def _described(status: int, codes: list[str]) -> dict[str, Any]:
    examples = {code: {"value": {"error": str(ERRORS[code][1]), "code": code}} for code in codes}
    return {
        "description": f"{HTTPStatus(status).phrase}: {', '.join(codes)}",
        "content": {"application/json": {"examples": examples}},
    }


def readers_only(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Let staff read the page and the document, and programs with a token that may read the document."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_active and getattr(request.user, "is_staff", False):
            return view(request, *args, **kwargs)
        if request.path == reverse("api:openapi-view"):
            return redirect_to_login(request.get_full_path())
        token = token_of(request.headers.get("Authorization", ""))
        try:
            if token is None or not token.has(Scope.READ):
                raise ApiError("missing-scope" if token else "unauthorized")
            count(token)
        except ApiError as error:
            return error.response()
        return view(request, *args, **kwargs)

    return guarded
