"""How tests read the console's pages."""

from __future__ import annotations

import re

from django.test import Client

from sessions_app.models import WhatsAppSession


def page(client: Client, path: str) -> str:
    response = client.get(path)
    assert response.status_code == 200, (path, response.status_code)
    return response.content.decode()


def session_page(client: Client, session: WhatsAppSession) -> str:
    return page(client, f"/sessions/{session.session_id}/")


def tag(html: str, element_id: str) -> str:
    """The opening tag of the element with this id, or an empty text."""
    found = re.search(rf'<[^<>]*\bid="{element_id}"[^<>]*>', html)
    return found.group() if found else ""


def text(html: str) -> str:
    """What a person reads, with single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def button_names(html: str) -> set[str]:
    return {text(inner).strip() for inner in re.findall(r"<button[^>]*>(.*?)</button>", html, re.S)}
