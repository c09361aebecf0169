"""Rows for tests of what people see: each function makes one, complete and plausible, and takes what the test is about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from sessions_app.lifecycle import Status
from sessions_app.models import Host, PairingRound, WhatsAppSession
from sessions_app.vault import crypto

#: A QR text, with characters that HTML and URLs would change.
QR_TEXT = "2@nobody+may/see==,cmVm&amp,aWQ=,YWR2"
#: Stands for every secret of a session's credentials.
SECRET = "kept-private-Zx81"


def make_staff(name: str = "ana", **fields: Any) -> User:
    """Somebody who may do everything; with no password, which would take a fifth of a second to hash."""
    return User.objects.create_superuser(name, **fields)


def make_session(status: Status = Status.CONNECTED, **fields: Any) -> WhatsAppSession:
    """A session that is owned by Ana and called Shop, with credentials that nobody may see."""
    defaults = {"name": "Shop", "owner": "Ana", "desired": "running", "creds": {"noiseKey": SECRET}}
    session: WhatsAppSession = WhatsAppSession.objects.create(status=status, **(defaults | fields))
    return session


def make_host(**fields: Any) -> Host:
    """A worker that is alive for the next hour, as far as a test can tell."""
    defaults = {"name": "worker-1", "pid": 1, "beat_at": timezone.now() + timedelta(hours=1)}
    host: Host = Host.objects.create(**(defaults | fields))
    return host


def make_round(session: WhatsAppSession, *, seconds_left: float = 15.0, **fields: Any) -> PairingRound:
    """A pairing round that shows its third code, which lives for `seconds_left` more."""
    now = timezone.now()
    defaults = {
        "epoch": session.lease_epoch,
        "started_at": now - timedelta(seconds=100),
        "index": 3,
        "issued_at": now - timedelta(seconds=5),
        "expires_at": now + timedelta(seconds=seconds_left),
        "sealed_code": crypto.seal(QR_TEXT.encode(), session.session_id, "qr-code"),
    }
    made: PairingRound = PairingRound.objects.create(session=session, **(defaults | fields))
    return made
