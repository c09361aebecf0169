"""What the doctor says about one thing: how it is, what was seen, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext_lazy as _


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    #: It works, and will not for long, or not as well as it could.
    WARNING = "warning"
    FAILURE = "failure"


#: The checks by their stable codes, in the order in which they are told.
TITLES = {
    "settings": _("Settings"),
    "database": _("Database"),
    "connections": _("Database connections"),
    "migrations": _("Database tables"),
    "clock": _("Clock"),
    "news": _("News between processes"),
    "keys": _("Encryption keys"),
    "session-path": _("Session path"),
    "workers": _("Workers"),
    "schedules": _("Schedules"),
    "sessions": _("Sessions"),
    "backups": _("Backups"),
    "whatsapp": _("Way to WhatsApp"),
    "library": _("WhatsApp library"),
    "space": _("Space in the database"),
}


@dataclass(frozen=True)
class Finding:
    """`saw` and `todo` are sentences for people, in the language of the moment; neither ever quotes a secret."""

    check: str
    level: Level
    saw: str
    todo: str = ""

    @property
    def title(self) -> str:
        return str(TITLES[self.check])

    def to_dict(self) -> dict[str, str]:
        return {"check": self.check, "level": self.level.value, "saw": self.saw, "todo": self.todo}


def ok(check: str, saw: str) -> Finding:
    return Finding(check, Level.OK, saw)


def warning(check: str, saw: str, todo: str) -> Finding:
    return Finding(check, Level.WARNING, saw, todo)


def failure(check: str, saw: str, todo: str) -> Finding:
    return Finding(check, Level.FAILURE, saw, todo)
