"""Who asks, whether they may, and how often: `auth=Needs(Scope.SEND)` on an endpoint, `session_for(request, id)` in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest
from django.utils.translation import gettext
from ninja.security.http import HttpAuthBase

from sessions_app.api.errors import ApiError
from sessions_app.models import ApiToken, Scope, WhatsAppSession

if TYPE_CHECKING:

    class ApiRequest(HttpRequest):
        """A request that `Needs` has let in."""

        auth: ApiToken
else:
    ApiRequest = HttpRequest

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Needs(HttpAuthBase):
    """Lets in a token in force that has this scope and has not used up its requests of this minute."""

    openapi_scheme = "bearer"

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> ApiToken:
        token = token_of(request.headers.get("Authorization", ""))
        if token is None:
            raise ApiError("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="Oxy"'})
        count(token)
        if not token.has(self.scope):
            raise ApiError(
                "missing-scope", gettext("This token lacks the scope “%(scope)s”.") % {"scope": self.scope.value}
            )
        return token


def token_of(header: str) -> ApiToken | None:
    """The token in force that an `Authorization` header holds."""
    scheme, _, text = header.strip().partition(" ")
    return ApiToken.find(text.strip()) if scheme.lower() == "bearer" else None


def count(token: ApiToken) -> None:
    """Count a request of this token; raises 429 with the seconds to wait."""
    if wait := token.count_use(settings.OXY_RATE_LIMIT):
        raise ApiError(
            "rate-limited",
            gettext("Too many requests with this token. Try again in %(n)d seconds.") % {"n": wait},
            headers={"Retry-After": str(wait)},
        )


def session_for(request: HttpRequest, session_id: str) -> WhatsAppSession:
    """The session with this id, if the token may see it; else 404, so that nobody learns which ids exist."""
    token: ApiToken = request.auth  # type: ignore[attr-defined]
    found = None
    if _SESSION_ID.fullmatch(session_id):
        found = token.visible().select_related("lease_host").filter(session_id=session_id).first()
    if found is None:
        raise ApiError("session-not-found")
    return found
