"""`manage.py generate_key`: a new key for OXY_ENCRYPTION_KEYS."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from sessions_app.vault import crypto


class Command(BaseCommand):
    help = "Print a new key for OXY_ENCRYPTION_KEYS, and nothing else."
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(crypto.generate_key())
