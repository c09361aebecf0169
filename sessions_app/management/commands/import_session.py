"""`manage.py import_session FILE`: a session from a file that `export_session` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from sessions_app.models import WhatsAppSession
from sessions_app.vault import bundle, store


class Command(BaseCommand):
    help = (
        "Make a stopped session from a file that `export_session` wrote. It is started like any other, and needs no new scan. "
        "The session that the file was made of must stay stopped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--session-id", default="", help="the new session's id, where it is not to be the old one")

    def handle(self, *args: Any, file: Path, session_id: str, **options: Any) -> None:
        try:
            found = bundle.read(file.read_bytes())
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
        except bundle.BadBundle as error:
            raise CommandError(str(error)) from None
        session = self._import(found, session_id or found.session_id)
        self.stdout.write(
            f"Imported {len(found.snapshot.values)} keys into {session.session_id}. Start it when you are ready."
        )

    @transaction.atomic
    def _import(self, found: bundle.Bundle, session_id: str) -> WhatsAppSession:
        session = WhatsAppSession(session_id=session_id, name=found.name, owner=found.owner)
        if existing := WhatsAppSession.objects.filter(session_id=session_id).first():
            session = existing
        else:
            _save_new(session)
        if session.has_creds or not isinstance(store.load(session), store.Absent):
            raise CommandError(f"The session {session_id} is linked to a phone already. Choose another --session-id.")
        store.save_snapshot(session, _take_epoch(session), found.snapshot)
        session.record("vault", actor="import_session", imported=len(found.snapshot.values))
        return session


def _save_new(session: WhatsAppSession) -> None:
    try:
        session.full_clean()
    except ValidationError as error:
        raise CommandError(" ".join(error.messages)) from None
    session.save()


def _take_epoch(session: WhatsAppSession) -> int:
    """A fresh epoch of a session that no host has: whoever takes it next gets a later one."""
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    if not WhatsAppSession.objects.filter(free, pk=session.pk).update(lease_epoch=F("lease_epoch") + 1):
        raise CommandError("A worker has this session at the moment. Stop it first.")
    session.refresh_from_db(fields=["lease_epoch"])
    return session.lease_epoch
