"""QR codes: how long each lives, and how one is drawn."""

from __future__ import annotations

import io
from datetime import timedelta

import qrcode
import qrcode.image.svg

#: How long each code of a pairing round lives: whatsmeow's qrchan.go, measured in docs/architecture.md.
LIFETIMES = (timedelta(seconds=60), *(timedelta(seconds=20),) * 5)


def lifetime(index: int) -> timedelta:
    """How long the code at `index` (from 1) lives; codes beyond the sixth live as long as the last."""
    return LIFETIMES[min(index, len(LIFETIMES)) - 1]


def svg(text: str) -> str:
    """The code as an `<svg>` element that scales with its box; no XML declaration, no inline style."""
    image = qrcode.make(
        text, image_factory=qrcode.image.svg.SvgPathImage, border=2, error_correction=qrcode.ERROR_CORRECT_L
    )
    return str(image.to_string(encoding="unicode"))


def png(text: str) -> bytes:
    """The code as a PNG picture, 8 pixels a module."""
    buffer = io.BytesIO()
    qrcode.make(text, border=2, box_size=8).save(buffer)
    return buffer.getvalue()
