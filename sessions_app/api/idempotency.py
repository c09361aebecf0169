"""`Idempotency-Key`: a request that is sent again gets the first answer, and does nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpResponse, JsonResponse

from sessions_app.api.auth import ApiRequest
from sessions_app.api.errors import ApiError
from sessions_app.models import IdempotentRequest

Answer = tuple[int, dict[str, Any]]


def once(request: ApiRequest, key: str | None, body: dict[str, Any], act: Callable[[], Answer]) -> HttpResponse:
    """Answer with what `act` says, or with what it said when this token sent this key first.

    `act` runs in one transaction with the row that keeps its answer. Of two requests at the same moment one waits at the unique
    constraint, and then finds the other's answer. What `act` raises is not kept: the key can be used again.
    """
    if key is None:
        return _respond(act())
    print_ = _fingerprint(request, body)
    try:
        with transaction.atomic():
            if first := _first(request, key):
                return _replay(first, print_)
            row = IdempotentRequest.objects.create(token=request.auth, key=key, fingerprint=print_, status=0, answer={})
            row.status, row.answer = act()
            row.save(update_fields=["status", "answer"])
    except IntegrityError:
        if first := _first(request, key):
            return _replay(first, print_)
        raise
    return _respond((row.status, row.answer))


def _first(request: ApiRequest, key: str) -> IdempotentRequest | None:
    return request.auth.idempotent_requests.filter(key=key).first()


def _replay(first: IdempotentRequest, fingerprint: str) -> HttpResponse:
    if first.fingerprint != fingerprint:
        raise ApiError("idempotency-key-reused")
    response = _respond((first.status, first.answer))
    response["Idempotent-Replayed"] = "true"
    return response


def _fingerprint(request: ApiRequest, body: dict[str, Any]) -> str:
    text = json.dumps([request.method, request.path, body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _respond(answer: Answer) -> HttpResponse:
    return JsonResponse(answer[1], status=answer[0])
