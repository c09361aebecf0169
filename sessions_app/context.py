"""What every page of the console needs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from sessions_app import panels


def console(request: HttpRequest) -> dict[str, Any]:
    """`simulator`: the banner's condition. `simulator_control`: where the simulated phone lives. `languages`: what the switch
    offers. `warnings`: what is wrong with the installation, for staff; asked of the database only by a page that shows it."""
    return {
        "simulator": settings.OXY_SIMULATOR,
        "languages": settings.LANGUAGES,
        "simulator_control": settings.OXY_SIMULATOR_CONTROL,
        "warnings": SimpleLazyObject(lambda: panels.warnings() if _is_staff(request) else []),
    }


def _is_staff(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user and user.is_active and user.is_staff)
