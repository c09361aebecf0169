"""What every page of the console needs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from sessions_app import panels, people


def console(request: HttpRequest) -> dict[str, Any]:
    """`may_examine`: whether the navigation leads to the doctor's page. `simulator`: the banner's condition. `simulator_control`:
    where the simulated phone lives. `languages`: what the switch offers. `warnings`: what is wrong with the installation, for
    staff. What costs a query is asked for only by a page that shows it."""
    return {
        "may_examine": SimpleLazyObject(lambda: _is_staff(request) and people.may_examine(request.user)),
        "simulator": settings.OXY_SIMULATOR,
        "languages": settings.LANGUAGES,
        "simulator_control": settings.OXY_SIMULATOR_CONTROL,
        "warnings": SimpleLazyObject(lambda: panels.warnings() if _is_staff(request) else []),
    }


def _is_staff(request: HttpRequest) -> bool:
    user = getattr(request, "user", None)
    return bool(user and user.is_active and user.is_staff)
