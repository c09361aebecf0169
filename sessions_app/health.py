"""`/healthz`, `/readyz` and `/metrics`, for whatever watches the process.

They are answered by a middleware before all others: a platform asks under names and addresses of its own (a pod's address,
healthcheck.railway.app), which ALLOWED_HOSTS does not know, and nothing that is wrong with sessions or users may make a living
process look dead.
"""

from __future__ import annotations

from collections.abc import Callable

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext

import oxy
from sessions_app import metrics
from sessions_app.models import Host


class Health:
    """The middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = {"/healthz": alive, "/readyz": ready, "/metrics": metrics.answer}.get(request.path)
        if answer is None or request.method not in ("GET", "HEAD"):
            return self.get_response(request)
        response = answer(request)
        response["Cache-Control"] = "no-store"
        return response


def alive(request: HttpRequest) -> HttpResponse:
    """200 while the process answers at all; it asks nobody else."""
    return JsonResponse({"status": "alive", "version": oxy.__version__})


def ready(request: HttpRequest) -> HttpResponse:
    """200 where the database answers and a host beats; else 503 with what is missing."""
    missing = _missing()
    if not missing:
        return JsonResponse({"status": "ready"})
    sentence = {
        "database": gettext("The database cannot be reached."),
        "host": gettext("No worker is running."),
    }[missing]
    return JsonResponse({"error": sentence, "code": "not-ready", "missing": [missing]}, status=503)


def _missing() -> str:
    try:
        return "" if Host.objects.alive().exists() else "host"
    except (DatabaseError, InterfaceError):
        return "database"
