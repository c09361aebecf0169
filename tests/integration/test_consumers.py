"""The live feed, from a change in the database to what a page receives."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.db import OperationalError, transaction
from django.test import Client
from django.urls import path

from sessions_app import broadcast, consumers, overview, panels
from sessions_app.lifecycle import Command, Event, Status
from sessions_app.models import Host, WhatsAppSession
from sessions_app.panels import Panel
from sessions_app.routing import websocket_urlpatterns
from tests.rows import make_host, make_round, make_session, make_staff

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 10.0
in_database = database_sync_to_async


def application(urlpatterns: list[Any] = websocket_urlpatterns) -> Any:
    return AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(urlpatterns)))


def cookies_of(user: User | None) -> list[tuple[bytes, bytes]]:
    client = Client()
    if user:
        client.force_login(user)
    return [(b"cookie", "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items()).encode())]


class Page:
    """A browser's side of a feed: the panels as they stand after each message."""

    def __init__(self, url: str, headers: list[tuple[bytes, bytes]], app: Any) -> None:
        origin = [(b"origin", b"http://localhost"), (b"host", b"localhost")]
        self.socket = WebsocketCommunicator(app, url, headers=[*origin, *headers])
        self.shown: dict[str, str] = {}
        self.messages: list[set[str]] = []

    async def next(self) -> set[str]:
        """Take one message; returns the names of its panels."""
        html = await self.socket.receive_from(PATIENCE)
        parts = re.split(r'(?=<div id="panel-)', html)
        assert 'id="clock"' in parts[0]
        news = {re.match(r'<div id="panel-(\w+)"', part)[1]: part for part in parts[1:]}  # type: ignore[index]
        self.shown |= news
        self.messages.append(set(news))
        return set(news)

    async def until(self, expected: str) -> None:
        """Take messages until some panel says this."""
        while not any(expected in html for html in self.shown.values()):
            await self.next()


@asynccontextmanager
async def opened(url: str, user: User | None, app: Any = None) -> AsyncIterator[Page]:
    headers = await in_database(cookies_of)(user)
    page = Page(url, headers, app or application())
    connected, _ = await page.socket.connect(PATIENCE)
    assert connected
    try:
        yield page
    finally:
        await page.socket.disconnect()


async def close_code(page: Page) -> int:
    message = await page.socket.receive_output(PATIENCE)
    while message["type"] == "websocket.send":
        message = await page.socket.receive_output(PATIENCE)
    assert message["type"] == "websocket.close"
    code: int = message["code"]
    return code


@pytest.fixture
def staff() -> User:
    return make_staff()


@pytest.fixture
def session() -> WhatsAppSession:
    make_host()
    return make_session(Status.CONNECTING, session_id="shop")


def move(session: WhatsAppSession, event: Event) -> None:
    """What a host does: change the row, and ring."""
    assert session.apply(event, epoch=session.lease_epoch)
    broadcast.session_changed(session.pk)


# --- who may listen ---------------------------------------------------------------


@pytest.mark.parametrize("url", ["/ws/sessions", "/ws/sessions/shop"])
async def test_anonymous_visitors_get_no_feed(session: WhatsAppSession, url: str) -> None:
    async with opened(url, None) as page:
        assert await page.socket.receive_output(PATIENCE) == {"type": "websocket.close", "code": 4401}


@pytest.mark.parametrize("url", ["/ws/sessions", "/ws/sessions/shop"])
async def test_people_who_are_no_staff_get_no_feed(session: WhatsAppSession, url: str) -> None:
    bob = await in_database(User.objects.create_user)("bob")
    async with opened(url, bob) as page:
        assert await page.socket.receive_output(PATIENCE) == {"type": "websocket.close", "code": 4403}


async def test_a_session_that_does_not_exist_has_no_feed(staff: User) -> None:
    async with opened("/ws/sessions/nobody", staff) as page:
        assert await page.socket.receive_output(PATIENCE) == {"type": "websocket.close", "code": 4404}


async def test_a_page_of_another_site_gets_no_feed(staff: User, session: WhatsAppSession) -> None:
    headers = await in_database(cookies_of)(staff)
    elsewhere = [(b"origin", b"http://elsewhere.example"), *headers]
    socket = WebsocketCommunicator(application(), "/ws/sessions/shop", headers=elsewhere)
    connected, _ = await socket.connect(PATIENCE)
    assert not connected


async def test_whoever_signs_out_loses_the_feed(
    staff: User, session: WhatsAppSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers.PanelConsumer, "beat", 0.05)
    headers = await in_database(cookies_of)(staff)
    page = Page("/ws/sessions/shop", headers, application())
    await page.socket.connect(PATIENCE)
    await page.next()

    from django.contrib.sessions.models import Session

    await in_database(Session.objects.all().delete)()

    assert await close_code(page) == 4401


async def test_whoever_is_no_longer_staff_loses_the_feed(
    staff: User, session: WhatsAppSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers.PanelConsumer, "beat", 0.05)
    async with opened("/ws/sessions/shop", staff) as page:
        await page.next()
        await in_database(User.objects.filter(pk=staff.pk).update)(is_staff=False)
        assert await close_code(page) == 4403


# --- what is heard ---------------------------------------------------------------


async def test_a_page_gets_everything_when_it_connects(staff: User, session: WhatsAppSession) -> None:
    async with opened("/ws/sessions/shop", staff) as page:
        assert await page.next() == set(panels.SESSION_PANELS)
        assert 'data-status="CONNECTING"' in page.shown["state"]


async def test_a_change_in_a_hosts_thread_reaches_an_open_page(staff: User, session: WhatsAppSession) -> None:
    async with opened("/ws/sessions/shop", staff) as page:
        await page.next()
        await asyncio.to_thread(in_own_connection, move, session, Event.CONNECTED)
        assert await page.next() == {"state", "timeline", "danger"}
        assert 'data-status="CONNECTED"' in page.shown["state"]


def in_own_connection(function: Any, *arguments: Any) -> None:
    from django.db import connections

    try:
        function(*arguments)
    finally:
        connections.close_all()


async def test_a_page_that_is_opened_late_shows_the_same_as_one_from_the_start(
    staff: User, session: WhatsAppSession
) -> None:
    async with opened("/ws/sessions/shop", staff) as early:
        await early.next()
        await in_database(move)(session, Event.CONNECTED)
        await early.until('data-status="CONNECTED"')
        await in_database(move)(session, Event.CONNECTION_LOST)
        await early.until('id="status" class="badge tone-warn" data-status="WAITING"')
        async with opened("/ws/sessions/shop", staff) as late:
            await late.next()
            assert late.shown == early.shown


async def test_a_code_reaches_the_page_and_its_death_needs_no_message(staff: User, session: WhatsAppSession) -> None:
    pairing = await in_database(make_session)(Status.PAIRING, session_id="new", creds=None)
    async with opened("/ws/sessions/new", staff) as page:
        await page.next()
        assert 'data-state="none"' in page.shown["pairing"]
        await in_database(make_round)(pairing)
        await in_database(broadcast.session_changed)(pairing.pk)
        assert await page.next() == {"pairing"}
        assert 'data-state="live"' in page.shown["pairing"] and "data-expires=" in page.shown["pairing"]


async def test_a_burst_of_changes_is_shown_by_one_render(
    staff: User, session: WhatsAppSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers.PanelConsumer, "pause", 1.0)

    async with opened("/ws/sessions/shop", staff) as page:
        await page.next()
        for n in range(10):
            await in_database(session.record)("vault", keys=n)
            await in_database(broadcast.session_changed)(session.pk)
        await page.until("keys: 9")
        # One for the burst; one more where this machine was so slow that the pause ended in the middle of it.
        assert len(page.messages) - 1 <= 2


async def test_only_what_changed_is_sent(staff: User, session: WhatsAppSession) -> None:
    async with opened("/ws/sessions/shop", staff) as page:
        await page.next()
        await in_database(broadcast.session_changed)(session.pk)
        await in_database(session.request)(Command.STOP, by="rui")
        await in_database(broadcast.session_changed)(session.pk)
        assert await page.next() == {"state", "timeline"}
        assert "Asked to stop" in page.shown["timeline"]


async def test_a_silent_feed_repeats_itself_and_tells_what_nobody_rang_for(
    staff: User, session: WhatsAppSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers.PanelConsumer, "beat", 0.05)
    async with opened("/ws/sessions/shop", staff) as page:
        await page.next()
        assert await page.next() == set(panels.SESSION_PANELS)
        await in_database(Host.objects.all().delete)()
        await page.until("No worker is running")


async def test_a_resync_of_the_layer_makes_a_page_look_again(staff: User, session: WhatsAppSession) -> None:
    from channels.layers import get_channel_layer

    async with opened("/ws/sessions/shop", staff) as page:
        await page.next()
        await in_database(session.record)("vault", keys=7)
        layer: Any = get_channel_layer()
        await layer.group_send(broadcast.session_group(session.pk), {"type": "layer.resync"})
        await page.until("keys: 7")


async def test_a_page_of_another_session_is_not_woken(staff: User, session: WhatsAppSession) -> None:
    other = await in_database(make_session)(session_id="other")
    async with opened("/ws/sessions/other", staff) as page:
        await page.next()
        await in_database(other.record)("vault", keys=1)
        await in_database(move)(session, Event.CONNECTED)
        assert await page.socket.receive_nothing(0.4)


async def test_the_list_follows_every_session_and_keeps_its_filter(staff: User, session: WhatsAppSession) -> None:
    async with opened("/ws/sessions?status=CONNECTED&lang=en", staff) as page:
        assert await page.next() == set(overview.PANELS)
        assert "No session matches." in page.shown["list"]
        await in_database(move)(session, Event.CONNECTED)
        await page.until('data-session="shop"')
        await in_database(move)(session, Event.STOPPED)
        await page.next()
        assert "No session matches." in page.shown["list"]


async def test_each_page_hears_in_the_language_that_it_is_written_in(staff: User, session: WhatsAppSession) -> None:
    async with (
        opened("/ws/sessions/shop?lang=pt-br", staff) as theirs,
        opened("/ws/sessions/shop?lang=en", staff) as ours,
    ):
        await theirs.next()
        await ours.next()
        await in_database(move)(session, Event.CONNECTED)
        await theirs.until("Conectada ao WhatsApp.")
        await ours.until("Connected to WhatsApp.")
        assert not any("Connected to WhatsApp." in html for html in theirs.shown.values())
        assert not any("Conectada ao WhatsApp." in html for html in ours.shown.values())


async def test_a_deleted_session_is_told_on_its_page(staff: User, session: WhatsAppSession) -> None:
    async with opened("/ws/sessions/shop", staff) as page:
        await page.next()
        pk = session.pk
        await in_database(session.delete)()
        await in_database(broadcast.session_changed)(pk)
        await page.until("This session was deleted")


async def test_a_feed_outlives_a_database_that_is_away(staff: User, session: WhatsAppSession) -> None:
    away, noticed = threading.Event(), threading.Event()

    class Flaky(consumers.SessionConsumer):
        def panels(self) -> list[Panel]:
            if away.is_set():
                noticed.set()
                raise OperationalError("gone")
            return super().panels()

    app = application([path("ws/sessions/<str:session_id>", Flaky.as_asgi())])  # type: ignore[arg-type]
    async with opened("/ws/sessions/shop", staff, app) as page:
        await page.next()
        away.set()
        await in_database(move)(session, Event.CONNECTED)
        assert await asyncio.to_thread(noticed.wait, PATIENCE)
        away.clear()
        await in_database(broadcast.session_changed)(session.pk)
        await page.until('data-status="CONNECTED"')


async def test_a_feed_that_fails_closes_so_that_the_page_connects_again(staff: User, session: WhatsAppSession) -> None:
    class Broken(consumers.SessionConsumer):
        def panels(self) -> list[Panel]:
            raise RuntimeError("a fault of ours")

    app = application([path("ws/sessions/<str:session_id>", Broken.as_asgi())])  # type: ignore[arg-type]
    async with opened("/ws/sessions/shop", staff, app) as page:
        assert await page.socket.receive_output(PATIENCE) == {"type": "websocket.close", "code": 1011}


# --- broadcast -------------------------------------------------------------------


async def test_a_change_that_is_rolled_back_rings_nobody(staff: User, session: WhatsAppSession) -> None:
    def change_and_think_better() -> None:
        with transaction.atomic():
            move(session, Event.CONNECTED)
            transaction.set_rollback(True)

    async with opened("/ws/sessions/shop", staff) as page:
        await page.next()
        await in_database(change_and_think_better)()
        assert await page.socket.receive_nothing(0.4)


class Broker:
    """A layer that has no `publish`, like Redis: it notes what is sent to groups, and can be away."""

    def __init__(self, *, away: bool = False) -> None:
        self.sent: list[str] = []
        self.away = away

    async def group_send(self, group: str, message: dict[str, str]) -> None:
        if self.away:
            raise ConnectionError("no broker")
        self.sent.append(group)


def test_on_a_broker_news_is_sent_when_the_change_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker()
    monkeypatch.setattr(broadcast, "get_channel_layer", lambda: broker)
    with transaction.atomic():
        broadcast.session_changed(7)
        assert broker.sent == []
    assert broker.sent == ["oxy.session.7", "oxy.sessions"]


def test_a_broker_that_is_away_stops_nobody_and_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(broadcast, "get_channel_layer", lambda: Broker(away=True))
    broadcast.session_changed(7)
    assert [record.action for record in caplog.records] == ["broadcast_failed"] * 2  # type: ignore[attr-defined]
