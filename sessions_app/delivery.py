"""Delivery to webhooks: the task of the queue, the streams that it claims, and the attempts.

At least once, and in order for each session: the deliveries of one webhook for one session are a *stream*, which one worker claims for
a time and works off one after the other. A delivery that fails holds the later ones of its stream back until it succeeds, or is a
day old and given up. One task delivers at a time (it holds the *turn*), several streams at once; it is queued when an event is
committed, and by a schedule in case that was lost. Nothing here is held by a lock over a request: a worker that is killed leaves a
claim and a turn behind that run out by themselves.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone, translation
from django.utils.translation import gettext

import oxy
from sessions_app import outbound, outbox
from sessions_app.models import DeliveryTurn, Webhook, WebhookDelivery, WebhookStream
from sessions_app.vault import crypto
from sessions_app.webhooks import body_of, deliver_soon, over, signature

log = logging.getLogger(__name__)

_S = WebhookDelivery.State
#: Streams that are worked off at the same time.
CONCURRENCY = 8
#: How long a stream is claimed, renewed at each attempt; longer than any attempt takes.
CLAIM = timedelta(seconds=20)
#: How long a turn lasts, renewed as it goes on.
TURN = timedelta(seconds=15)
#: Seconds that a task delivers before it makes room for others: well under the queue's limit of a minute.
BUDGET = 40.0
#: Seconds that a task stays for a retry that is about to be due.
LINGER = 10.0
#: Seconds between two looks for streams that have become due.
LOOK_EVERY = 0.2
#: Seconds before the first retry, the most that a retry waits, and by how much each wait is longer than the one before.
FIRST_RETRY, LONGEST_RETRY, GROWTH = 3.0, 3600.0, 2.0
#: Each wait is drawn from this part of itself up to itself, so that what fell together does not return together.
JITTER = 0.75
#: A delivery that fails and is older than this is given up.
GIVE_UP_AFTER = timedelta(days=1)
#: How much of an answer is kept for people to read.
EXCERPT = 500


def deliver(*, budget: float = BUDGET, linger: float = LINGER) -> int:
    """Deliver what is due, and what becomes due soon; returns how many attempts were made. Called by the queue."""
    end, attempts = time.monotonic() + budget, 0
    turn = uuid.uuid4()
    while _take_turn(turn):
        try:
            attempts += _Round(turn, end, linger).run()
        finally:
            _end_turn(turn)
        # Looked at after the turn has ended: whoever committed before saw the turn and queued no task.
        outbox.publish()
        if not _due().exists():
            break
        if time.monotonic() >= end:
            deliver_soon()
            break
    return attempts


# --- the turn ---------------------------------------------------------------------


def _take_turn(turn: uuid.UUID) -> bool:
    DeliveryTurn.objects.get_or_create(pk=1)
    free = DeliveryTurn.objects.filter(over("running_until"), pk=1)
    return bool(free.update(holder=turn, running_until=Now() + TURN, queued_until=None))


def _keep_turn(turn: uuid.UUID) -> bool:
    return bool(DeliveryTurn.objects.filter(pk=1, holder=turn).update(running_until=Now() + TURN))


def _end_turn(turn: uuid.UUID) -> None:
    DeliveryTurn.objects.filter(pk=1, holder=turn).update(holder=None, running_until=None, queued_until=None)


def _due() -> Any:
    """Streams with something to deliver now and nobody who does."""
    return WebhookStream.objects.filter(
        over("claimed_until"), webhook__active=True, next_attempt_at__lte=Now()
    ).order_by("next_attempt_at")


class _Round:
    """One turn's work: claims due streams and hands each to a thread, until nothing is due and nothing is under way."""

    def __init__(self, turn: uuid.UUID, end: float, linger: float) -> None:
        self._turn, self._end, self._linger = turn, end, linger
        self._under_way: set[Future[int]] = set()
        self._renew_at = time.monotonic() + TURN.total_seconds() / 3

    def run(self) -> int:
        attempts = 0
        with ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="webhook") as threads:
            while self._goes_on():
                outbox.publish()
                self._claim_due(threads)
                if self._under_way:
                    attempts += self._collect()
                elif not self._soon():
                    break
                else:
                    time.sleep(LOOK_EVERY)
        return attempts + sum(future.result() for future in self._under_way)

    def _goes_on(self) -> bool:
        if time.monotonic() >= self._end:
            return False
        if time.monotonic() < self._renew_at:
            return True
        self._renew_at = time.monotonic() + TURN.total_seconds() / 3
        return _keep_turn(self._turn)

    def _claim_due(self, threads: ThreadPoolExecutor) -> None:
        room = CONCURRENCY - len(self._under_way)
        for stream in _due().select_related("webhook")[: max(0, room)]:
            claim = uuid.uuid4()
            mine = WebhookStream.objects.filter(over("claimed_until"), pk=stream.pk)
            if mine.update(claim=claim, claimed_until=Now() + CLAIM):
                self._under_way.add(threads.submit(_in_thread, stream, claim, self._end))

    def _collect(self) -> int:
        done, self._under_way = wait(self._under_way, LOOK_EVERY, FIRST_COMPLETED)
        return sum(future.result() for future in done)

    def _soon(self) -> bool:
        """Whether a retry is due within the time that this task may stay."""
        soon = Now() + timedelta(seconds=max(0.0, min(self._linger, self._end - time.monotonic())))
        free = Q(claimed_until=None) | Q(claimed_until__lte=soon)
        return WebhookStream.objects.filter(free, webhook__active=True, next_attempt_at__lte=soon).exists()


# --- one stream -------------------------------------------------------------------


def _in_thread(stream: WebhookStream, claim: uuid.UUID, end: float) -> int:
    """Work a stream off in a thread of the pool; its claim runs out by itself if the database goes away."""
    try:
        return work_off(stream, claim, end)
    except Exception as error:
        # One stream must not end the others' turn. Its claim runs out, and it is tried again.
        log.error("webhook_stream_failed", extra={"webhook": stream.webhook_id, "error": type(error).__name__})
        return 0
    finally:
        connections.close_all()


def work_off(stream: WebhookStream, claim: uuid.UUID, end: float) -> int:
    """Deliver what this claimed stream holds, oldest first, up to the first failure; returns how many attempts were made."""
    attempts = 0
    with outbound.Client() as client:
        while time.monotonic() < end:
            delivery = _next(stream)
            if delivery is None or not _renew(stream, claim):
                break
            attempts += 1
            if not attempt(client, delivery, claim):
                break
    _release(stream, claim)
    return attempts


def _next(stream: WebhookStream) -> WebhookDelivery | None:
    waiting = WebhookDelivery.objects.filter(stream=stream, status__in=WebhookDelivery.OPEN, webhook__active=True)
    return waiting.select_related("webhook", "event", "stream").order_by("pk").first()


def _renew(stream: WebhookStream, claim: uuid.UUID) -> bool:
    return bool(WebhookStream.objects.filter(pk=stream.pk, claim=claim).update(claimed_until=Now() + CLAIM))


def _release(stream: WebhookStream, claim: uuid.UUID) -> None:
    """Give the claim back; a stream with nothing left sleeps until something is queued (`outbox.queue` takes the same lock)."""
    with transaction.atomic():
        held = WebhookStream.objects.select_for_update().filter(pk=stream.pk, claim=claim).first()
        if held is None:
            return
        held.claim = held.claimed_until = None
        if not held.deliveries.filter(status__in=WebhookDelivery.OPEN).exists():
            held.next_attempt_at, held.failures = None, 0
        held.save(update_fields=["claim", "claimed_until", "next_attempt_at", "failures"])


def attempt(client: outbound.Client, delivery: WebhookDelivery, claim: uuid.UUID) -> bool:
    """Post one event and write down the answer; whether it was taken."""
    began = time.monotonic()
    with translation.override(None):  # in English: who will read it, nobody knows yet
        status, said, taken = _post(client, delivery)
    result = {
        "attempts": delivery.attempts + 1,
        "attempted_at": timezone.now(),
        "response_status": status,
        "excerpt": said,
        "duration_ms": round((time.monotonic() - began) * 1000),
    }
    _note_success(delivery, claim, result) if taken else _note_failure(delivery, claim, result)
    return taken


def _post(client: outbound.Client, delivery: WebhookDelivery) -> tuple[int | None, str, bool]:
    """The answer's status, what to write down of it, and whether it was taken."""
    try:
        body = body_of(delivery.event)
        answer = client.post(delivery.webhook.url, _headers(delivery, body), body)
    except (outbound.Refused, outbound.Failed) as error:
        return None, str(error)[:EXCERPT], False
    except crypto.Unreadable:
        return None, gettext("No encryption key opens this webhook's secret. Make a new one."), False
    return answer.status, _excerpt(answer), 200 <= answer.status < 300


def _headers(delivery: WebhookDelivery, body: bytes) -> dict[str, str]:
    return {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": f"Oxy/{oxy.__version__}",
        "X-Oxy-Event": delivery.event.name,
        "X-Oxy-Delivery": str(delivery.code),
        "X-Oxy-Signature": signature(delivery.webhook.secret, body, int(time.time())),
    }


def _excerpt(answer: outbound.Answer) -> str:
    """The beginning of the body as text that any database stores."""
    if 300 <= answer.status < 400:
        return gettext("Redirects are not followed.")
    text = answer.body[: EXCERPT * 4].decode("utf-8", "replace").replace("\0", "")
    return text.strip()[:EXCERPT]


def _note_success(delivery: WebhookDelivery, claim: uuid.UUID, result: dict[str, Any]) -> None:
    with transaction.atomic():
        WebhookDelivery.objects.filter(pk=delivery.pk).update(status=_S.DELIVERED, next_attempt_at=None, **result)
        WebhookStream.objects.filter(pk=delivery.stream_id, claim=claim, failures__gt=0).update(failures=0)
        Webhook.objects.filter(pk=delivery.webhook_id, failing_since__isnull=False).update(failing_since=None)


def _note_failure(delivery: WebhookDelivery, claim: uuid.UUID, result: dict[str, Any]) -> None:
    """Plan the next attempt; what is a day old is given up, together with all in this stream that is as old."""
    failures = delivery.stream.failures + 1
    again_at = timezone.now() + timedelta(seconds=delay(failures))
    with transaction.atomic():
        mine = WebhookStream.objects.filter(pk=delivery.stream_id, claim=claim)
        if not mine.update(failures=failures, next_attempt_at=again_at):
            return  # the claim ran out, and somebody else is at this delivery
        WebhookDelivery.objects.filter(pk=delivery.pk).update(status=_S.FAILED, next_attempt_at=again_at, **result)
        Webhook.objects.filter(pk=delivery.webhook_id, failing_since=None).update(failing_since=Now())
        too_old = Q(stream=delivery.stream_id, status__in=WebhookDelivery.OPEN, created_at__lt=Now() - GIVE_UP_AFTER)
        given_up = WebhookDelivery.objects.filter(too_old).update(status=_S.GIVEN_UP, next_attempt_at=None)
    where = {"webhook": str(delivery.webhook.code), "session": delivery.event.session_code}
    log.info("webhook_failed", extra={**where, "status": result["response_status"], "attempts": result["attempts"]})
    if given_up:
        log.error("webhook_given_up", extra={**where, "deliveries": given_up})


def delay(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    draw = random.uniform(JITTER, 1.0)  # noqa: S311 - spreads load, keeps no secret
    return min(LONGEST_RETRY, FIRST_RETRY * GROWTH ** min(failures - 1, 30)) * draw
