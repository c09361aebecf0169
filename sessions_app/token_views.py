"""API tokens in the console: make one, see them, revoke them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from sessions_app import people
from sessions_app.forms import TokenForm
from sessions_app.models import ApiToken
from sessions_app.views import needs

if TYPE_CHECKING:
    from sessions_app.views import StaffRequest

#: Sessions that the form offers to complete; any other can be typed.
OFFERED = 200


@needs(people.SEE_TOKENS)
@require_GET
def token_list(request: StaffRequest) -> HttpResponse:
    return _page(request, TokenForm())


@needs(people.ADD_TOKENS)
@require_POST
def new_token(request: StaffRequest) -> HttpResponse:
    """Make a token, and show it this once."""
    visible, owners = people.visible_to(request.user), people.owners_of(request.user)
    form = TokenForm(request.POST, visible=visible, owners=owners)
    if not form.is_valid():
        return _page(request, form, status=422)
    given = form.cleaned_data
    __, text = ApiToken.issue(
        given["name"],
        by=request.user.get_username(),
        scopes=given["scopes"],
        sessions=given["sessions"],
        owner=given["owner"],
        expires_at=timezone.now() + timedelta(days=given["days"]) if given["days"] else None,
    )
    return _page(request, TokenForm(), shown=text)


@needs(people.REVOKE_TOKENS)
@require_POST
def revoke_token(request: StaffRequest, pk: int) -> HttpResponse:
    token = get_object_or_404(people.tokens_of(request.user), pk=pk)
    token.revoke()
    messages.success(request, gettext("“%(name)s” was revoked: it opens nothing any more.") % {"name": token.name})
    return redirect("oxy-tokens")


def _page(request: StaffRequest, form: TokenForm, *, shown: str = "", status: int = 200) -> HttpResponse:
    context = {
        "tokens": people.tokens_of(request.user).prefetch_related("sessions").defer("digest"),
        "form": form,
        "shown": shown,
        "offered": people.visible_to(request.user).values_list("session_id", "name")[:OFFERED],
    }
    return render(request, "oxy/tokens.html", context, status=status)
