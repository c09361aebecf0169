"""`manage.py create_api_token NAME`: a token for a program."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from sessions_app.models import DEFAULT_SCOPES, ApiToken, Scope, WhatsAppSession


class Command(BaseCommand):
    help = "Make an API token. Prints the token, and nothing else; it is never shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="what uses it, for people")
        default = ", ".join(scope.value for scope in DEFAULT_SCOPES)
        parser.add_argument(
            "--scope",
            action="append",
            dest="scopes",
            choices=Scope.values,
            metavar="SCOPE",
            help=f"{', '.join(Scope.values)}; can be repeated (default: {default})",
        )
        parser.add_argument(
            "--session", action="append", dest="sessions", metavar="ID", help="only this session; can be repeated"
        )
        parser.add_argument("--owner", default="", help="only sessions of this owner")
        parser.add_argument("--expires-days", type=int, metavar="N", help="how long it is good for (default: for ever)")

    def handle(
        self,
        *args: Any,
        name: str,
        scopes: list[str] | None,
        sessions: list[str] | None,
        owner: str,
        expires_days: int | None,
        **options: Any,
    ) -> None:
        __, text = ApiToken.issue(
            name,
            by="command line",
            scopes=scopes or DEFAULT_SCOPES,
            sessions=None if sessions is None else [_session(session_id) for session_id in sessions],
            owner=owner,
            expires_at=None if expires_days is None else timezone.now() + timedelta(days=expires_days),
        )
        self.stdout.write(text)


def _session(session_id: str) -> WhatsAppSession:
    try:
        return WhatsAppSession.objects.get(session_id=session_id)
    except WhatsAppSession.DoesNotExist:
        raise CommandError(f"There is no session {session_id}.") from None
