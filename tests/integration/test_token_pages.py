"""API tokens in the console and the admin."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from sessions_app.models import ApiToken
from tests.api import ApiClient
from tests.pages import page, text
from tests.rows import make_session, make_staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client) -> Client:
    client.force_login(make_staff("ana"))
    return client


def make(client: Client, **fields: Any) -> str:
    """Make a token on the page; its text."""
    response = client.post("/tokens/new", {"name": "bot", "scopes": ["read"], **fields})
    assert response.status_code == 200
    found = re.search(r'id="token"[^>]*>([^<]*)<', response.content.decode())
    assert found
    return found[1]


def test_only_staff_comes_in(client: Client) -> None:
    assert client.get("/tokens/")["Location"] == "/login/?next=/tokens/"
    assert client.post("/tokens/new", {"name": "bot", "scopes": ["read"]}).status_code == 302
    assert not ApiToken.objects.exists()


def test_a_new_token_is_shown_once_and_works(staff: Client) -> None:
    made = make(staff)

    token = ApiToken.find(made)
    assert token is not None
    assert (token.name, token.scopes, token.created_by, token.limited) == ("bot", ["read"], "ana", False)
    assert ApiClient(made).get("/api/sessions").status_code == 200
    html = page(staff, "/tokens/")
    assert made not in html
    assert token.digest not in html
    assert token.prefix in html


def test_a_token_is_limited_as_the_form_says(staff: Client) -> None:
    shop, bakery = make_session(session_id="shop"), make_session(session_id="bakery")
    make_session(session_id="other")

    token = ApiToken.find(make(staff, sessions="shop, bakery", owner="Ana", days="2"))

    assert token is not None
    assert set(token.visible()) == {shop, bakery}
    assert token.owner == "Ana"
    assert token.expires_at is not None
    assert timedelta(days=1) < token.expires_at - timezone.now() <= timedelta(days=2)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "Name: This field is required."),
        ({"scopes": []}, "Scopes: This field is required."),
        ({"scopes": ["root"]}, "root is not one of the available choices"),
        ({"sessions": "none"}, "There is no session none."),
        ({"days": "0"}, "Days: Ensure this value is greater than or equal to 1."),
    ],
)
def test_a_wrong_form_is_refused_in_words(staff: Client, fields: dict[str, Any], said: str) -> None:
    response = staff.post("/tokens/new", {"name": "bot", "scopes": ["read"], **fields})
    assert response.status_code == 422
    assert said in text(response.content.decode())
    assert not ApiToken.objects.exists()


def test_revoking_ends_a_token_on_the_page_and_in_the_admin(staff: Client) -> None:
    first, second = make(staff), make(staff)
    one, two = ApiToken.find(first), ApiToken.find(second)
    assert one and two

    staff.get(f"/tokens/{one.pk}/revoke")
    assert ApiToken.find(first)
    staff.post(f"/tokens/{one.pk}/revoke")
    staff.post("/admin/sessions_app/apitoken/", {"action": "revoke", "_selected_action": [two.pk]})

    assert [ApiToken.find(made) for made in (first, second)] == [None, None]
    assert text(page(staff, "/tokens/")).count("Revoked") == 2


def test_the_admin_shows_tokens_without_what_opens_them(staff: Client) -> None:
    made = make(staff)
    token = ApiToken.objects.get()
    html = page(staff, "/admin/sessions_app/apitoken/") + page(
        staff, f"/admin/sessions_app/apitoken/{token.pk}/change/"
    )
    assert token.prefix in html
    assert made not in html
    assert token.digest not in html
    assert staff.get("/admin/sessions_app/apitoken/add/")["Location"] == "/tokens/"
