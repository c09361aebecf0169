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

from sessions_app import broadcast, overview, panels, people, words
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


View = Callable[..., HttpResponse]
Guarded = Callable[..., HttpResponseBase]


def needs(permission: str) -> Callable[[View], Guarded]:
    """Let staff with this permission in; send whoever is no staff to the login page, from a script's request too."""

    def guard(view: View) -> Guarded:
        @wraps(view)
        def guarded(request: StaffRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not (request.user.is_active and request.user.is_staff):
                return _to_login(request)
            if not request.user.has_perm(permission):
                return render(request, "oxy/not_allowed.html", status=403)
            return view(request, *args, **kwargs)

        return never_cache(guarded)

    return guard


#: Whoever may look at sessions.
staff_only = needs(people.VIEW)


def _to_login(request: StaffRequest) -> HttpResponse:
    if request.htmx:
        return HttpResponseClientRedirect(resolve_url(settings.LOGIN_URL))
    after = request.get_full_path() if request.method == "GET" else resolve_url(settings.LOGIN_REDIRECT_URL)
    return redirect_to_login(after, settings.LOGIN_URL)


@staff_only
@require_GET
def session_list(request: StaffRequest) -> HttpResponse:
    return _list_page(request, NewSessionForm())


@needs(people.ADD)
@require_POST
def new_session(request: StaffRequest) -> HttpResponse:
    """Make a session, ask for its first pairing round, and go to its page."""
    form = NewSessionForm(request.POST, owners=people.owners_of(request.user))
    if not form.is_valid():
        return _list_page(request, form, status=422)
    session = form.save()
    session.request(Command.START, by=request.user.get_username())
    broadcast.session_changed(session.pk)
    return redirect("oxy-session", session.session_id)


@needs(people.OPERATE)
@require_POST
def command_many(request: StaffRequest) -> HttpResponse:
    """Ask the same of many sessions: of those that are ticked, or of all that the list's filters match."""
    query = overview.ListQuery.read(request.GET)
    command = _command(request.POST.get("verb", ""))
    if command not in overview.BULK:
        raise Http404
    rows = people.visible_to(request.user)
    if request.POST.get("which") == "all":
        rows = query.rows(rows)
    else:
        rows = rows.filter(session_id__in=request.POST.getlist("session")[: overview.PAGE_SIZE])
    asked, refused = rows.request_all(command, by=request.user.get_username())
    broadcast.sessions_changed()
    return _many_asked(request, query, words.asked_of_many(command, asked, refused), failed=not asked)


def _many_asked(request: StaffRequest, query: overview.ListQuery, sentence: str, *, failed: bool) -> HttpResponse:
    if request.htmx:
        shown = panels.out_of_band(overview.list_panels(query, request.user))
        notice = render_to_string("oxy/notice.html", {"sentence": sentence, "refused": failed})
        return HttpResponse(shown + notice, status=409 if failed else 200)
    messages.add_message(request, messages.ERROR if failed else messages.SUCCESS, sentence)
    return redirect(f"{resolve_url('oxy-sessions')}{query.here}")


def _list_page(request: StaffRequest, form: NewSessionForm, status: int = 200) -> HttpResponse:
    query = overview.ListQuery.read(request.GET)
    shown = {panel.name: panel for panel in overview.list_panels(query, request.user)}
    context = {
        "panels": shown,
        "query": query,
        "form": form,
        "columns": overview.COLUMNS,
        "may_add": request.user.has_perm(people.ADD),
        **_feed(f"/ws/sessions{query.here}"),
    }
    return render(request, "oxy/sessions.html", context, status=status)


def _feed(url: str) -> dict[str, Any]:
    return {"feed_url": url, "clock": panels.clock(out_of_band=False)}


def visible(request: StaffRequest, session_id: str) -> WhatsAppSession:
    """The session that this person asks for; not found where they may not see it."""
    return get_object_or_404(panels.public(people.visible_to(request.user)), session_id=session_id)


@staff_only
@require_GET
def session_page(request: StaffRequest, session_id: str) -> HttpResponse:
    session = visible(request, session_id)
    shown = {panel.name: panel for panel in panels.session_panels(session.pk, request.user)}
    context = {"session": session, "panels": shown, **_feed(f"/ws/sessions/{session.session_id}")}
    return render(request, "oxy/session.html", context)


@staff_only
@require_GET
def confirm(request: StaffRequest, session_id: str, verb: str) -> HttpResponse:
    """Say what a command will destroy, and ask."""
    session = visible(request, session_id)
    command = _command(verb)
    if command not in panels.CONFIRMED or not people.may(request.user, command):
        raise Http404
    context = {"session": session, "verb": verb, "allowed": session.allows(command), **panels.losses(session)}
    return render(request, "oxy/confirm.html", context)


@needs(people.OPERATE)
@require_POST
def give_command(request: StaffRequest, session_id: str, verb: str) -> HttpResponse:
    """Take a command down. Answers htmx with the panels as they are now, others with a redirect."""
    session = visible(request, session_id)
    command = _command(verb)
    if not people.may(request.user, command):
        return render(request, "oxy/not_allowed.html", status=403)
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
        parts = [panels.out_of_band(panels.session_panels(session.pk, request.user))]
        parts.append(render_to_string("oxy/notice.html", {"sentence": sentence, "refused": refused}))
        if command is Command.PAIRING_CODE:
            parts.append(render_to_string("oxy/phone_error.html"))  # takes an earlier complaint away
        return HttpResponse("".join(parts), status=409 if refused else 200)
    if sentence:
        messages.add_message(request, messages.ERROR if refused else messages.SUCCESS, sentence)
    if session.deleting:
        return redirect("oxy-sessions")
    return redirect("oxy-session", session.session_id)
