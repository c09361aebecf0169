"""`manage.py rotate_keys`: seal everything that is stored with the first encryption key, while everything runs."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sessions_app.vault import crypto, rotation

#: Seconds between two lines of progress.
SAY_EVERY = 5.0
#: Names that an error lists; the rest is counted.
NAMED = 5


class Command(BaseCommand):
    help = (
        "Encrypt everything that is stored with the first key of OXY_ENCRYPTION_KEYS. Put the new key in front of the old one, "
        "restart web and workers, run this, and take the old key away when it says so. It can be interrupted and run again."
    )

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--dry-run", action="store_true", help="only count what each key encrypts")

    def handle(self, *args: Any, dry_run: bool, **options: Any) -> None:
        if dry_run:
            self.count()
            return
        result = rotation.rotate(self._progress())
        self.stdout.write(f"{result.moved} values were encrypted with key {crypto.key_ids()[0]}.")
        if result.unreadable:
            more = len(result.unreadable) - NAMED
            names = ", ".join(result.unreadable[:NAMED]) + (f" and {more} more" if more > 0 else "")
            raise CommandError(f"No key opens {names}. Add the key that they were encrypted with; keep all old keys.")
        if result.behind:
            raise CommandError(
                f"These workers still encrypt with an older key: {', '.join(result.behind)}. Restart them with the new key "
                "in front, then run this again; keep the old key until then."
            )
        if result.left:
            raise CommandError(
                f"{result.left} values were written with an older key meanwhile. Restart web and workers with the new key in "
                "front, then run this again; keep the old key until then."
            )
        for key_id in result.retired:
            self.stdout.write(f"Key {key_id} encrypts nothing any more: take it out of OXY_ENCRYPTION_KEYS.")

    def count(self) -> None:
        known = crypto.key_ids()
        for key_id, values in rotation.census().most_common():
            kind = "first key" if key_id == known[0] else "older key" if key_id in known else "unknown key"
            self.stdout.write(f"{key_id}  {kind}  {values} values")

    def _progress(self) -> Any:
        said_at = time.monotonic()

        def progress(moved: int) -> None:
            nonlocal said_at
            if time.monotonic() - said_at >= SAY_EVERY:
                said_at = time.monotonic()
                self.stdout.write(f"{moved} ...")

        return progress
