"""The administrators' page about the installation: what the doctor finds, and what takes how much space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from sessions_app import doctor, people
from sessions_app.doctor import TITLES, database
from sessions_app.views import needs

if TYPE_CHECKING:
    from sessions_app.views import StaffRequest

#: These start a process or leave this machine, so the page is shown without them and fetches them then.
SLOW = ("news", "whatsapp")


@needs(people.EXAMINE)
@require_GET
def installation(request: StaffRequest) -> HttpResponse:
    _refuse_the_limited(request)
    findings = doctor.examine(skip=SLOW)
    reachable = all(finding.level is not doctor.Level.FAILURE for finding in findings if finding.check == "database")
    context = {
        "findings": findings,
        "worst": doctor.worst(findings),
        "sizes": [size for size in database.sizes() if size.rows] if reachable else [],
    }
    return render(request, "oxy/installation.html", context)


@needs(people.EXAMINE)
@require_GET
def slow_findings(request: StaffRequest) -> HttpResponse:
    """The rest of the table, some seconds later."""
    _refuse_the_limited(request)
    findings = doctor.examine(skip=[check for check in TITLES if check not in SLOW])
    return render(request, "oxy/findings.html", {"findings": findings})


def _refuse_the_limited(request: StaffRequest) -> None:
    """The doctor names sessions, whoever's they are."""
    if not people.may_examine(request.user):
        raise Http404
