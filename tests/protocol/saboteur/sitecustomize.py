"""Run at the start of an engine of a test (PYTHONPATH leads here): sessions with a file `poison` crash the Go library for real.

A call for a client that is not there is a nil pointer in the library: a fatal error of Go that ends the process.
"""

from __future__ import annotations

from pathlib import Path

from sessions_app.engine import client, events

_heard = client.Client._heard


def _heard_or_poisoned(self: client.Client, number: int, data: bytes, at: float) -> events.SpoolEvent | None:
    event = _heard(self, number, data, at)
    if isinstance(event, events.Connected) and Path(self._command.path).with_name("poison").exists():
        self._library._go.GetMe(b"nobody")
    return event


client.Client._heard = _heard_or_poisoned  # type: ignore[method-assign]
