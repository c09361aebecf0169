"""`manage.py ensure_admin`: the first administrator of a new installation."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand
from django.db import transaction


class Command(BaseCommand):
    help = (
        "Makes an administrator and prints the password once, where there is no administrator yet; else does nothing."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        users: Any = get_user_model().objects
        with transaction.atomic():
            if users.filter(is_superuser=True).exists():
                return
            name = "admin" if not users.filter(username="admin").exists() else f"admin-{secrets.token_hex(2)}"
            password = secrets.token_urlsafe(12)
            users.create_superuser(name, password=password)
        self.stdout.write(f"Sign in as {name} with the password {password} (it is shown only once).")
