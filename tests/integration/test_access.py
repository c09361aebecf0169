"""Who may come in where: every address of the product is in a table here, and one that is in none fails the run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from sessions_app import outbox, people, webhooks
from sessions_app.api.app import api
from sessions_app.models import (
    ApiToken,
    Message,
    OwnerLimit,
    PairingLink,
    Scope,
    Webhook,
    WebhookDelivery,
    WhatsAppSession,
)
from tests.api import ApiClient
from tests.rows import make_session, make_staff

pytestmark = pytest.mark.django_db
PUBLIC, LINK = "", "a pairing link"


@dataclass(frozen=True)
class Page:
    """One address of the console: the permission that it needs (PUBLIC: none, not even a login; LINK: a visitor's pairing link), its
    methods, and a form that fits."""

    permission: str
    methods: tuple[str, ...] = ("GET",)
    arguments: tuple[str, ...] = ()
    form: dict[str, str] = field(default_factory=dict)


POST = ("POST",)
PAGES: dict[str, Page] = {
    "oxy-sessions": Page(people.VIEW),
    "oxy-login": Page(PUBLIC, ("GET", "POST")),
    "oxy-logout": Page(PUBLIC, POST),
    "set_language": Page(PUBLIC, POST),
    "oxy-new": Page(people.ADD, POST, form={"name": "another"}),
    "oxy-command-many": Page(people.OPERATE, POST, form={"verb": "stop", "which": "all"}),
    "oxy-check-number": Page(people.VIEW),
    "oxy-send": Page(people.OPERATE, POST, ("session",), {"to": "5511987650002", "text": "hello"}),
    "oxy-export": Page(people.EXPORT, ("GET", "POST"), ("session",)),
    "oxy-session": Page(people.VIEW, arguments=("session",)),
    "oxy-confirm": Page(people.VIEW, arguments=("session", "delete")),
    "oxy-command": Page(people.OPERATE, POST, ("session", "stop")),
    "oxy-expect": Page(people.OPERATE, POST, ("session",), {"expected_phone": "5511987650001"}),
    "oxy-link": Page(people.OPERATE, ("GET", "POST"), ("session",)),
    "oxy-pair": Page(PUBLIC),
    "oxy-pair-open": Page(PUBLIC, POST, form={"token": "wrong"}),
    "oxy-pair-round": Page(LINK, POST),
    "oxy-pair-code": Page(LINK, POST, form={"phone": "5511987650001"}),
    "oxy-pair-number": Page(LINK),
    "oxy-webhooks": Page(people.SEE_WEBHOOKS),
    "oxy-new-webhook": Page(people.ADD_WEBHOOKS, POST, form={"url": "https://93.184.216.34/oxy"}),
    "oxy-webhook": Page(people.SEE_WEBHOOKS, arguments=("webhook",)),
    "oxy-change-webhook": Page(people.CHANGE_WEBHOOKS, POST, ("webhook",), {"url": "https://93.184.216.34/other"}),
    "oxy-webhook-command": Page(people.CHANGE_WEBHOOKS, POST, ("webhook", "rotate")),
    "oxy-send-again": Page(people.CHANGE_WEBHOOKS, POST, ("webhook", "delivery")),
    "oxy-installation": Page(people.EXAMINE),
    "oxy-installation-slow": Page(people.EXAMINE),
    "oxy-tokens": Page(people.SEE_TOKENS),
    "oxy-new-token": Page(people.ADD_TOKENS, POST, form={"name": "bot", "scopes": "read"}),
    "oxy-revoke-token": Page(people.REVOKE_TOKENS, POST, ("token",)),
}
STAFF_PAGES = sorted(name for name, page in PAGES.items() if page.permission not in (PUBLIC, LINK))
#: Readable for staff with a login, and for programs with a token that may read.
API_DOCUMENT = {"openapi-json", "openapi-view"}
#: Django's admin has a login of its own; everything else in it asks for one.
ADMIN_PUBLIC = {"login", "logout"}

R, S, C, V, A = Scope.READ, Scope.SEND, Scope.CONTROL, Scope.VAULT, Scope.ADMIN
STATE = {"session_id": "shop", "session_data": {"creds.json": "{}"}}
#: Method and address → the scope that it needs, and a body that fits.
ENDPOINTS: dict[tuple[str, str], tuple[Scope, Any]] = {
    ("POST", "/api/sessions"): (C, {"name": "Shop"}),
    ("GET", "/api/sessions"): (R, None),
    ("GET", "/api/sessions/{session_id}"): (R, None),
    ("PATCH", "/api/sessions/{session_id}"): (C, {"name": "Other"}),
    ("DELETE", "/api/sessions/{session_id}"): (C, None),
    ("GET", "/api/sessions/{session_id}/events"): (R, None),
    ("POST", "/api/sessions/{session_id}/start"): (C, None),
    ("POST", "/api/sessions/{session_id}/stop"): (C, None),
    ("POST", "/api/sessions/{session_id}/restart"): (C, None),
    ("POST", "/api/sessions/{session_id}/logout"): (C, None),
    ("POST", "/api/sessions/{session_id}/backup"): (C, None),
    ("GET", "/api/sessions/{session_id}/qr"): (C, None),
    ("POST", "/api/sessions/{session_id}/pairing-code"): (C, {"phone": "5511987650001"}),
    ("POST", "/api/sessions/{session_id}/messages"): (S, {"to": "5511987650002", "text": "hello"}),
    ("GET", "/api/sessions/{session_id}/messages"): (R, None),
    ("GET", "/api/sessions/{session_id}/messages/{message_id}"): (R, None),
    ("GET", "/api/sessions/{session_id}/messages/{message_id}/media"): (R, None),
    ("GET", "/api/sessions/{session_id}/groups"): (R, None),
    ("GET", "/api/sessions/{session_id}/numbers/{phone}"): (R, None),
    ("POST", "/api/webhooks"): (A, {"url": "https://93.184.216.34/oxy", "session_id": "shop"}),
    ("GET", "/api/webhooks"): (A, None),
    ("GET", "/api/webhooks/{webhook_id}"): (A, None),
    ("PATCH", "/api/webhooks/{webhook_id}"): (A, {"active": False}),
    ("DELETE", "/api/webhooks/{webhook_id}"): (A, None),
    ("POST", "/api/webhooks/{webhook_id}/rotate"): (A, None),
    ("POST", "/api/webhooks/{webhook_id}/test"): (A, None),
    ("GET", "/api/webhooks/{webhook_id}/deliveries"): (A, None),
    ("POST", "/api/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"): (A, None),
    ("POST", "/api/session/backup"): (V, STATE),
    ("PATCH", "/api/session/backup"): (V, STATE),
    ("GET", "/api/session/restore"): (V, None),
    ("GET", "/api/session/status"): (V, None),
    ("DELETE", "/api/session/delete"): (V, None),
    ("POST", "/whatsapp"): (C, {"name": "Shop"}),
    ("POST", "/whatsapp/{session_id}/activate"): (C, None),
}
#: These answer what they can to a token that is limited to other sessions: an empty list, or that it may make none.
LISTS = {("GET", "/api/sessions"), ("GET", "/api/webhooks"), ("GET", "/api/session/status")}
MAKERS = {("POST", "/api/sessions"), ("POST", "/whatsapp")}


@dataclass(frozen=True)
class Rows:
    """One of everything, of the owner Ana."""

    session: WhatsAppSession
    webhook: Webhook
    delivery: WebhookDelivery
    message: Message
    token: ApiToken

    def address(self, name: str) -> str:
        known = {
            "session": self.session.session_id,
            "webhook": str(self.webhook.code),
            "delivery": str(self.delivery.code),
            "token": str(self.token.pk),
        }
        return reverse(name, args=[known.get(each, each) for each in PAGES[name].arguments])

    def endpoint(self, path: str) -> str:
        path = path.format(
            session_id="shop",
            webhook_id=self.webhook.code,
            delivery_id=self.delivery.code,
            message_id=self.message.code,
            phone="5511987650002",
        )
        return f"{path}?session_id=shop" if path.endswith(("/restore", "/delete", "/status")) else path


@pytest.fixture
def rows(db: None) -> Rows:
    session = make_session(session_id="shop", owner="Ana", phone="5511987650001")
    webhook, _secret = webhooks.make("https://93.184.216.34/hook", session=session, events=["*"], by="ana")
    webhooks.ping(webhook)
    outbox.publish()
    message = Message.objects.create(session=session, direction="in", status="received", chat="1@g.us", text="private")
    token, _text = ApiToken.issue("bot", by="ana")
    return Rows(session, webhook, WebhookDelivery.objects.get(), message, token)


def ask(client: Client, page: Page, path: str, method: str) -> HttpResponse:
    answer: HttpResponse = client.get(path) if method == "GET" else client.post(path, page.form)
    return answer


# --- every address is known ---------------------------------------------------------


def patterns(resolver: URLResolver, spaces: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for each in resolver.url_patterns:
        if isinstance(each, URLResolver):
            yield from patterns(each, (*spaces, each.namespace) if each.namespace else spaces)
        elif isinstance(each, URLPattern):
            yield spaces, each.name or str(each.pattern)


def endpoints() -> set[tuple[str, str]]:
    found = set()
    for prefix, router in api._routers:
        for path, view in router.path_operations.items():
            for operation in view.operations:
                found |= {(method, re.sub("/+", "/", f"{prefix}/{path}").rstrip("/")) for method in operation.methods}
    return found


def operations() -> Iterator[Any]:
    for _, router in api._routers:
        for view in router.path_operations.values():
            yield from view.operations


def test_every_page_has_a_decision() -> None:
    known = {name for spaces, name in patterns(get_resolver()) if not spaces}
    assert known == set(PAGES)
    assert {spaces for spaces, _ in patterns(get_resolver())} == {(), ("admin",), ("api",)}


def test_every_endpoint_has_a_decision() -> None:
    assert endpoints() == set(ENDPOINTS)
    # What else lies under the API's addresses: its document, and the place that only serves to build addresses from.
    named = {name for spaces, name in patterns(get_resolver()) if spaces == ("api",)}
    assert named - {operation.view_func.__name__ for operation in operations()} == {*API_DOCUMENT, "api-root"}


# --- pages --------------------------------------------------------------------------


@pytest.mark.parametrize("name", STAFF_PAGES)
def test_a_page_is_closed_to_strangers_and_to_people_without_its_permission(rows: Rows, name: str) -> None:
    page, path = PAGES[name], rows.address(name)
    bob = User.objects.create_user("bob")
    for method in page.methods:
        assert ask(Client(), page, path, method)["Location"].startswith("/login/"), "a stranger"
        client = Client()
        client.force_login(bob)
        assert ask(client, page, path, method)["Location"].startswith("/login/"), "no staff"
        client.force_login(_staff_without(page.permission))
        assert ask(client, page, path, method).status_code == 403, "staff with every other permission"
        client.force_login(_staff_without(""))
        assert ask(client, page, path, method).status_code in (200, 302), "staff with it"


def _staff_without(permission: str) -> User:
    user, made = User.objects.get_or_create(username=f"without-{permission}", is_staff=True)
    if made:
        user.user_permissions.set(Permission.objects.exclude(codename=permission.partition(".")[2]))
    return user


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_takes_its_methods_alone_and_no_forged_form(rows: Rows, name: str) -> None:
    page, path = PAGES[name], rows.address(name)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_staff())
    if "POST" in page.methods:
        assert strict.post(path, page.form).status_code == 403
    else:
        assert strict.post(path, page.form).status_code in (403, 405)
    if "GET" not in page.methods:
        assert strict.get(path).status_code in (302, 405)
        assert name != "set_language" or "django_language" not in strict.cookies
    assert rows.session.commands.count() == 0
    assert ApiToken.objects.get().revoked_at is None


@pytest.mark.parametrize("name", [name for name in STAFF_PAGES if PAGES[name].arguments])
def test_a_page_of_another_owners_rows_is_not_found(rows: Rows, name: str) -> None:
    client = Client()
    client.force_login(_limited_administrator("Bob"))
    for method in PAGES[name].methods:
        assert ask(client, PAGES[name], rows.address(name), method).status_code == 404


@pytest.mark.parametrize("name", sorted(name for name, page in PAGES.items() if page.permission == LINK))
def test_a_customers_page_is_closed_without_a_link_in_force(rows: Rows, name: str) -> None:
    client, page, path = Client(), PAGES[name], rows.address(name)
    assert ask(client, page, path, page.methods[0]).status_code == 403
    _link, token = PairingLink.issue(rows.session, by="ana")
    assert client.post("/pair/open", {"token": token}).status_code == 204
    assert ask(client, page, path, page.methods[0]).status_code != 403
    PairingLink.objects.update(revoked_at=timezone.now())
    assert ask(client, page, path, page.methods[0]).status_code == 403
    assert client.get(f"/sessions/{rows.session.session_id}/").status_code == 302, "a link is no login"


def _limited_administrator(owner: str) -> User:
    user = User.objects.create_user("limited", is_staff=True)
    user.groups.add(Group.objects.get(name=people.ADMINISTRATOR))
    OwnerLimit.objects.create(user=user, owners=owner)
    return user


def test_a_viewer_makes_no_token_and_no_webhook(rows: Rows, client: Client) -> None:
    viewer = User.objects.create_user("vera", is_staff=True)
    viewer.groups.add(Group.objects.get(name=people.VIEWER))
    client.force_login(viewer)
    assert client.post("/tokens/new", {"name": "mine", "scopes": ["admin", "vault"]}).status_code == 403
    assert client.post("/webhooks/new", {"url": "https://93.184.216.34/mine"}).status_code == 403
    assert client.post(f"/webhooks/{rows.webhook.code}/rotate").status_code == 403
    assert (ApiToken.objects.count(), Webhook.objects.count()) == (1, 1)


def test_who_is_limited_to_owners_opens_no_door_to_the_others(rows: Rows, client: Client) -> None:
    make_session(session_id="mine", owner="Bob")
    client.force_login(_limited_administrator("Bob"))
    for fields in ({}, {"owner": "Ana"}, {"owner": "Bob", "sessions": "shop"}):
        assert client.post("/tokens/new", {"name": "x", "scopes": ["read"], **fields}).status_code == 422
    for fields in ({}, {"session_id": "shop"}):
        assert client.post("/webhooks/new", {"url": "https://93.184.216.34/x", **fields}).status_code == 422
    assert (ApiToken.objects.count(), Webhook.objects.count()) == (1, 1)
    for path in ("/tokens/", "/webhooks/"):
        shown = client.get(path).content.decode()
        assert 'value="shop"' not in shown
        assert rows.webhook.url not in shown
        assert rows.token.prefix not in shown
    assert client.post("/tokens/new", {"name": "x", "scopes": ["read"], "owner": "Bob"}).status_code == 200
    assert client.post("/webhooks/new", {"url": "https://93.184.216.34/x", "session_id": "mine"}).status_code == 200


# --- admin --------------------------------------------------------------------------


def test_every_page_of_the_admin_asks_for_a_login(rows: Rows) -> None:
    names = {name for spaces, name in patterns(get_resolver()) if spaces == ("admin",)} - ADMIN_PUBLIC
    checked = 0
    for name in names:
        for arguments in ([], [rows.session.pk], [rows.session.pk, "stop"]):
            try:
                path = reverse(f"admin:{name}", args=arguments)
            except Exception:
                continue
            for method in ("get", "post"):
                response = getattr(Client(), method)(path)
                assert response.status_code in (302, 405), path
                assert "login" in response.get("Location", "login"), path
            checked += 1
    assert checked > 60
    assert rows.session.commands.count() == 0


def test_the_admin_shows_who_is_limited_nothing_of_other_owners(rows: Rows, client: Client) -> None:
    mine = make_session(session_id="mine", owner="Bob", name="Bakery")
    rows.session.name = "Secret shop"
    rows.session.save()
    client.force_login(_limited_administrator("Bob"))
    index = client.get("/admin/sessions_app/whatsappsession/").content.decode()
    assert "Bakery" in index
    assert "Secret shop" not in index
    models = ("sessionevent", "sessioncommand", "message", "webhook", "webhookdelivery", "outboxevent", "apitoken")
    for model in models:
        shown = client.get(f"/admin/sessions_app/{model}/").content.decode()
        for word in ("Secret shop", "shop</", "93.184.216.34", rows.token.prefix, "1@g.us"):
            assert word not in shown, (model, word)
    assert client.get(f"/admin/sessions_app/whatsappsession/{mine.pk}/change/").status_code == 200
    assert client.get(f"/admin/sessions_app/whatsappsession/{rows.session.pk}/change/").status_code == 302
    assert client.get(f"/admin/sessions_app/message/{rows.message.pk}/change/").status_code == 302
    assert client.post(f"/admin/sessions_app/whatsappsession/{rows.session.pk}/ask/stop/").status_code == 404


# --- the API ------------------------------------------------------------------------


def call(client: ApiClient, rows: Rows, method: str, path: str) -> Any:
    body = ENDPOINTS[(method, path)][1]
    where = rows.endpoint(path)
    return {
        "GET": lambda: client.get(where),
        "DELETE": lambda: client.delete(where),
        "POST": lambda: client.post(where, body),
        "PATCH": lambda: client.patch(where, body),
    }[method]()


@pytest.mark.parametrize(("method", "path"), sorted(ENDPOINTS))
def test_an_endpoint_is_closed_without_its_scope(rows: Rows, method: str, path: str) -> None:
    scope = ENDPOINTS[(method, path)][0]
    _token, revoked = ApiToken.issue("old", by="tests", scopes=list(Scope))
    _token.revoke()
    headers = [
        "",
        "Bearer ",
        "Bearer oxy_wrong",
        f"Basic {revoked}",
        f"Bearer {revoked}",
        f"Bearer {rows.token.digest}",
    ]
    for header in headers:
        assert call(ApiClient(header=header), rows, method, path).status_code == 401, header
    others = [each for each in Scope if each != scope]
    assert call(ApiClient(scopes=others), rows, method, path).status_code == 403
    staff = Client()
    staff.force_login(make_staff())
    assert staff.generic(method, rows.endpoint(path)).status_code == 401, "a person's cookie opens no endpoint"
    assert rows.session.commands.count() == 0


@pytest.mark.parametrize("limit", ["sessions", "no session", "owner"])
@pytest.mark.parametrize(("method", "path"), sorted(ENDPOINTS))
def test_an_endpoint_shows_a_limited_token_nothing_of_others(rows: Rows, method: str, path: str, limit: str) -> None:
    mine = make_session(session_id="mine", owner="Bob")
    ApiClient(scopes=[V]).post("/api/session/backup", STATE)
    limits: dict[str, Any] = {
        "sessions": {"sessions": [mine]},
        "no session": {"sessions": []},
        "owner": {"owner": "Bob"},
    }
    client = ApiClient(**limits[limit])
    answer = call(client, rows, method, path)
    if (method, path) in LISTS:
        assert answer.status_code == 200
        assert [item for item in answer.json()["items"] if item["session_id"] != "mine"] == []
    elif (method, path) in MAKERS:
        assert answer.status_code == (201 if limit == "owner" else 403)
        assert limit != "owner" or answer.json()["owner"] == "Bob"
    elif (method, path) == ("POST", "/api/session/backup") and limit == "owner":
        assert answer.status_code == 200, "its own state, under the same id"
        assert ApiClient(scopes=[V]).get("/api/session/status").json()["count"] == 1
    else:
        assert answer.status_code == 404
        assert "private" not in answer.content.decode()
    assert rows.session.commands.count() == 0


@pytest.mark.parametrize("name", sorted(API_DOCUMENT))
def test_the_apis_document_is_for_staff_and_for_readers(db: None, name: str) -> None:
    path = reverse(f"api:{name}")
    assert Client().get(path).status_code in (302, 401)
    client = Client()
    client.force_login(User.objects.create_user("bob"))
    assert client.get(path).status_code in (302, 401)
    client.force_login(make_staff())
    assert client.get(path).status_code == 200


def test_the_apis_root_is_the_consoles_first_page(db: None) -> None:
    assert reverse("api:api-root") == reverse("oxy-sessions")
