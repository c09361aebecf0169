"""`/ws/events`: who may listen, what they hear, and how they go on where they left off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.db import transaction
from django.utils import timezone

from sessions_app import broadcast, event_socket, outbox
from sessions_app.models import ApiToken, EventName, OutboxEvent, Scope, WhatsAppSession
from sessions_app.routing import websockets
from tests.rows import make_session

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 10.0
in_database = database_sync_to_async


class Program:
    """A program's side of the socket."""

    def __init__(self, query: str = "", header: str = "") -> None:
        headers = [(b"authorization", f"Bearer {header}".encode())] if header else []
        self.socket = WebsocketCommunicator(websockets(), f"/ws/events{query}", headers=headers)

    async def say(self, **asked: Any) -> None:
        await self.socket.send_to(text_data=json.dumps(asked))

    async def next(self) -> Any:
        return json.loads(await self.socket.receive_from(PATIENCE))

    async def events(self, number: int) -> list[int]:
        """The next so many events' ids."""
        return [(await self.next())["id"] for _ in range(number)]

    async def close_code(self) -> int:
        message = await self.socket.receive_output(PATIENCE)
        while message["type"] == "websocket.send":
            message = await self.socket.receive_output(PATIENCE)
        assert message["type"] == "websocket.close"
        code: int = message["code"]
        return code


@asynccontextmanager
async def connected(query: str = "", header: str = "") -> AsyncIterator[Program]:
    program = Program(query, header)
    accepted, _ = await program.socket.connect(PATIENCE)
    assert accepted
    try:
        yield program
    finally:
        await program.socket.disconnect()


def issue(*scopes: Scope, **more: Any) -> str:
    return ApiToken.issue("program", by="tests", scopes=scopes or (Scope.READ,), **more)[1]


def happen(session: WhatsAppSession, *names: EventName) -> None:
    for name in names or (EventName.SESSION_QR,):
        with transaction.atomic():
            OutboxEvent.write(session, name, {"of": session.session_id})
            broadcast.session_changed(session.pk)


@pytest.fixture
def token() -> str:
    return issue()


@pytest.fixture
def session() -> WhatsAppSession:
    return make_session(session_id="shop")


async def test_a_program_with_a_token_in_its_first_message_hears_what_happens(token, session):
    async with connected() as program:
        await program.say(token=token)
        assert await program.next() == {"event": "ready", "last_id": 0, "gap": False}

        await in_database(happen)(session)

        event = await program.next()
        assert set(event) == {"id", "event", "session_id", "created_at", "data"}
        assert (event["id"], event["event"], event["session_id"]) == (1, "session.qr", "shop")


async def test_a_program_with_a_token_in_its_header_need_not_say_anything(token, session):
    await in_database(happen)(session)
    await in_database(happen)(session)
    async with connected("?last_id=1", token) as program:
        assert (await program.next())["last_id"] == 1
        assert await program.events(1) == [2]


async def test_a_program_goes_on_after_the_last_id_that_it_saw(token, session):
    for _ in range(5):
        await in_database(happen)(session)
    async with connected() as program:
        await program.say(token=token, last_id=2)
        assert (await program.next())["event"] == "ready"
        assert await program.events(3) == [3, 4, 5]

        await program.say(last_id=4)
        assert (await program.next())["last_id"] == 4
        assert await program.events(1) == [5]


async def test_a_long_backlog_comes_whole_and_in_order(token, session, monkeypatch):
    monkeypatch.setattr(event_socket.EventConsumer, "batch", 7)

    def many() -> None:
        with transaction.atomic():
            OutboxEvent.write(session, EventName.SESSION_QR, *({"n": n} for n in range(40)))

    await in_database(many)()
    async with connected() as program:
        await program.say(token=token, last_id=0)
        await program.next()
        assert await program.events(40) == list(range(1, 41))


async def test_an_event_is_heard_even_where_the_bell_was_missed(token, session, monkeypatch):
    monkeypatch.setattr(event_socket.EventConsumer, "look_every", 0.1)

    def silently() -> None:
        with transaction.atomic():
            OutboxEvent.write(session, EventName.SESSION_QR, {})

    async with connected(header=token) as program:
        await program.next()
        await in_database(silently)()
        assert await program.events(1) == [1]


@pytest.mark.parametrize("text", ["", "oxy_" + "x" * 43, "Bearer"])
async def test_a_wrong_token_is_closed_with_4401(text, db):
    async with connected() as program:
        await program.say(token=text)
        assert await program.close_code() == event_socket.UNAUTHORIZED


async def test_a_token_without_the_scope_read_is_closed_with_4403(session):
    async with connected(header=await in_database(issue)(Scope.SEND)) as program:
        assert await program.close_code() == event_socket.MISSING_SCOPE


async def test_a_revoked_token_loses_its_socket(token, session, monkeypatch):
    monkeypatch.setattr(event_socket.EventConsumer, "look_every", 0.05)
    monkeypatch.setattr(event_socket.EventConsumer, "ping_every", 0.1)
    async with connected(header=token) as program:
        await program.next()
        assert (await program.next())["event"] == "ping"
        await in_database(ApiToken.objects.update)(revoked_at=timezone.now())
        assert await program.close_code() == event_socket.UNAUTHORIZED


async def test_a_silent_socket_is_closed_with_4408(db, monkeypatch):
    monkeypatch.setattr(event_socket.EventConsumer, "patience", 0.1)
    async with connected() as program:
        assert await program.close_code() == event_socket.TOO_LATE


async def test_subscriptions_count_against_the_rate_limit_of_the_token(token, session, settings):
    settings.OXY_RATE_LIMIT = 2
    async with connected(header=token) as program:
        await program.next()
        await program.say(last_id=0)
        await program.next()
        await program.say(last_id=0)
        assert await program.close_code() == event_socket.RATE_LIMITED
    assert (await in_database(ApiToken.objects.get)()).last_used_at is not None


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        "{}x",
        '{"last_id": "7"}',
        '{"last_id": -1}',
        '{"sessions": "shop"}',
        '{"colour": 1}',
        '{"last_id": true}',
    ],
)
async def test_what_is_no_request_is_closed_with_4400(text, db):
    async with connected() as program:
        await program.socket.send_to(text_data=text)
        assert await program.close_code() == event_socket.BAD_REQUEST


async def test_a_session_that_does_not_exist_is_closed_with_4404(token, session):
    async with connected() as program:
        await program.say(token=token, sessions=["shop", "nowhere"])
        assert await program.close_code() == event_socket.NOT_FOUND


async def test_only_the_named_sessions_are_heard(token, session):
    other = await in_database(make_session)(session_id="other")
    async with connected() as program:
        await program.say(token=token, sessions=["shop"])
        await program.next()
        await in_database(happen)(other)
        await in_database(happen)(session)
        assert (await program.next())["session_id"] == "shop"


async def test_a_limited_token_hears_its_sessions_alone(session):
    other = await in_database(make_session)(session_id="other")
    limited = await in_database(issue)(Scope.READ, sessions=[session])
    await in_database(happen)(other)
    async with connected() as program:
        await program.say(token=limited, last_id=0)
        await program.next()
        await in_database(happen)(other)
        await in_database(happen)(session)
        assert (await program.next())["session_id"] == "shop"
    async with connected() as program:
        await program.say(token=limited, sessions=["other"])
        assert await program.close_code() == event_socket.NOT_FOUND


async def test_a_session_that_its_owner_makes_later_is_heard_from_its_first_event_on(session):
    token = await in_database(issue)(Scope.READ, owner="Ana")
    async with connected(header=token) as program:
        await program.next()
        later = await in_database(make_session)(session_id="later", owner="Ana")
        await in_database(happen)(later)
        assert (await program.next())["session_id"] == "later"


async def test_the_end_of_a_session_is_told_to_a_limited_token(session):
    limited = await in_database(issue)(Scope.READ, sessions=[session])

    def delete() -> None:
        with transaction.atomic():
            WhatsAppSession.objects.filter(pk=session.pk).delete()
            OutboxEvent.write(session, EventName.SESSION_DELETED, {"session_id": "shop"})
            broadcast.session_changed(session.pk)

    async with connected(header=limited) as program:
        await program.next()
        await in_database(delete)()
        assert (await program.next())["event"] == "session.deleted"


async def test_who_was_away_for_too_long_is_told_that_events_are_missing(token, session):
    for _ in range(3):
        await in_database(happen)(session)
    await in_database(outbox.publish)()
    await in_database(OutboxEvent.objects.filter(position__lte=2).delete)()
    async with connected(f"?last_id={0}", token) as program:
        assert (await program.next())["gap"] is True
        assert await program.events(1) == [3]
    async with connected("?last_id=99", token) as program:
        assert await program.next() == {"event": "ready", "last_id": 3, "gap": True}
    async with connected("?last_id=2", token) as program:
        assert (await program.next())["gap"] is False


async def test_a_page_of_another_site_still_gets_no_feed_of_ours(db):
    headers = [(b"origin", b"https://evil.example"), (b"host", b"localhost")]
    socket = WebsocketCommunicator(websockets(), "/ws/sessions", headers=headers)
    accepted, _ = await socket.connect(PATIENCE)
    assert not accepted
    await socket.disconnect()
    await asyncio.sleep(0)
