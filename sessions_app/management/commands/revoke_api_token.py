"""`manage.py revoke_api_token NAME`: the end of a program's right to use the API."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q

from sessions_app.models import ApiToken


class Command(BaseCommand):
    help = "Revoke an API token, at once and for good."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("token", help="its name, or how it begins (oxy_ and six characters)")

    def handle(self, *args: Any, token: str, **options: Any) -> None:
        found = list(ApiToken.objects.filter(Q(name=token) | Q(prefix=token), revoked_at=None))
        if not found:
            raise CommandError("There is no such token that is not revoked already.")
        if len(found) > 1:
            begins = ", ".join(each.prefix for each in found)
            raise CommandError(f"More than one token has this name. Say how it begins: {begins}.")
        found[0].revoke()
        self.stdout.write(f"Revoked: {found[0]}")
