"""News for whoever shows sessions: the only module that names channel groups and message types.

News is a doorbell. A message says that something changed and nothing else; who hears it reads the database again. So a page
that was opened late shows the same as one that was there from the start, and a message that is lost costs seconds, not truth.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

logger = logging.getLogger(__name__)

#: Rung for every session: the list listens here.
ALL_SESSIONS = "oxy.sessions"
#: The message type; consumers hear it as the method `session_changed`.
CHANGED = "session.changed"


def session_group(session_pk: int) -> str:
    """The group that one session's pages join."""
    return f"oxy.session.{session_pk}"


def session_changed(session_pk: int) -> None:
    """Ring for one session. For sync code in any thread; inside a transaction it is heard on commit."""
    _ring(session_group(session_pk), ALL_SESSIONS)


def sessions_changed() -> None:
    """Ring for the list alone: a session was made, or a host came or went."""
    _ring(ALL_SESSIONS)


def _ring(*groups: str) -> None:
    layer: Any = get_channel_layer()
    message = {"type": CHANGED}
    if hasattr(layer, "publish"):
        # The database's own layer: it writes on this thread's connection, so the commit carries the news.
        layer.publish(groups, message)
    else:
        transaction.on_commit(partial(_send, layer, groups, message))


def _send(layer: Any, groups: tuple[str, ...], message: dict[str, str]) -> None:
    for group in groups:
        try:
            async_to_sync(layer.group_send)(group, message)
        except Exception as error:  # whatever a broker raises: the change is stored, and pages look again by themselves
            extra = {"action": "broadcast_failed", "group": group}
            logger.warning("news not sent: %s", type(error).__name__, extra=extra)
