"""Websocket URLs."""

from __future__ import annotations

from django.urls import URLPattern, path

from sessions_app.consumers import ListConsumer, SessionConsumer

websocket_urlpatterns: list[URLPattern] = [
    path("ws/sessions", ListConsumer.as_asgi(), name="oxy-feed"),
    path("ws/sessions/<str:session_id>", SessionConsumer.as_asgi(), name="oxy-session-feed"),
]
