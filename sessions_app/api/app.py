"""The API as one object: its routers, its parser of bodies, and its document.

To add a part: write a `Router` in a module of its own, and register it at the end of this one.
"""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.parser import Parser

import oxy
from sessions_app.api import commands, errors, foreign, messages, sessions, webhooks, whatsapp
from sessions_app.api.auth import Needs
from sessions_app.api.documents import readers_only
from sessions_app.models import Scope

#: Bodies of all addresses but the vault's: no message is longer.
BODY_LIMIT = 512 * 1024
#: Addresses whose bodies may be as large as DATA_UPLOAD_MAX_MEMORY_SIZE.
LARGE = ("/api/session/",)


class BoundedParser(Parser):
    """JSON bodies of a bounded size."""

    def parse_body(self, request: HttpRequest) -> Any:
        if len(request.body) > BODY_LIMIT and not request.path.startswith(LARGE):
            raise errors.ApiError("too-large")
        try:
            return json.loads(request.body)
        except (ValueError, RecursionError):
            raise errors.ApiError("bad-json") from None


api = NinjaAPI(
    title="Oxy",
    version=oxy.__version__,
    urls_namespace="api",
    docs_url="/api/docs",
    openapi_url="/api/openapi.json",
    docs_decorator=readers_only,
    # An endpoint that names no scope is closed to all but the highest.
    auth=Needs(Scope.ADMIN),
    parser=BoundedParser(),
)
errors.register(api)
for router in (sessions.router, commands.router, messages.router, webhooks.router):
    api.add_router("/api", router)
api.add_router("/api/session", foreign.router)
api.add_router("/whatsapp", whatsapp.router)
