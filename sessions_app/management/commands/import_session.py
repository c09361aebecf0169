"""`manage.py import_session`: a session from an exported file, or from a Baileys client that is to be taken over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from sessions_app.hosting import takeover
from sessions_app.models import WhatsAppSession, new_session_id
from sessions_app.vault import baileys, bundle, creds, crypto, foreign, store
from sessions_app.vault.live_store import Snapshot

LARGEST = 64 * 2**20


class Command(BaseCommand):
    help = (
        "Make a stopped session from a file that `export_session` wrote, or from the auth state of a Baileys client. It is started "
        "like any other, and needs no new scan. Whatever ran it before must stay stopped: two clients of one device push each other out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("file", type=Path, nargs="?", help="written by `export_session`")
        source.add_argument(
            "--from-baileys",
            type=Path,
            metavar="PATH",
            help="the folder of useMultiFileAuthState, or a JSON file of file names and texts (what /api/session/restore answers)",
        )
        source.add_argument("--from-vault", metavar="ID", help="a Baileys state that is stored here under this id")
        parser.add_argument("--owner", default="", help="whose state, with --from-vault; and the new session's owner")
        parser.add_argument("--name", default="", help="the new session's name")
        parser.add_argument("--session-id", default="", help="the new session's id, where it is not to be the old one")

    def handle(
        self,
        *args: Any,
        file: Path | None,
        from_baileys: Path | None,
        from_vault: str | None,
        owner: str,
        name: str,
        session_id: str,
        **options: Any,
    ) -> None:
        if file:
            found = _read_bundle(file)
        elif from_baileys:
            found = _take_over(_read_folder(from_baileys), session_id or new_session_id())
        else:
            found = _take_over(_read_vault(owner, from_vault or ""), from_vault or "")
        session = _import(found, session_id or found.session_id, name or found.name, owner or found.owner)
        self.stdout.write(
            f"Imported {len(found.snapshot.values)} keys into {session.session_id}. Start it when you are ready."
        )


# --- where it comes from -----------------------------------------------------------


def _read_bundle(file: Path) -> bundle.Bundle:
    try:
        return bundle.read(file.read_bytes())
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
    except bundle.BadBundle as error:
        raise CommandError(str(error)) from None


def _read_folder(path: Path) -> dict[str, str]:
    """The files of a Baileys client by name."""
    try:
        if path.is_dir():
            return {file.name: file.read_text() for file in path.glob("*.json")}
        if path.stat().st_size > LARGEST:
            raise CommandError(f"{path} is larger than {LARGEST // 2**20} MB.")
        content = json.loads(path.read_text())
        files = content.get("session_data", content)
        if all(isinstance(text, str) for text in files.values()):
            return dict(files)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, AttributeError):
        pass
    raise CommandError(f"{path} is not a JSON file of file names and texts.")


def _read_vault(owner: str, session_id: str) -> dict[str, str]:
    try:
        return foreign.read(owner, session_id)[1]
    except foreign.NoState:
        raise CommandError(f"No Baileys state is stored under {session_id} for this owner.") from None
    except crypto.Unreadable as error:
        raise CommandError(f"What is stored cannot be decrypted: {error}.") from None


def _take_over(files: dict[str, str], session_id: str) -> bundle.Bundle:
    try:
        snapshot = takeover.read_files(files)
    except (baileys.BadFiles, takeover.LibraryUnusable) as error:
        raise CommandError(str(error)) from None
    return bundle.Bundle(session_id, _name_of(snapshot), "", snapshot)


def _name_of(snapshot: Snapshot) -> str:
    number, _jid = baileys.own_number(snapshot)
    return creds.own_name(snapshot.creds or {})[:100] or number


# --- where it goes -------------------------------------------------------------------


@transaction.atomic
def _import(found: bundle.Bundle, session_id: str, name: str, owner: str) -> WhatsAppSession:
    session = WhatsAppSession(session_id=session_id, name=name, owner=owner)
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
    """A fresh epoch of a session that no host has: whoever takes it next gets a later one.

    The lease before it is no clean one: nobody knows what was sent since the file was written.
    """
    free = Q(lease_until=None) | Q(lease_until__lt=Now())
    unknown = {"lease_epoch": F("lease_epoch") + 1, "lease_clean": False, "lease_until": None}
    if not WhatsAppSession.objects.filter(free, pk=session.pk).update(**unknown):
        raise CommandError("A worker has this session at the moment. Stop it first.")
    session.refresh_from_db(fields=["lease_epoch"])
    return session.lease_epoch
