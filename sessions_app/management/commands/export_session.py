"""`manage.py export_session ID FILE`: a session's credentials and keys as one encrypted file (vault/bundle.py)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from sessions_app.models import WhatsAppSession
from sessions_app.vault import bundle


class Command(BaseCommand):
    help = (
        "Write a session's credentials and keys to a file that `import_session` reads. The file is encrypted with the first "
        "key of OXY_ENCRYPTION_KEYS. Stop the session first: two copies must never run at the same time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("session_id")
        parser.add_argument("file", type=Path, help="a file that does not exist yet")

    def handle(self, *args: Any, session_id: str, file: Path, **options: Any) -> None:
        try:
            session = WhatsAppSession.objects.get(session_id=session_id)
        except WhatsAppSession.DoesNotExist:
            raise CommandError(f"There is no session {session_id}.") from None
        try:
            data, count = bundle.export(session)
        except bundle.NotExportable as error:
            raise CommandError(str(error)) from None
        _write_new(file, data)
        self.stdout.write(f"Exported {count} keys of {session_id} to {file}.")


def _write_new(file: Path, data: bytes) -> None:
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "wb") as out:
        out.write(data)
