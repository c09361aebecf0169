"""`/ws/events`: the event log for programs, live and from any point on (docs/webhooks.md).

A program says who it is in the `Authorization` header of the handshake or in its first message, never in the URL, which logs keep.
What it gets is read from the event log: the bell of `broadcast` only says when to look, so nothing depends on a bell that was missed.
Each message is an event as webhooks get it, in the order of `id`; a program that has stored the last id it saw asks for what follows.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError
from django.db.models import Q

from sessions_app import broadcast, outbox
from sessions_app.models import ApiToken, EventName, Scope

log = logging.getLogger(__name__)

#: Close codes: what was sent is no request; no token in force; its scope; no such session; nothing was asked in time; too often.
BAD_REQUEST, UNAUTHORIZED, MISSING_SCOPE, NOT_FOUND, TOO_LATE, RATE_LIMITED = 4400, 4401, 4403, 4404, 4408, 4429
#: Longest message that a program may send.
LONGEST_REQUEST = 16 * 1024
#: The largest id that the database can compare with.
LARGEST_ID = 2**63 - 1


class Rejected(Exception):
    """Why a socket is closed: a code and a word for the program's log."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


@dataclass
class Subscription:
    """What one socket wants and where it is. `sessions` are primary keys; None: every session."""

    token: ApiToken
    wanted: list[str] | None
    position: int
    sessions: set[int] | None = None


class EventConsumer(AsyncWebsocketConsumer):
    """One program's socket: it asks, hears `ready`, and then events and pings until one side ends it."""

    #: Seconds between two looks, however often the bell rings.
    pause = 0.1
    #: Seconds without a bell after which the log is looked at all the same.
    look_every = 2.0
    #: Seconds of silence after which a ping is sent; the token is checked again then.
    ping_every = 20.0
    #: Seconds that a program has for its first message.
    patience = 10.0
    #: Events that are read at once.
    batch = 100

    _loop: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        # Accepted first: a program sees no close code of a handshake that was refused.
        await self.accept()
        self._rung = asyncio.Event()
        self._asked: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=4)
        header = dict(self.scope["headers"]).get(b"authorization", b"").decode("latin-1")
        self._bearer = header[7:].strip() if header[:7].lower() == "bearer " else ""
        if self._bearer:
            self._asked.put_nowait(_from_url(self.scope["query_string"]))
        self._loop = asyncio.create_task(self._serve())

    async def disconnect(self, code: int) -> None:
        await self._stop()
        await self.channel_layer.group_discard(broadcast.ALL_SESSIONS, self.channel_name)

    async def _stop(self) -> None:
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop

    async def session_changed(self, message: dict[str, Any]) -> None:
        self._rung.set()

    async def layer_resync(self, message: dict[str, Any]) -> None:
        """The layer may have lost messages."""
        self._rung.set()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """A request: `{"token", "last_id", "sessions"}`, each optional. A later one takes the place of the one before."""
        try:
            asked = json.loads(text_data or "")
            if not isinstance(asked, dict) or len(text_data or "") > LONGEST_REQUEST:
                raise ValueError
            self._asked.put_nowait(asked)
        except (ValueError, RecursionError, asyncio.QueueFull):
            await self._stop()
            await self._end(Rejected(BAD_REQUEST, "not a request"))
            return
        self._rung.set()

    # --- the loop ----------------------------------------------------------------

    async def _serve(self) -> None:
        try:
            await self._run()
        except Rejected as rejected:
            await self._end(rejected)
        except Exception:
            log.exception("event socket ended", extra={"action": "event_socket_failed"})
            await self.close(1011)

    async def _run(self) -> None:
        try:
            asked = await asyncio.wait_for(self._asked.get(), self.patience)
        except TimeoutError:
            raise Rejected(TOO_LATE, "no request came") from None
        await self.channel_layer.group_add(broadcast.ALL_SESSIONS, self.channel_name)
        subscription = await self._subscribe(asked)
        quiet_since = asyncio.get_running_loop().time()
        while True:
            if not self._asked.empty():
                subscription = await self._subscribe(self._asked.get_nowait())
            now = asyncio.get_running_loop().time()
            if await self._send_news(subscription):
                quiet_since = now
            elif now - quiet_since >= self.ping_every:
                quiet_since = now
                await self._ping(subscription)
            await self._wait()

    async def _wait(self) -> None:
        await asyncio.sleep(self.pause)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._rung.wait(), self.look_every)

    async def _subscribe(self, asked: dict[str, Any]) -> Subscription:
        subscription, ready = await database_sync_to_async(_open)(asked, self._bearer)
        # A later message need not repeat it.
        self._bearer = str(asked.get("token") or self._bearer)
        await self._say(ready)
        return subscription

    async def _send_news(self, subscription: Subscription) -> bool:
        """Send what is new; whether there was anything."""
        self._rung.clear()
        sent = False
        while True:
            try:
                events, more = await database_sync_to_async(_read)(subscription, self.batch)
            except (OperationalError, InterfaceError) as error:
                log.warning("event_socket_waits_for_database", extra={"error": type(error).__name__})
                return sent
            for event in events:
                await self._say(event)
                sent = True
            if not more:
                return sent
            await asyncio.sleep(self.pause)

    async def _ping(self, subscription: Subscription) -> None:
        """Show that the socket lives, and how far the log has been read; and see whether the token is still in force."""
        await database_sync_to_async(_check_token)(subscription)
        await self._say({"event": "ping", "last_id": subscription.position})

    async def _say(self, message: dict[str, Any]) -> None:
        await self.send(json.dumps(message, cls=DjangoJSONEncoder, ensure_ascii=False))

    async def _end(self, rejected: Rejected) -> None:
        await self.close(rejected.code, rejected.reason)


# --- what asks the database (sync) ----------------------------------------------------


def _from_url(query: bytes) -> dict[str, Any]:
    """`?last_id=41&session=shop&session=bar`, for programs that send their token in a header."""
    values = parse_qs(query.decode("latin-1"))
    asked: dict[str, Any] = {}
    if "last_id" in values:
        text = values["last_id"][0]
        asked["last_id"] = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else text
    if "session" in values:
        asked["sessions"] = values["session"]
    return asked


def _open(asked: dict[str, Any], bearer: str) -> tuple[Subscription, dict[str, Any]]:
    """The subscription that is asked for, and the message `ready` that answers it; raises `Rejected`."""
    unknown = set(asked) - {"token", "last_id", "sessions"}
    last_id, wanted, text = asked.get("last_id"), asked.get("sessions"), asked.get("token") or bearer
    numbered = last_id is None or (isinstance(last_id, int) and not isinstance(last_id, bool) and last_id >= 0)
    listed = wanted is None or (isinstance(wanted, list) and all(isinstance(name, str) for name in wanted))
    if unknown or not numbered or not listed or not isinstance(text, str):
        raise Rejected(BAD_REQUEST, "not a request")
    token = ApiToken.find(text)
    if token is None:
        raise Rejected(UNAUTHORIZED, "no valid token")
    # A subscription counts like a request of the API; what comes by it does not.
    if token.count_use(settings.OXY_RATE_LIMIT):
        raise Rejected(RATE_LIMITED, "too many requests with this token")
    outbox.publish()
    newest = outbox.last_position()
    position = newest if last_id is None else min(last_id, LARGEST_ID)
    subscription = Subscription(token, wanted, min(position, newest))
    _check_token(subscription)
    subscription.sessions = _visible(subscription)
    if wanted is not None and len(subscription.sessions or ()) < len(set(wanted)):
        raise Rejected(NOT_FOUND, "no such session")
    # Events are kept for a week: a program that was away for longer is told that it missed some. So is one that knows an id which
    # was never given here.
    gap = position > newest or position + 1 < outbox.first_position()
    return subscription, {"event": "ready", "last_id": subscription.position, "gap": gap}


def _check_token(subscription: Subscription) -> None:
    """Whether the token is still in force and may read; raises `Rejected`."""
    token = ApiToken.objects.filter(pk=subscription.token.pk).first()
    if token is None or not token.in_force:
        raise Rejected(UNAUTHORIZED, "no valid token")
    if not token.has(Scope.READ):
        raise Rejected(MISSING_SCOPE, "the token lacks the scope read")
    subscription.token = token


def _visible(subscription: Subscription) -> set[int] | None:
    """The sessions that are wanted and may be seen now."""
    token, wanted = subscription.token, subscription.wanted
    if wanted is None and not (token.limited or token.owner):
        return None
    rows = token.visible()
    if wanted is not None:
        rows = rows.filter(session_id__in=[name for name in wanted if "\0" not in name])
    return set(rows.values_list("pk", flat=True))


def _read(subscription: Subscription, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """The next events, and whether there may be more. The position moves over those that are not for this program too."""
    outbox.publish()
    newest = outbox.last_position()
    if newest <= subscription.position:
        return [], False
    rows = outbox.after(subscription.position).filter(position__lte=newest)
    visible = _visible(subscription)
    if visible is not None:
        # A session that is gone can't be seen any more; who saw it until now is told that it is gone.
        ended = Q(session__in=subscription.sessions or (), name=EventName.SESSION_DELETED)
        rows = rows.filter(Q(session__in=visible) | ended)
    events = list(rows[:limit])
    more = len(events) == limit
    subscription.position = (events[-1].position or newest) if more else newest
    if not more:
        subscription.sessions = visible
    return [event.to_dict() for event in events], more
