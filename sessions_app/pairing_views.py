"""Pairing links: staff make them, and whoever has one links one phone with it, with no account.

The token stands behind the `#` of the link, which no browser sends anywhere: it is in no log of any server on the way, and a program that
only looks at the link (a messenger's preview) opens nothing. The page posts it once, and from then on the visitor's cookie holds the link.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from sessions_app import broadcast, pairing, panels, people
from sessions_app.forms import PairingCodeForm
from sessions_app.lifecycle import Command
from sessions_app.models import NotAllowed, PairingLink, WhatsAppSession
from sessions_app.session_views import number_as_typed
from sessions_app.views import needs, visible

if TYPE_CHECKING:
    from sessions_app.views import StaffRequest

# --- for staff -------------------------------------------------------------------


@needs(people.OPERATE)
@require_http_methods(["GET", "POST"])
def make_link(request: StaffRequest, session_id: str) -> HttpResponse:
    """Say what a pairing link is; make one, and show it this once; or take back the one that there is."""
    session = visible(request, session_id)
    address = ""
    if request.method == "POST":
        by = request.user.get_username()
        if "revoke" in request.POST:
            session.pairing_links.filter(revoked_at=None, used_at=None).update(revoked_at=timezone.now())
            session.record("link", actor=by, outcome="revoked")
        else:
            link, token = PairingLink.issue(session, by=by)
            session.record("link", actor=by, until=link.expires_at.isoformat(timespec="minutes"))
            address = f"{request.build_absolute_uri(reverse('oxy-pair'))}#{token}"
        broadcast.session_changed(session.pk)
    current = session.pairing_links.first()
    context = {"session": session, "address": address, "link": current if current and current.in_force else None}
    return render(request, "oxy/link.html", context)


# --- for a customer ----------------------------------------------------------------


@never_cache
@require_GET
def customer_page(request: HttpRequest) -> HttpResponse:
    link = pairing.held_link(request.session)
    context: dict[str, Any] = {"link": link}
    if link:
        context |= {
            "panels": {panel.name: panel for panel in pairing.customer_panels(link)},
            "feed_url": "/ws/pair",
            "clock": panels.clock(out_of_band=False),
        }
    return render(request, "oxy/pair.html", context)


@require_POST
def open_link(request: HttpRequest) -> HttpResponse:
    """Take the token that the page has found in its address; the visitor's cookie holds the link from now on."""
    link = PairingLink.find(request.POST.get("token", "")[:100])
    if link is None:
        return HttpResponse(status=404)
    request.session[pairing.HELD] = link.pk
    if not request.user.is_authenticated:
        request.session.set_expiry(link.expires_at)
    return HttpResponse(status=204)


def with_link(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Only for visitors whose link is in force."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any) -> HttpResponse:
        link = pairing.held_link(request.session)
        if link is None or not link.in_force:
            return HttpResponse(status=403)
        return view(request, link, *args)

    return never_cache(guarded)


@require_POST
@with_link
def customer_round(request: HttpRequest, link: PairingLink) -> HttpResponse:
    """Ask for new codes."""
    session = _session(link)
    command = Command.START if session.allows(Command.START) else Command.RESTART
    return _ask(link, session, command)


@require_POST
@with_link
def customer_code(request: HttpRequest, link: PairingLink) -> HttpResponse:
    """Ask for a code to type on the phone."""
    form = PairingCodeForm(request.POST)
    if not form.is_valid():
        error = str(form.errors["phone"][0])
        return HttpResponse(render_to_string("oxy/phone_error.html", {"error": error}), status=422)
    return _ask(link, _session(link), Command.PAIRING_CODE, phone=form.cleaned_data["phone"])


@require_GET
@with_link
def customer_number(request: HttpRequest, link: PairingLink) -> JsonResponse:
    return number_as_typed(request.GET.get("phone", ""))


def _session(link: PairingLink) -> WhatsAppSession:
    return panels.public(WhatsAppSession.objects.filter(pk=link.session_id)).get()


def _ask(link: PairingLink, session: WhatsAppSession, command: Command, **arguments: Any) -> HttpResponse:
    # A link links one phone and does nothing else: what is linked, it neither stops nor restarts.
    if not session.allows(Command.PAIRING_CODE):
        return HttpResponse(panels.out_of_band(pairing.customer_panels(link)), status=409)
    try:
        session.request(command, by=link.actor, **arguments)
    except NotAllowed:
        return HttpResponse(panels.out_of_band(pairing.customer_panels(link)), status=409)
    broadcast.session_changed(session.pk)
    return HttpResponse(panels.out_of_band(pairing.customer_panels(link)) + render_to_string("oxy/phone_error.html"))
