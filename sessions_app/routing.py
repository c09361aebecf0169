"""Websocket URLs."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path, re_path

from sessions_app.consumers import CustomerConsumer, ListConsumer, SessionConsumer
from sessions_app.event_socket import EventConsumer

# `path` is typed for views; Channels gives it applications.
_list_feed: Any = ListConsumer.as_asgi()
_session_feed: Any = SessionConsumer.as_asgi()
_customer_feed: Any = CustomerConsumer.as_asgi()
_events: Any = EventConsumer.as_asgi()

websocket_urlpatterns: list[Any] = [
    path("ws/sessions", _list_feed, name="oxy-feed"),
    path("ws/sessions/<str:session_id>", _session_feed, name="oxy-session-feed"),
    path("ws/pair", _customer_feed, name="oxy-pair-feed"),
]

#: For programs: they have a token, no cookie, and send no Origin.
program_urlpatterns: list[Any] = [path("ws/events", _events, name="oxy-events")]


def websockets() -> URLRouter:
    """Every websocket of the product. Pages of other sites get none of a page's: a browser sends its cookie along from anywhere."""
    pages: Any = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
    return URLRouter([*program_urlpatterns, re_path(r"", pages)])
