"""Wiring: settings, URLs, the ASGI entry point and logging. No model, no view, no behaviour."""

from __future__ import annotations

__version__ = "0.1.0"
