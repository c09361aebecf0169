"""A program that uses the API in a test: Django's own client with a token of its own, bodies as JSON."""

from __future__ import annotations

import json
from typing import Any

from django.test import Client

from sessions_app.models import ApiToken, Scope


class ApiClient:
    """`client.post("/api/sessions", {"name": "Shop"})`. Without a text it makes itself a token, with all scopes if none are named."""

    def __init__(self, text: str | None = None, *, header: str | None = None, **token: Any) -> None:
        if text is None and header is None:
            scopes = token.pop("scopes", list(Scope))
            self.token, text = ApiToken.issue(token.pop("name", "tester"), by="tests", scopes=scopes, **token)
        self._client = Client(headers={"authorization": f"Bearer {text}" if header is None else header})

    def get(self, path: str, **headers: str) -> Any:
        return self._client.get(path, headers=headers)

    def delete(self, path: str) -> Any:
        return self._client.delete(path)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self._client.post(path, _text(body), content_type="application/json", headers=headers)

    def patch(self, path: str, body: Any, **headers: str) -> Any:
        return self._client.patch(path, _text(body), content_type="application/json", headers=headers)


def _text(body: Any) -> str | bytes:
    """The body as it is sent: what is text already goes as it is, however broken."""
    return body if isinstance(body, str | bytes) else "" if body is None else json.dumps(body)
