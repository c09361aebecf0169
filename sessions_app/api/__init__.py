"""The HTTP API: what a person can do in the console, a program can do here (names and shapes: docs/architecture.md)."""

from __future__ import annotations
