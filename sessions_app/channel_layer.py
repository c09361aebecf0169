"""A Channels layer whose messages travel through the database that is there anyway: no Redis to run.

Groups live in the process that holds the sockets. A message is published on the sender's own database connection, so that it
is heard when the sender's transaction commits and never before; one thread a process listens and hands it to the mailboxes of
that process. On PostgreSQL it travels by NOTIFY, or, where it is too large for that, as a row whose id is notified. On SQLite
it is a row, and a unix datagram that wakes the listeners; where the datagram cannot go, they look once a second.

After the listener has been deaf (the database was restarted) nobody knows what was missed, so every member of every group gets
`{"type": "layer.resync"}`: a consumer answers it by reading the database afresh, in its method `layer_resync`.

Two limits. Messages are JSON. And PgBouncer in transaction mode swallows LISTEN: give it session mode or go around it.
"""

from __future__ import annotations

import copy
import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from channels.db import database_sync_to_async
from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer
from django.db import connections, transaction
from django.db.models.functions import Now

from sessions_app.channel_listener import DATABASE, NOTIFY_CHANNEL, Bell, Listener, rows, wake, wake_directory

Message = dict[str, Any]

#: What a member of a group gets after news may have been missed.
RESYNC: Message = {"type": "layer.resync"}
#: PostgreSQL refuses a NOTIFY payload of 8000 bytes; counted in bytes of UTF-8.
NOTIFY_LIMIT = 7900
#: Rows are of no use to anybody after this; a listener that was deaf for longer is told to resync.
KEEP_ROWS = timedelta(seconds=60)
#: Seconds a socket that joins a group waits for the listener to hear; it is told to resync where that comes later.
JOIN_PATIENCE = 5.0


class DatabaseChannelLayer(BaseChannelLayer):
    """The layer; see the module. `expiry`: a channel with an unread message older than this, in seconds, is taken for dead."""

    extensions = ("groups", "flush")

    def __init__(self, expiry: int = 60, capacity: int = 100) -> None:
        super().__init__(expiry=expiry, capacity=capacity)
        self.node = uuid.uuid4().hex[:12]
        self._lock = threading.Lock()
        self._boxes: dict[str, _Mailbox] = {}
        self._listener = Listener(self._deliver, self._resync)
        self._prune_at = 0.0

    # --- public, sending ------------------------------------------------------

    def publish(self, groups: Sequence[str], message: Message) -> None:
        """Send to groups from any thread, on its own database connection: heard when its transaction commits."""
        for group in groups:
            self.require_valid_group_name(group)
        self._publish({"groups": groups, "message": message})

    async def group_send(self, group: str, message: Message) -> None:
        """Send to one group from a coroutine."""
        await database_sync_to_async(self.publish)([group], message)

    async def send(self, channel: str, message: Message) -> None:
        """Send to one channel, in this process or another. Raises `ChannelFull` where it is here and nobody reads it."""
        self.require_valid_channel_name(channel)
        if "!" not in channel:
            raise ValueError(
                "This layer has no work queues: send to a channel that new_channel() named, or to a group."
            )
        if self.non_local_name(channel).endswith(f".{self.node}!"):
            with self._lock:
                if not self._put(channel, self._boxes.setdefault(channel, _Mailbox()), message):
                    raise ChannelFull(channel)
        else:
            await database_sync_to_async(self._publish)({"channel": channel, "message": message})

    # --- public, receiving ----------------------------------------------------

    async def new_channel(self, prefix: str = "specific") -> str:
        """A name that only this process reads."""
        return f"{prefix}.{self.node}!{uuid.uuid4().hex}"

    async def receive(self, channel: str) -> Message:
        """The next message of a channel; waits for it."""
        self.require_valid_channel_name(channel)
        while True:
            with self._lock:
                box = self._boxes.setdefault(channel, _Mailbox())
                if box.messages:
                    return box.messages.popleft()[1]
                bell = box.bell = Bell()
            try:
                await bell.rung.wait()
            finally:
                with self._lock:
                    self._drop_if_unused(channel)

    async def group_add(self, group: str, channel: str) -> None:
        """Join a group. When this returns, whatever commits from now on is heard."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await self._listener.hearing(JOIN_PATIENCE)
        with self._lock:
            self._boxes.setdefault(channel, _Mailbox()).groups.add(group)

    async def group_discard(self, group: str, channel: str) -> None:
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        with self._lock:
            if box := self._boxes.get(channel):
                box.groups.discard(group)
                self._drop_if_unused(channel)

    async def flush(self) -> None:
        """Forget every channel and group of this process."""
        with self._lock:
            self._boxes.clear()

    async def close(self) -> None:
        self.stop_listening()

    def stop_listening(self) -> None:
        """End the thread and its database connection; the next `group_add` starts them again."""
        self._listener.stop()

    # --- private: out ---------------------------------------------------------

    def _publish(self, envelope: dict[str, Any]) -> None:
        body = json.dumps(envelope, ensure_ascii=False, separators=(",", ":"))
        if connections[DATABASE].vendor != "postgresql":
            self._keep(body)
            transaction.on_commit(lambda: wake(wake_directory()), using=DATABASE)
            return
        if len(body.encode()) > NOTIFY_LIMIT:
            body = str(self._keep(body))
        with connections[DATABASE].cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [NOTIFY_CHANNEL, body])

    def _keep(self, body: str) -> int:
        if time.monotonic() >= self._prune_at:
            self._prune_at = time.monotonic() + KEEP_ROWS.total_seconds()
            # Not inside the caller's transaction: two that prune the same rows would wait for each other.
            old = rows().filter(created_at__lt=Now() - KEEP_ROWS)
            transaction.on_commit(old.delete, using=DATABASE, robust=True)
        return int(rows().create(body=body).pk)

    # --- private: in; called by the listener's thread ---------------------------

    def _deliver(self, body: str) -> None:
        envelope = json.loads(body)
        groups = set(envelope.get("groups", ()))
        with self._lock:
            for name, box in list(self._boxes.items()):
                if groups & box.groups or envelope.get("channel") == name:
                    self._put(name, box, envelope["message"])

    def _resync(self) -> None:
        with self._lock:
            for name, box in list(self._boxes.items()):
                if box.groups:
                    self._put(name, box, RESYNC)

    # --- private: mailboxes; under the lock -------------------------------------

    def _put(self, channel: str, box: _Mailbox, message: Message) -> bool:
        """Whether there was room. A box that nobody reads any more is dropped: a socket's `disconnect` is not always called."""
        now = time.monotonic()
        if box.messages and now - box.messages[0][0] > self.expiry:
            del self._boxes[channel]
            return False
        if len(box.messages) >= self.get_capacity(channel):
            return False
        box.messages.append((now, copy.deepcopy(message)))
        box.bell.ring()
        return True

    def _drop_if_unused(self, channel: str) -> None:
        box = self._boxes.get(channel)
        if box and not box.groups and not box.messages:
            del self._boxes[channel]


class _Mailbox:
    """The unread messages of one channel, each with the time it came, and the groups that the channel is in."""

    __slots__ = ("bell", "groups", "messages")

    def __init__(self) -> None:
        self.messages: deque[tuple[float, Message]] = deque()
        self.groups: set[str] = set()
        self.bell = Bell()
