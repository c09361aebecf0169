"""What people do on a session's page beside its commands: send a test message, check a number, take its keys along."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from sessions_app import broadcast, numbers, panels, people
from sessions_app.forms import ExpectedForm, SendForm
from sessions_app.models import AlreadyLinked, NotLinked, QueueFull, WhatsAppSession
from sessions_app.vault import bundle
from sessions_app.views import needs, staff_only, visible

if TYPE_CHECKING:
    from sessions_app.views import StaffRequest


@needs(people.OPERATE)
@require_POST
def send_message(request: StaffRequest, session_id: str) -> HttpResponse:
    """Queue a test message; its ticks appear in the list of messages."""
    session = visible(request, session_id)
    form = SendForm(request.POST)
    problem = "" if form.is_valid() else str(next(iter(form.errors.values()))[0])
    if not problem:
        problem = _send(session, form.cleaned_data, request.user.get_username())
    if not request.htmx:
        messages.error(request, problem) if problem else messages.success(request, gettext("Queued."))
        return redirect("oxy-session", session_id)
    said = render_to_string("oxy/send_result.html", {"error": problem})
    if problem:
        return HttpResponse(said, status=422)
    return HttpResponse(panels.out_of_band(panels.session_panels(session.pk, request.user)) + said)


def _send(session: WhatsAppSession, given: dict[str, Any], by: str) -> str:
    """Queue it; why not, where that cannot be."""
    try:
        session.send_text(given["to"], given["text"], by=by)
    except NotLinked:
        return gettext("No phone is linked to this session, so nothing can be sent.")
    except QueueFull:
        return gettext("Too many messages of this session are waiting to be sent.")
    broadcast.session_changed(session.pk)
    return ""


@staff_only
@require_GET
def check_number(request: StaffRequest) -> JsonResponse:
    """What was typed, in the way of its country, and what is wrong with it as a number ("" where nothing is)."""
    return number_as_typed(request.GET.get("phone", ""))


def number_as_typed(text: str) -> JsonResponse:
    text = text[:40]
    try:
        numbers.read_phone(text)
        problem = ""
    except ValidationError as error:
        problem = str(error.messages[0])
    return JsonResponse({"shown": numbers.as_typed(text), "problem": problem})


@needs(people.OPERATE)
@require_POST
def expect_phone(request: StaffRequest, session_id: str) -> HttpResponse:
    """Bind the session to a number, or to none."""
    session = visible(request, session_id)
    form = ExpectedForm(request.POST)
    problem = "" if form.is_valid() else str(form.errors["phone"][0])
    if not problem:
        try:
            session.expect(form.cleaned_data["phone"], by=request.user.get_username())
        except AlreadyLinked:
            problem = gettext("A phone with another number is linked now. Log it out first.")
    said = render_to_string("oxy/expect_error.html", {"error": problem})
    if problem:
        return HttpResponse(said, status=422)
    broadcast.session_changed(session.pk)
    return HttpResponse(panels.out_of_band(panels.session_panels(session.pk, request.user)) + said)


@needs(people.EXPORT)
@require_http_methods(["GET", "POST"])
def export(request: StaffRequest, session_id: str) -> HttpResponse:
    """The session's keys as an encrypted file, which `import_session` reads elsewhere; the timeline keeps who took it."""
    session = visible(request, session_id)
    if request.method == "GET":
        running = session.desired == WhatsAppSession.Desired.RUNNING
        return render(request, "oxy/export.html", {"session": session, "running": running})
    try:
        data, count = bundle.export(WhatsAppSession.objects.get(pk=session.pk))
    except bundle.NotExportable as error:
        messages.error(request, str(error))
        return redirect("oxy-session", session_id)
    session.record("export", actor=request.user.get_username(), keys=count, bytes=len(data))
    broadcast.session_changed(session.pk)
    answer = HttpResponse(data, content_type="application/json")
    answer["Content-Disposition"] = f'attachment; filename="{session_id}.oxy-session.json"'
    return answer
