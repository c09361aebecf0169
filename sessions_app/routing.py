"""Websocket URLs."""

from __future__ import annotations

from typing import Any

from django.urls import URLPattern, path

from sessions_app.consumers import ListConsumer, SessionConsumer

# `path` is typed for views; Channels gives it applications.
_list_feed: Any = ListConsumer.as_asgi()
_session_feed: Any = SessionConsumer.as_asgi()

websocket_urlpatterns: list[URLPattern] = [
    path("ws/sessions", _list_feed, name="oxy-feed"),
    path("ws/sessions/<str:session_id>", _session_feed, name="oxy-session-feed"),
]
