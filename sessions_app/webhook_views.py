"""Webhooks in the console: a list, a page for each with its deliveries, and what people do with them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, ngettext
from django.views.decorators.http import require_GET, require_POST

from sessions_app import people, webhooks
from sessions_app.forms import WebhookForm
from sessions_app.models import Webhook, WebhookDelivery
from sessions_app.views import needs

if TYPE_CHECKING:
    from sessions_app.views import StaffRequest

#: Deliveries on a page.
PAGE = 50
#: Sessions that the form offers to complete; any other can be typed.
OFFERED = 200


@needs(people.SEE_WEBHOOKS)
@require_GET
def webhook_list(request: StaffRequest) -> HttpResponse:
    return _list_page(request, WebhookForm())


@needs(people.ADD_WEBHOOKS)
@require_POST
def new_webhook(request: StaffRequest) -> HttpResponse:
    """Make a webhook, and show its secret this once."""
    limited = people.owners_of(request.user) is not None
    form = WebhookForm(request.POST, visible=people.visible_to(request.user), must_name=limited)
    if not form.is_valid():
        return _list_page(request, form, status=422)
    webhook, secret = webhooks.make(
        form.cleaned_data["url"],
        session=form.session,
        events=form.cleaned_data["events"],
        by=request.user.get_username(),
    )
    return _page(request, webhook, secret=secret)


def _list_page(request: StaffRequest, form: WebhookForm, status: int = 200) -> HttpResponse:
    waiting = Count("deliveries", filter=Q(deliveries__status__in=WebhookDelivery.OPEN))
    context = {
        "webhooks": people.webhooks_of(request.user).annotate(waiting=waiting),
        "form": form,
        "offered": people.visible_to(request.user).values_list("session_id", "name")[:OFFERED],
    }
    return render(request, "oxy/webhooks.html", context, status=status)


def _webhook(request: StaffRequest, code: uuid.UUID) -> Webhook:
    """The webhook that this person asks for; not found where it tells of sessions that they may not see."""
    return get_object_or_404(people.webhooks_of(request.user), code=code)


@needs(people.SEE_WEBHOOKS)
@require_GET
def webhook_page(request: StaffRequest, code: uuid.UUID) -> HttpResponse:
    return _page(request, _webhook(request, code))


def _page(
    request: StaffRequest, webhook: Webhook, *, form: WebhookForm | None = None, secret: str = "", status: int = 200
) -> HttpResponse:
    wanted = request.GET.get("status", "")
    rows = webhook.deliveries.select_related("event")
    if wanted in WebhookDelivery.State.values:
        rows = rows.filter(status=wanted)
    context = {
        "webhook": webhook,
        "secret": secret,
        "form": form or WebhookForm.of(webhook),
        "page": Paginator(rows, PAGE).get_page(request.GET.get("page")),
        "states": WebhookDelivery.State,
        "wanted": wanted,
    }
    return render(request, "oxy/webhook.html", context, status=status)


@needs(people.CHANGE_WEBHOOKS)
@require_POST
def change_webhook(request: StaffRequest, code: uuid.UUID) -> HttpResponse:
    """Save its address and its events. Whose events they are can't be changed: what waits would be another's."""
    webhook = _webhook(request, code)
    form = WebhookForm({**request.POST.dict(), "events": request.POST.getlist("events"), "session_id": ""})
    if not form.is_valid():
        return _page(request, webhook, form=form, status=422)
    webhooks.change(webhook, url=form.cleaned_data["url"], events=form.cleaned_data["events"])
    messages.success(request, gettext("Saved."))
    return redirect("oxy-webhook", webhook.code)


@needs(people.CHANGE_WEBHOOKS)
@require_POST
def command_webhook(request: StaffRequest, code: uuid.UUID, verb: str) -> HttpResponse:
    """One of the buttons of its page."""
    if verb not in _VERBS:
        raise Http404
    if verb == "delete" and not request.user.has_perm(people.DELETE_WEBHOOKS):
        return render(request, "oxy/not_allowed.html", status=403)
    return _VERBS[verb](request, _webhook(request, code))


def _rotate(request: StaffRequest, webhook: Webhook) -> HttpResponse:
    return _page(request, webhook, secret=webhooks.rotate(webhook))


def _test(request: StaffRequest, webhook: Webhook) -> HttpResponse:
    webhooks.ping(webhook)
    messages.success(request, gettext("A test is on its way; its answer appears below."))
    return redirect("oxy-webhook", webhook.code)


def _switch(active: bool) -> Callable[[StaffRequest, Webhook], HttpResponse]:
    def switch(request: StaffRequest, webhook: Webhook) -> HttpResponse:
        webhooks.change(webhook, active=active)
        return redirect("oxy-webhook", webhook.code)

    return switch


def _delete(request: StaffRequest, webhook: Webhook) -> HttpResponse:
    count = webhook.deliveries.count()
    webhook.remove()
    said = ngettext(
        "The webhook and %(n)d delivery were deleted.", "The webhook and %(n)d deliveries were deleted.", count
    )
    messages.success(request, said % {"n": count})
    return redirect("oxy-webhooks")


_VERBS: dict[str, Callable[[StaffRequest, Webhook], HttpResponse]] = {
    "rotate": _rotate,
    "test": _test,
    "enable": _switch(True),
    "disable": _switch(False),
    "delete": _delete,
}


@needs(people.CHANGE_WEBHOOKS)
@require_POST
def send_again(request: StaffRequest, code: uuid.UUID, delivery: uuid.UUID) -> HttpResponse:
    row = get_object_or_404(
        WebhookDelivery.objects.select_related("event", "webhook"), webhook=_webhook(request, code), code=delivery
    )
    webhooks.send_again(row)
    messages.success(request, gettext("It is sent again; the answer appears below."))
    return redirect("oxy-webhook", code)
