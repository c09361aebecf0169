"""The doctor on the way out: whether WhatsApp answers, through the proxy where there is one, and whether it takes our library."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from django.utils import timezone
from django.utils.translation import gettext as _

from sessions_app.doctor.findings import Finding, failure, ok, warning
from sessions_app.models import Host, SessionEvent, WhatsAppSession
from sessions_app.reasons import Reason

#: Where WhatsApp's web client comes from; the library's socket goes to the same host (whatsmeow `socket/constants.go`).
ADDRESS = "https://web.whatsapp.com/"
#: Seconds, and bytes of its page that are looked at.
PATIENCE, READ_AT_MOST = 8.0, 2 * 2**20
#: How the page names the present version of WhatsApp's own client (whatsmeow `update.go`).
_REVISION = re.compile(rb'"client_revision":(\d+)')
#: Seconds that its clock may differ from this machine's: it tells whole ones, and a page on its way takes some.
CLOCK_OFF = 20.0
#: A complaint that is older says nothing about today.
RECENT = timedelta(days=1)
#: The library needs this glibc in spite of its wheel's tag.
LEAST_GLIBC = (2, 34)


@dataclass(frozen=True)
class Answer:
    """WhatsApp answered: after so many milliseconds; `revision` of its own client, where its page said so; by how many seconds
    its clock is ahead of this machine's, where it said what time it is."""

    milliseconds: float
    revision: int | None = None
    ahead: float = 0.0


class Silence(Exception):
    """WhatsApp could not be reached; the text is a sentence without secrets."""


def check() -> list[Finding]:
    """Both findings: the way, and the library."""
    try:
        answer = reach()
    except Silence as error:
        todo = _("Check this machine's internet connection, its firewall (port 443) and HTTPS_PROXY.")
        return [failure("whatsapp", str(error), todo), library(None)]
    saw = _("web.whatsapp.com answers in %(latency)d ms%(how)s.") % {"latency": answer.milliseconds, "how": _how()}
    if abs(answer.ahead) >= CLOCK_OFF:
        saw += " " + _("Its clock and this machine's differ by %(seconds)d s.") % {"seconds": abs(answer.ahead)}
        todo = _("Set this machine's clock by NTP: codes, retries and links end at the wrong time.")
        return [warning("whatsapp", saw, todo), library(answer.revision)]
    return [ok("whatsapp", saw), library(answer.revision)]


def reach() -> Answer:
    """Ask for WhatsApp's own page, the way the library's socket goes; raises `Silence`."""
    request = urllib.request.Request(ADDRESS, headers={"User-Agent": "Mozilla/5.0", "Accept": "text/html"})
    began = time.monotonic()
    try:
        # An opener of its own: the module's remembers the proxy of its first use.
        with urllib.request.build_opener().open(request, timeout=PATIENCE) as response:
            took = (time.monotonic() - began) * 1000
            found = _REVISION.search(response.read(READ_AT_MOST))
            return Answer(took, int(found[1]) if found else None, _ahead(response.headers["Date"]))
    except urllib.error.HTTPError as error:
        # It is there, and has no page for us.
        return Answer((time.monotonic() - began) * 1000, ahead=_ahead(error.headers["Date"]))
    except (OSError, ValueError) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        said = cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__
        raise Silence(
            _("web.whatsapp.com cannot be reached%(how)s: %(error)s.") % {"how": _how(), "error": said}
        ) from None


def _ahead(date: str | None) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - time.time() if date else 0.0
    except ValueError:
        return 0.0


def _how() -> str:
    """How it is reached; of a proxy's address the host alone, because there can be a password in front of it."""
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or ""
    host = urlsplit(proxy).hostname
    return " " + _("through the proxy %(host)s") % {"host": host} if host else ""


def library(revision: int | None) -> Finding:
    """The version that is installed, the one that it claims to be, and whether WhatsApp has refused it."""
    try:
        installed = importlib.metadata.version("neonize")
    except importlib.metadata.PackageNotFoundError:
        return failure("library", _("It is not installed."), _("Run: pip install -r requirements.txt"))
    libc, have = platform.libc_ver()
    if libc == "glibc" and _numbers(have) < LEAST_GLIBC:
        saw = _("It needs glibc %(least)s or newer; this machine has %(have)s.") % {"least": "2.34", "have": have}
        return failure("library", saw, _("Use Debian 12, Ubuntu 22.04 or newer."))
    saw = _("neonize %(version)s.") % {"version": installed}
    if claimed := _claimed():
        saw += " " + _("It says that it is WhatsApp %(version)s.") % {"version": claimed}
    if revision:
        saw += " " + _("WhatsApp's own page is at 2.3000.%(revision)d.") % {"revision": revision}
    if refused := _refused():
        saw += " " + _("WhatsApp refused it as outdated for %(count)d sessions.") % {"count": refused}
        return failure(
            "library", saw, _("Update Oxy: a newer release has a newer library. Sessions then go on by themselves.")
        )
    if accepted := _accepted():
        saw += " " + _("WhatsApp let %(count)d sessions in with it within the last day.") % {"count": accepted}
        return ok("library", saw)
    return warning(
        "library", saw, _("No session has connected within the last day, so nobody knows if WhatsApp takes it.")
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _claimed() -> str:
    """As the newest host's engines say it: `neonize X, WhatsApp Y`."""
    said = Host.objects.exclude(library="").order_by("-pk").values_list("library", flat=True).first() or ""
    return said.partition("WhatsApp ")[2]


def _refused() -> int:
    return WhatsAppSession.objects.filter(reason=Reason.CLIENT_OUTDATED).count()


def _accepted() -> int:
    moves = SessionEvent.objects.filter(kind="status", status="CONNECTED", at__gte=timezone.now() - RECENT)
    now = set(WhatsAppSession.objects.filter(status="CONNECTED").values_list("pk", flat=True))
    return len(now | set(moves.values_list("session", flat=True)))
