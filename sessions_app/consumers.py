"""The live feed: a websocket a page, which sends the page's panels from the database whenever something may have changed.

Each socket runs one loop: wait for the doorbell, show, pause. The pause makes one render out of a burst. Where nothing rings for
a while it shows everything all the same: that tells the page that the feed is alive, brings what no bell announces (a host that
died in silence), and is the moment at which a person who has been signed out loses the feed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.http import QueryDict
from django.utils import translation

from sessions_app import broadcast, overview, pairing, panels, people
from sessions_app.models import PairingLink
from sessions_app.panels import Panel

logger = logging.getLogger(__name__)

#: Close codes: nobody is signed in; somebody is, but is no staff; there is no such session.
SIGNED_OUT, NOT_STAFF, NOT_FOUND = 4401, 4403, 4404


class PanelConsumer(AsyncWebsocketConsumer):
    """What both feeds have in common; a subclass says which group to hear and which panels to show."""

    #: Seconds between two renders, however often the bell rings.
    pause = 0.1
    #: Seconds without a bell after which everything is sent again. Pages give a feed up after 40 silent seconds.
    beat = 15.0

    group = ""
    user: Any = None
    _loop: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        # Accepted first: a browser shows its page no close code of a handshake that was refused.
        await self.accept()
        refusal = await database_sync_to_async(self._refusal)()
        if refusal:
            await self.close(refusal)
            return
        self._rung = asyncio.Event()
        self._sent: dict[str, str] = {}
        self.language = self._language()
        await self.channel_layer.group_add(self.group, self.channel_name)
        self._loop = asyncio.create_task(self._serve())

    async def disconnect(self, code: int) -> None:
        if self._loop is None:
            return
        self._loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._loop
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def session_changed(self, message: dict[str, Any]) -> None:
        self._rung.set()

    async def layer_resync(self, message: dict[str, Any]) -> None:
        """The layer may have lost messages."""
        self._rung.set()

    def find(self) -> bool:
        """Set `group`, and return whether there is anything to show. Sync: it may ask the database."""
        raise NotImplementedError

    def panels(self) -> list[Panel]:
        """The panels as they are now. Sync: it asks the database."""
        raise NotImplementedError

    async def _serve(self) -> None:
        try:
            await self._show(everything=True)
            while True:
                await asyncio.sleep(self.pause)
                rung = await self._heard()
                if not rung and (refusal := await database_sync_to_async(self._refusal)()):
                    await self.close(refusal)
                    return
                await self._show(everything=not rung)
        except Exception:
            logger.exception("feed ended", extra={"action": "feed_failed", "group": self.group})
            await self.close(1011)

    async def _heard(self) -> bool:
        """Wait for the bell; False where it did not ring in a beat."""
        try:
            await asyncio.wait_for(self._rung.wait(), self.beat)
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    async def _show(self, *, everything: bool) -> None:
        try:
            shown = await database_sync_to_async(self._render)()
        except DatabaseError as error:
            # The page notices the silence and says so; the feed goes on when the database is back.
            logger.warning("feed waits for the database: %s", type(error).__name__, extra={"action": "feed_waits"})
            return
        news = [panel for panel in shown if everything or self._sent.get(panel.name) != panel.digest]
        self._sent = {panel.name: panel.digest for panel in shown}
        if news:
            await self.send(panels.out_of_band(news))

    def _render(self) -> list[Panel]:
        with translation.override(self.language):
            return self.panels()

    def _refusal(self) -> int | None:
        """The close code for whoever may not have this feed (any more)."""
        user, login = self.scope["user"], self.scope["session"]
        if not user or not user.is_authenticated or not login.session_key or not login.exists(login.session_key):
            return SIGNED_OUT
        # Read afresh: permissions that were taken away are remembered by the one that came with the socket.
        self.user = get_user_model().objects.filter(pk=user.pk, is_active=True, is_staff=True).first()
        if self.user is None or not self.user.has_perm(people.VIEW):
            return NOT_STAFF
        return None if self.find() else NOT_FOUND

    def _language(self) -> str:
        asked = self.parameters().get("lang", "")
        return asked if asked in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE

    def parameters(self) -> QueryDict:
        return QueryDict(self.scope["query_string"])


class ListConsumer(PanelConsumer):
    """The list of sessions, as its URL filters it."""

    # Hundreds of sessions ring this bell, and a list is read more slowly than a code is scanned.
    pause = 0.5

    def find(self) -> bool:
        self.group = broadcast.ALL_SESSIONS
        return True

    def panels(self) -> list[Panel]:
        return overview.list_panels(overview.ListQuery.read(self.parameters()), self.user)


class CustomerConsumer(PanelConsumer):
    """The page of somebody with a pairing link: what the link lets them see of one session, and no other right."""

    link: PairingLink | None = None

    def find(self) -> bool:
        if self.link is not None:
            # The bell carries no content: it is safe to hear.
            self.group = broadcast.session_group(self.link.session_id)
        return self.link is not None

    def panels(self) -> list[Panel]:
        assert self.link is not None
        return pairing.customer_panels(self.link)

    def _refusal(self) -> int | None:
        self.link = pairing.held_link(self.scope["session"])
        return None if self.find() else SIGNED_OUT


class SessionConsumer(PanelConsumer):
    """One session's page."""

    session_pk: int | None = None

    def find(self) -> bool:
        if self.session_pk is None:
            wanted = self.scope["url_route"]["kwargs"]["session_id"]
            rows = people.visible_to(self.user).filter(session_id=wanted)
            self.session_pk = rows.values_list("pk", flat=True).first()
        if self.session_pk is not None:
            self.group = broadcast.session_group(self.session_pk)
        return self.session_pk is not None

    def panels(self) -> list[Panel]:
        assert self.session_pk is not None
        return panels.session_panels(self.session_pk, self.user)
