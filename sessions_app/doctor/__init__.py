"""How this installation is, check by check, each with what to do about it.

`examine()` is what the command and the administrators' page show. A check that cannot be made, because the database went away or
for a reason of its own, is a finding too: the doctor never ends in a traceback.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from django.db import Error
from django.utils.translation import gettext as _

from sessions_app.doctor import database, installation, whatsapp
from sessions_app.doctor.findings import TITLES, Finding, Level, failure

__all__ = ["TITLES", "Finding", "Level", "examine", "worst"]

log = logging.getLogger(__name__)

Check = Callable[[], Finding | list[Finding]]

_DATABASE = "database"
_CHECKS: dict[str, Check] = {
    "settings": installation.check_settings,
    "session-path": installation.session_path,
    _DATABASE: database.answers,
    "connections": database.connections,
    "migrations": database.migrations,
    "clock": database.clock,
    "news": installation.news,
    "keys": installation.keys,
    "workers": installation.workers,
    "schedules": installation.schedules,
    "sessions": installation.sessions,
    "backups": installation.backups,
    "space": database.space,
    "whatsapp": whatsapp.check,
}
_WITHOUT_DATABASE = frozenset({"settings", "session-path"})
#: Where one of these fails, all that asks the database would only say so again.
_FIRST = frozenset({_DATABASE, "migrations"})


def examine(*, skip: Iterable[str] = ()) -> list[Finding]:
    """Every check but those named in `skip`, in the order of `TITLES`. Takes some seconds: it starts a process and asks WhatsApp."""
    left_out, found = set(skip), list[Finding]()
    for code, check in _CHECKS.items():
        if code not in left_out:
            try:
                made = check()
            except Error as error:
                made = _unanswered(code, error)
            except Exception as error:
                log.warning("doctor_check_failed", extra={"check": code, "error": type(error).__name__})
                made = failure(code, _("The check itself failed (%(error)s).") % {"error": type(error).__name__}, "")
            found += made if isinstance(made, list) else [made]
            if code in _FIRST and found[-1].level is Level.FAILURE:
                left_out |= _CHECKS.keys() - _WITHOUT_DATABASE
    order = list(TITLES)
    return sorted(found, key=lambda finding: order.index(finding.check))


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among them; all is well where there are none."""
    levels = {finding.level for finding in findings}
    return next((level for level in (Level.FAILURE, Level.WARNING) if level in levels), Level.OK)


def _unanswered(code: str, error: Error) -> Finding:
    named = {"error": type(error).__name__}
    if code == _DATABASE:
        saw = _("It cannot be reached (%(error)s).") % named
        return failure(code, saw, _("Check DATABASE_URL, and that the database runs and takes connections from here."))
    return failure(code, _("It could not be looked at (%(error)s).") % named, _("Look at the database's own log."))
