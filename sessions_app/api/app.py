"""The API as one object: its routers, its parser of bodies, and its document.

To add a part: write a `Router` in a module of its own, and register it at the end of this one.
"""

from __future__ import annotations

import json
import re
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja import NinjaAPI
from ninja.parser import Parser

import oxy
from sessions_app.api import commands, errors, foreign, messages, questions, sessions, webhooks, whatsapp
from sessions_app.api.auth import Needs
from sessions_app.api.documents import readers_only
from sessions_app.models import Scope

#: Bodies of all addresses but these.
BODY_LIMIT = 512 * 1024
#: The vault's, which take a large state of a Baileys service.
VAULT, VAULT_LIMIT = "/api/session/", 8 * 1024 * 1024
#: That of messages, which may hold a file in base64.
MESSAGES = re.compile(r"/api/sessions/[^/]+/messages")


class BoundedParser(Parser):
    """JSON bodies of a bounded size."""

    def parse_body(self, request: HttpRequest) -> Any:
        if len(request.body) > _limit(request.path):
            raise errors.ApiError("too-large")
        try:
            return json.loads(request.body)
        except (ValueError, RecursionError):
            raise errors.ApiError("bad-json") from None


def _limit(path: str) -> int:
    if path.startswith(VAULT):
        return VAULT_LIMIT
    if MESSAGES.fullmatch(path):
        return BODY_LIMIT + int(settings.OXY_FILE_LIMIT) * 4 // 3
    return BODY_LIMIT


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
for router in (sessions.router, commands.router, messages.router, questions.router, webhooks.router):
    api.add_router("/api", router)
api.add_router("/api/session", foreign.router)
api.add_router("/whatsapp", whatsapp.router)
