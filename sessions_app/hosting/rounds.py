"""A pairing round in the database: the code that is on now, and how the round ended."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import transaction
from django.db.models.functions import Now

from sessions_app import qr
from sessions_app.models import EventName, OutboxEvent, PairingRound, WhatsAppSession
from sessions_app.vault import crypto


def begin(session: WhatsAppSession, epoch: int) -> PairingRound:
    """A new round; an older one that is still open (its host died) is closed."""
    session.rounds.filter(ended_at=None).update(
        ended_at=Now(), outcome="abandoned", sealed_code=None, sealed_pairing_code=None
    )
    return PairingRound.objects.create(session=session, epoch=epoch, of=len(qr.LIFETIMES))


def show_code(current: PairingRound, code: str, issued_at: float) -> None:
    """Put the next QR code on show; `issued_at` in Unix seconds."""
    at = datetime.fromtimestamp(issued_at, UTC)
    # What the spool holds is read again where the database went away in between.
    current.index += at != current.issued_at
    current.issued_at = at
    current.expires_at = current.issued_at + qr.lifetime(current.index)
    current.sealed_code = crypto.seal(code.encode(), current.session.session_id, "qr-code")
    told = {
        "index": current.index,
        "of": current.of,
        "expires_at": current.expires_at,
        # Where the code is: it is a secret for as long as it lives, so the event log does not hold it.
        "url": f"/api/sessions/{current.session.session_id}/qr",
    }
    with transaction.atomic():
        current.save(update_fields=["index", "issued_at", "expires_at", "sealed_code"])
        OutboxEvent.write(current.session, EventName.SESSION_QR, told)


def show_pairing_code(current: PairingRound, code: str, phone: str) -> None:
    """Put a code to type on the phone on show, as `ABCD-1234`."""
    plain = code.replace("-", "")
    current.sealed_pairing_code = crypto.seal(
        f"{plain[:4]}-{plain[4:]}".encode(), current.session.session_id, "pairing-code"
    )
    current.pairing_code_phone = phone
    current.save(update_fields=["sealed_pairing_code", "pairing_code_phone"])


def end(current: PairingRound, outcome: str) -> None:
    """Close the round and take its codes away."""
    PairingRound.objects.filter(pk=current.pk, ended_at=None).update(
        ended_at=Now(), outcome=outcome, sealed_code=None, sealed_pairing_code=None
    )
