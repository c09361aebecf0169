"""What every page of the console needs."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def console(request: HttpRequest) -> dict[str, Any]:
    """`simulator`: the banner's condition. `simulator_control`: where the simulated phone lives."""
    return {"simulator": settings.OXY_SIMULATOR, "simulator_control": settings.OXY_SIMULATOR_CONTROL}
