"""Files that messages name by an address: fetched by short tasks, through the guard of outbound.py, before their messages are sent.

A task claims a file by moving its time on, so that two never fetch the same one, and one that died leaves it to the schedule.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from urllib.parse import urljoin

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

import oxy
from sessions_app import broadcast, files, outbound
from sessions_app.models import EventName, Message, MessageFile
from sessions_app.models.outbox import write_messages
from sessions_app.reasons import Reason
from sessions_app.vault import crypto

log = logging.getLogger(__name__)

#: Seconds for the whole of one attempt; redirects that are followed; the longest address.
SECONDS, HOPS, URL_LIMIT = 45.0, 3, 2000
#: Some hosts refuse who does not say who asks.
HEADERS = {"User-Agent": f"Oxy/{oxy.__version__}"}
#: How long a claim lasts, and the pauses between attempts.
CLAIM, PAUSES = timedelta(seconds=90), (timedelta(seconds=30), timedelta(minutes=3))
ATTEMPTS = len(PAUSES) + 1
_MOVED = (301, 302, 303, 307, 308)


class NotFetched(Exception):
    """It cannot be had from there, now or later."""

    def __init__(self, reason: Reason) -> None:
        self.reason = reason
        super().__init__(reason.value)


def fetch_soon(message: Message) -> None:
    """Have a worker fetch the file of a new message, where it has one that is to be fetched."""
    pk = MessageFile.objects.filter(message=message, due_at__isnull=False).values_list("pk", flat=True).first()
    if pk is not None:
        from sessions_app import tasks  # a package above this one: the only module that talks to the queue

        # Robust: the schedule fetches it too.
        transaction.on_commit(lambda: tasks.queue_fetch(pk), robust=True)


def due() -> list[int]:
    """Files that a task may fetch now; those of messages that ended are forgotten here."""
    rows = MessageFile.objects.filter(due_at__lte=Now())
    rows.exclude(message__status=Message.MessageStatus.QUEUED).delete()
    return list(rows.order_by("due_at").values_list("pk", flat=True)[:100])


def fetch(pk: int) -> bool:
    """Fetch one file, if it is still due; returns whether its message can go out now."""
    # Counted before it is tried: an attempt that ends its process is one as well.
    claimed = MessageFile.objects.filter(pk=pk, due_at__lte=Now())
    if not claimed.update(due_at=Now() + CLAIM, attempts=F("attempts") + 1):
        return False
    row = MessageFile.objects.select_related("message__session").get(pk=pk)
    try:
        if row.attempts > ATTEMPTS:
            raise NotFetched(Reason.FILE_NOT_FETCHED)
        data, mimetype = _fetched(row)
    except outbound.Failed as error:
        log.info("file_not_fetched", extra={"file_of": str(row.message.code), "why": str(error)})
        if row.attempts < ATTEMPTS:
            MessageFile.objects.filter(pk=pk).update(due_at=Now() + PAUSES[row.attempts - 1])
        else:
            _give_up(row, Reason.FILE_NOT_FETCHED)
        return False
    except (NotFetched, outbound.Refused, crypto.Unreadable, files.WrongType) as error:
        log.info("file_given_up", extra={"file_of": str(row.message.code), "why": type(error).__name__})
        _give_up(row, _REASONS[type(error)] if not isinstance(error, NotFetched) else error.reason)
        return False
    _keep(row, data, mimetype)
    return True


_REASONS: dict[type[Exception], Reason] = {
    outbound.Refused: Reason.FILE_NOT_FETCHED,
    crypto.Unreadable: Reason.FILE_UNREADABLE,
    files.WrongType: Reason.FILE_WRONG_TYPE,
}


def _fetched(row: MessageFile) -> tuple[bytes, str]:
    content = row.message.content or {}
    data = _get(row.url)
    if not data:
        raise NotFetched(Reason.FILE_NOT_FETCHED)
    name, voice = content.get("filename", ""), content.get("voice", False)
    return data, files.type_of(row.message.kind, data, filename=name, voice=voice)


def _get(url: str) -> bytes:
    """What is there; every hop is checked as the first one was."""
    limit, end = int(settings.OXY_FILE_LIMIT), time.monotonic() + SECONDS
    for _ in range(HOPS + 1):
        with outbound.Client(total_timeout=max(0.1, end - time.monotonic())) as client:
            answer = client.request("GET", outbound.check_url(url, limit=URL_LIMIT), HEADERS, limit=limit + 1)
        if answer.status in _MOVED and "location" in answer.headers:
            url = _next(url, answer.headers["location"])
        elif answer.status >= 500 or answer.status == 429:
            raise outbound.Failed(f"HTTP {answer.status}")
        elif answer.status != 200:
            raise NotFetched(Reason.FILE_NOT_FETCHED)
        elif len(answer.body) > limit:
            raise NotFetched(Reason.FILE_TOO_LARGE)
        else:
            return answer.body
    raise NotFetched(Reason.FILE_NOT_FETCHED)


def _next(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise NotFetched(Reason.FILE_NOT_FETCHED) from None


def _keep(row: MessageFile, data: bytes, mimetype: str) -> None:
    message = row.message
    sealed = crypto.seal(data, message.session.session_id, "file")
    with transaction.atomic():
        content = (message.content or {}) | {"mimetype": mimetype, "size": len(data)}
        Message.objects.filter(pk=message.pk).update(content=content)
        MessageFile.objects.filter(pk=row.pk).update(sealed=sealed, sealed_url=None, size=len(data), due_at=None)


def _give_up(row: MessageFile, reason: Reason) -> None:
    with transaction.atomic():
        waiting = Message.objects.filter(pk=row.message_id, status=Message.MessageStatus.QUEUED)
        if waiting.update(status=Message.MessageStatus.FAILED, reason=reason.value):
            write_messages(row.message.session, EventName.MESSAGE_STATUS, [row.message.code])
        row.delete()
    broadcast.session_changed(row.message.session_id)
