"""API tokens: who gets in, to what, and how often."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from sessions_app.models import ApiToken, Scope, WhatsAppSession
from tests.api import ApiClient

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(db: None) -> WhatsAppSession:
    return WhatsAppSession.objects.create(session_id="shop", name="Shop", owner="acme")


@pytest.fixture
def bakery(db: None) -> WhatsAppSession:
    return WhatsAppSession.objects.create(session_id="bakery", name="Bakery", owner="other")


# --- the token itself -----------------------------------------------------------


def test_a_token_is_not_stored_and_opens_only_whole():
    token, text = ApiToken.issue("bot", by="ana")

    assert text not in str(ApiToken.objects.values().get())
    assert ApiToken.find(text) == token
    assert ApiToken.find(text[:-1]) is None
    assert ApiToken.find(token.digest) is None


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer nonsense", "Basic dTpw", "Bearer oxy_\xff"])
def test_without_a_valid_token_nothing_is_shown(header, shop):
    answer = ApiClient(header=header).get("/api/sessions/shop")
    assert answer.status_code == 401
    assert answer.json()["code"] == "unauthorized"
    assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_token_and_an_expired_one_open_nothing(shop):
    revoked, first = ApiToken.issue("old", by="ana")
    revoked.revoke()
    __, second = ApiToken.issue("older", by="ana", expires_at=timezone.now() - timedelta(seconds=1))

    for text in (first, second):
        assert ApiClient(text).get("/api/sessions/shop").status_code == 401


def test_a_scope_that_is_missing_is_named(shop):
    answer = ApiClient(scopes=[Scope.READ]).post("/api/sessions/shop/start")
    assert answer.status_code == 403
    assert answer.json() == {"error": "This token lacks the scope “control”.", "code": "missing-scope"}


def test_each_use_is_seen_once_a_minute():
    client = ApiClient(scopes=[Scope.READ])
    client.get("/api/sessions")
    first = ApiToken.objects.get()
    client.get("/api/sessions")
    second = ApiToken.objects.get()

    assert first.last_used_at is not None
    assert second.last_used_at == first.last_used_at
    assert second.window_count == 2


# --- limits ---------------------------------------------------------------------


def test_other_peoples_sessions_are_not_there(shop, bakery):
    client = ApiClient(sessions=[shop])

    assert [item["session_id"] for item in client.get("/api/sessions").json()["items"]] == ["shop"]
    hidden, absent = client.get("/api/sessions/bakery"), client.get("/api/sessions/none")
    assert hidden.status_code == absent.status_code == 404
    assert hidden.json() == absent.json()
    for address in ("messages", "events", "qr"):
        assert client.get(f"/api/sessions/bakery/{address}").status_code == 404
    for verb in ("start", "stop", "restart", "logout", "backup"):
        assert client.post(f"/api/sessions/bakery/{verb}").status_code == 404
    assert client.delete("/api/sessions/bakery").status_code == 404


def test_a_token_whose_only_session_was_deleted_sees_none(shop, bakery):
    client = ApiClient(sessions=[shop])
    shop.delete()
    assert client.get("/api/sessions").json() == {"items": [], "count": 0}


def test_a_token_of_certain_sessions_makes_no_others(shop):
    assert ApiClient(sessions=[shop]).post("/api/sessions", {"name": "New"}).status_code == 403


def test_a_token_of_an_owner_stays_with_that_owner(shop, bakery):
    client = ApiClient(owner="acme")

    assert client.get("/api/sessions").json()["count"] == 1
    assert client.post("/api/sessions", {"name": "New"}).json()["owner"] == "acme"
    assert client.post("/api/sessions", {"name": "New", "owner": "other"}).status_code == 403
    assert client.patch("/api/sessions/shop", {"owner": "other"}).status_code == 403
    assert client.patch("/api/sessions/shop", {"owner": ""}).status_code == 403


def test_too_many_requests_are_told_when_to_come_back(settings):
    settings.OXY_RATE_LIMIT = 3
    client, other = ApiClient(), ApiClient()

    assert [client.get("/api/sessions").status_code for __ in range(4)] == [200, 200, 200, 429]
    refused = client.get("/api/sessions")
    assert refused.json()["code"] == "rate-limited"
    assert 1 <= int(refused["Retry-After"]) <= 61
    assert other.get("/api/sessions").status_code == 200


def test_the_count_begins_again_with_the_next_minute_and_not_before(settings, monkeypatch):
    settings.OXY_RATE_LIMIT = 1
    client, moment = ApiClient(), [timezone.now().replace(second=10)]
    monkeypatch.setattr("sessions_app.models.tokens.timezone.now", lambda: moment[0])

    assert client.get("/api/sessions").status_code == 200
    moment[0] -= timedelta(minutes=1)  # another process, whose clock is behind
    assert client.get("/api/sessions").status_code == 429
    moment[0] += timedelta(minutes=2)
    assert client.get("/api/sessions").status_code == 200


# --- the command ------------------------------------------------------------------


def test_the_command_prints_the_token_and_nothing_else(shop):
    out = StringIO()
    call_command("create_api_token", "bot", stdout=out)

    token = ApiToken.find(out.getvalue().strip())
    assert token is not None
    assert out.getvalue().count("\n") == 1
    assert token.scopes == ["read", "send", "control"]
    assert (token.limited, token.expires_at, token.created_by) == (False, None, "command line")


def test_the_command_limits_scopes_sessions_and_time(shop):
    out = StringIO()
    call_command("create_api_token", "bot", "--scope=read", "--session=shop", "--expires-days=2", stdout=out)

    token = ApiToken.objects.get()
    assert token.scopes == ["read"]
    assert list(token.visible()) == [shop]
    assert timedelta(days=1, hours=23) < token.expires_at - timezone.now() <= timedelta(days=2)


def test_the_command_refuses_a_session_that_is_not_there(db):
    with pytest.raises(CommandError, match="no session none"):
        call_command("create_api_token", "bot", "--session=none")
    assert not ApiToken.objects.exists()


def test_the_command_revokes_a_token_by_its_name_or_its_beginning(shop):
    first, text = ApiToken.issue("bot", by="tests")
    call_command("revoke_api_token", "bot", stdout=StringIO())
    assert ApiToken.find(text) is None

    tokens = [ApiToken.issue("bot", by="tests") for __ in range(2)]
    with pytest.raises(CommandError, match=f"More than one.*{tokens[0][0].prefix}"):
        call_command("revoke_api_token", "bot")
    call_command("revoke_api_token", tokens[0][0].prefix, stdout=StringIO())
    assert [ApiToken.find(text) is None for __, text in tokens] == [True, False]
    with pytest.raises(CommandError, match="no such token"):
        call_command("revoke_api_token", first.prefix)
