"""The staff console: a list of sessions, a page for each, and the commands that people give there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render, resolve_url
from django.template.loader import render_to_string
from django.utils.translation import gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import HttpResponseClientRedirect

from sessions_app import broadcast, panels, words
from sessions_app.forms import NewSessionForm, PairingCodeForm
from sessions_app.lifecycle import Command
from sessions_app.models import NotAllowed, WhatsAppSession

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django_htmx.middleware import HtmxDetails

    class StaffRequest(HttpRequest):
        """A request that `staff_only` has let in."""

        user: User
        htmx: HtmxDetails


def staff_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponseBase]:
    """Let staff in; send everybody else to the login page, from a script's request too."""

    @wraps(view)
    def guarded(request: StaffRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_active and request.user.is_staff:
            return view(request, *args, **kwargs)
        if request.htmx:
            return HttpResponseClientRedirect(resolve_url(settings.LOGIN_URL))
        after = request.get_full_path() if request.method == "GET" else resolve_url(settings.LOGIN_REDIRECT_URL)
        return redirect_to_login(after, settings.LOGIN_URL)

    return never_cache(guarded)


@staff_only
@require_GET
def session_list(request: StaffRequest) -> HttpResponse:
    return _list_page(request, NewSessionForm())


@staff_only
@require_POST
def new_session(request: StaffRequest) -> HttpResponse:
    """Make a session, ask for its first pairing round, and go to its page."""
    form = NewSessionForm(request.POST)
    if not form.is_valid():
        return _list_page(request, form, status=422)
    session = form.save()
    session.request(Command.START, by=request.user.get_username())
    broadcast.session_changed(session.pk)
    return redirect("oxy-session", session.session_id)


def _list_page(request: StaffRequest, form: NewSessionForm, status: int = 200) -> HttpResponse:
    query = panels.ListQuery.read(request.GET)
    shown = {panel.name: panel for panel in panels.list_panels(query)}
    context = {"panels": shown, "query": query, "form": form, **_feed(f"/ws/sessions{query.url(page=query.page)}")}
    return render(request, "oxy/sessions.html", context, status=status)


def _feed(url: str) -> dict[str, Any]:
    return {"feed_url": url, "clock": panels.clock(out_of_band=False)}


@staff_only
@require_GET
def session_page(request: StaffRequest, session_id: str) -> HttpResponse:
    session = get_object_or_404(panels.public_sessions(), session_id=session_id)
    shown = {panel.name: panel for panel in panels.session_panels(session.pk)}
    context = {"session": session, "panels": shown, **_feed(f"/ws/sessions/{session.session_id}")}
    return render(request, "oxy/session.html", context)


@staff_only
@require_GET
def confirm(request: StaffRequest, session_id: str, verb: str) -> HttpResponse:
    """Say what a command will destroy, and ask."""
    session = get_object_or_404(panels.public_sessions(), session_id=session_id)
    command = _command(verb)
    if command not in panels.CONFIRMED:
        raise Http404
    context = {"session": session, "verb": verb, "allowed": session.allows(command), **losses(session)}
    return render(request, "oxy/confirm.html", context)


def losses(session: WhatsAppSession) -> dict[str, int]:
    """How much there is to lose, by what it is."""
    return {
        "keys": session.blobs.count(),
        "message_count": session.messages.count(),
        "event_count": session.events.count(),
    }


@staff_only
@require_POST
def give_command(request: StaffRequest, session_id: str, verb: str) -> HttpResponse:
    """Take a command down. Answers htmx with the panels as they are now, others with a redirect."""
    session = get_object_or_404(panels.public_sessions(), session_id=session_id)
    command = _command(verb)
    arguments: dict[str, Any] = {}
    if command is Command.PAIRING_CODE:
        form = PairingCodeForm(request.POST)
        if not form.is_valid():
            return _bad_phone(request, session, str(form.errors["phone"][0]))
        arguments = {"phone": form.cleaned_data["phone"]}
    try:
        session.request(command, by=request.user.get_username(), **arguments)
    except NotAllowed as error:
        return _answer(request, session, command, words.refusal(error), refused=True)
    broadcast.session_changed(session.pk)
    return _answer(request, session, command, _taken(command, session))


def _command(verb: str) -> Command:
    try:
        return Command(verb)
    except ValueError:
        raise Http404 from None


def _taken(command: Command, session: WhatsAppSession) -> str:
    if command is Command.DELETE:
        return gettext("“%(name)s” is being deleted.") % {"name": session.name}
    return ""


def _bad_phone(request: StaffRequest, session: WhatsAppSession, sentence: str) -> HttpResponse:
    if not request.htmx:
        messages.error(request, sentence)
        return redirect("oxy-session", session.session_id)
    return HttpResponse(render_to_string("oxy/phone_error.html", {"error": sentence}), status=422)


def _answer(
    request: StaffRequest, session: WhatsAppSession, command: Command, sentence: str, *, refused: bool = False
) -> HttpResponse:
    if request.htmx:
        parts = [panels.out_of_band(panels.session_panels(session.pk))]
        parts.append(render_to_string("oxy/notice.html", {"sentence": sentence, "refused": refused}))
        if command is Command.PAIRING_CODE:
            parts.append(render_to_string("oxy/phone_error.html"))  # takes an earlier complaint away
        return HttpResponse("".join(parts), status=409 if refused else 200)
    if sentence:
        messages.add_message(request, messages.ERROR if refused else messages.SUCCESS, sentence)
    if session.deleting:
        return redirect("oxy-sessions")
    return redirect("oxy-session", session.session_id)
