"""Errors of the API: always `{"error": "sentence", "code": "stable-code"}`, from wherever they come.

`ERRORS` is the list of codes, with the status that each goes with; whoever raises an `ApiError` names a code of it.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from sessions_app import words
from sessions_app.models import NotAllowed
from sessions_app.words import Text

log = logging.getLogger(__name__)

#: Code → status, and what it says where the one who raises it has nothing better to say.
ERRORS: dict[str, tuple[int, Text]] = {
    "bad-json": (400, _("The body is not valid JSON.")),
    "bad-request": (400, _("This request cannot be understood.")),
    "unauthorized": (401, _("Send a valid API token, as in “Authorization: Bearer oxy_…”.")),
    "missing-scope": (403, _("This token may not do that.")),
    "forbidden": (403, _("This token may not do that.")),
    "not-found": (404, _("There is nothing here.")),
    "session-not-found": (404, _("There is no such session.")),
    "backup-not-found": (404, _("Nothing is stored under this session id.")),
    "file-not-found": (404, _("This message has no file that could be downloaded.")),
    "message-not-found": (404, _("This session has no such message.")),
    "webhook-not-found": (404, _("There is no such webhook.")),
    "delivery-not-found": (404, _("This webhook has no such delivery.")),
    "method-not-allowed": (405, _("This address does not take that method.")),
    "not-allowed": (409, _("This is not possible while the session is as it is.")),
    "session-exists": (409, _("There is a session with this id already.")),
    "no-qr": (409, _("There is no code to show now.")),
    "not-linked": (409, _("No phone is linked to this session, so it can send nothing.")),
    "not-connected": (409, _("The session is not connected, so WhatsApp cannot be asked.")),
    "refused": (409, _("This was tried and could not be done.")),
    "file-gone": (410, _("WhatsApp no longer has this file.")),
    "backup-changed": (412, _("Somebody else has written to this state since. Restore it before you go on.")),
    "too-large": (413, _("The body is too large.")),
    "invalid": (422, _("A field is missing, unknown or wrong.")),
    "bad-url": (422, _("This address cannot be called.")),
    "idempotency-key-reused": (422, _("This Idempotency-Key was used before, for another request.")),
    "rate-limited": (429, _("Too many requests with this token.")),
    "queue-full": (429, _("Too many messages of this session wait to be sent.")),
    "internal-error": (500, _("Something went wrong here; it was logged.")),
    "backup-unreadable": (500, _("What is stored cannot be decrypted. Is its key in OXY_ENCRYPTION_KEYS?")),
    "database-unavailable": (503, _("The database cannot be reached.")),
    "not-ready": (503, _("Not everything that is needed is running.")),
    "host-did-not-answer": (504, _("No worker took this request, so it was withdrawn. Is a worker running?")),
    "whatsapp-did-not-answer": (504, _("WhatsApp did not answer in time. Nothing was changed; ask again.")),
    "still-under-way": (504, _("A worker is at it and has not finished. Look at the session to see how it ends.")),
}
#: What a status means where nobody of ours has given a code.
_PLAIN = {400: "bad-request", 401: "unauthorized", 403: "forbidden", 404: "not-found", 405: "method-not-allowed",
          409: "not-allowed", 413: "too-large", 422: "invalid", 429: "rate-limited", 503: "database-unavailable"}  # fmt: skip
#: What the library says about a field, in our words.
_PROBLEMS: dict[str, Text] = {
    "extra_forbidden": _("there is no such field here."),
    "missing": _("it is required."),
    "string_type": _("it must be a text."),
    "string_too_short": _("it must have at least %(min_length)d characters."),
    "string_too_long": _("it must have at most %(max_length)d characters."),
    "string_pattern_mismatch": _("it has characters that are not allowed there."),
    "int_type": _("it must be a whole number."),
    "int_parsing": _("it must be a whole number."),
    "int_from_float": _("it must be a whole number."),
    "bool_type": _("it must be true or false."),
    "bool_parsing": _("it must be true or false."),
    "greater_than_equal": _("it must be at least %(ge)s."),
    "less_than_equal": _("it must be at most %(le)s."),
    "enum": _("it must be one of these: %(expected)s."),
    "literal_error": _("it must be one of these: %(expected)s."),
    "list_type": _("it must be a list."),
    "too_short": _("it must have at least %(min_length)d entries."),
    "too_long": _("it must have at most %(max_length)d entries."),
}
#: Where answers are JSON whatever happens.
PREFIXES = ("/api/", "/whatsapp")


class ApiError(Exception):
    """An answer other than success. `code` is one of `ERRORS`; `more` are further fields of the answer."""

    def __init__(
        self, code: str, sentence: Text | None = None, *, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        self.status, default = ERRORS[code]
        self.code, self.sentence, self.headers, self.more = code, sentence or default, headers or {}, more
        super().__init__(code)

    def response(self) -> HttpResponse:
        body = {"error": str(self.sentence), "code": self.code, **self.more}
        return JsonResponse(body, status=self.status, headers=self.headers)


def register(api: NinjaAPI) -> None:
    """Have the API answer every exception in our shape."""
    answers: tuple[tuple[type[Exception], Callable[[HttpRequest, Any], HttpResponse]], ...] = (
        (ApiError, lambda request, error: error.response()),
        (NotAllowed, _not_allowed),
        (ValidationError, _invalid),
        (AuthenticationError, lambda request, error: ApiError("unauthorized").response()),
        (HttpError, _http_error),
        (Http404, lambda request, error: ApiError("not-found").response()),
        (RequestDataTooBig, lambda request, error: ApiError("too-large").response()),
        (OperationalError, _database_unavailable),
        (InterfaceError, _database_unavailable),
        (Exception, _unexpected),
    )
    for kind, answer in answers:
        api.add_exception_handler(kind, answer)


def _not_allowed(request: HttpRequest, error: NotAllowed) -> HttpResponse:
    return ApiError(
        "not-allowed", words.refusal(error), status_now=error.status.value, allowed=error.allowed
    ).response()


def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """Name the field and what is wrong with it; never its value, which may be a secret."""
    first = error.errors[0]
    field = ".".join(str(part) for part in first["loc"][1:] if part not in ("data", "query")) or "body"
    sentence = gettext("“%(field)s”: %(what)s") % {"field": field, "what": _what(first)}
    return ApiError("invalid", sentence, field=field).response()


def _what(problem: dict[str, Any]) -> str:
    if sentence := _PROBLEMS.get(problem["type"]):
        said: str = str(sentence) % problem.get("ctx", {})
        return said
    # One of our own readers', in the reader's language; or one that is rare, in the library's.
    return f"{problem['msg'].removeprefix('Value error, ').rstrip('.')}."


def _http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    cause = error.__cause__
    if isinstance(cause, ApiError):
        return cause.response()
    if isinstance(cause, RequestDataTooBig):
        return ApiError("too-large").response()
    # The library raises this for one thing: a body that it cannot parse.
    return ApiError("bad-json" if error.status_code == 400 else _PLAIN.get(error.status_code, "bad-request")).response()


def _database_unavailable(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("database_unavailable", extra={"path": request.path, "error": type(error).__name__})
    return ApiError("database-unavailable", headers={"Retry-After": "5"}).response()


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    """Log where it happened. The exception's own text is left out: it may quote what was sent."""
    where = "".join(traceback.format_tb(error.__traceback__))
    log.error(
        "api_failed\n%s", where, extra={"method": request.method, "path": request.path, "error": type(error).__name__}
    )
    return ApiError("internal-error").response()


class JsonErrors:
    """Middleware: what Django itself refuses under the API's addresses (no such address, wrong method) is JSON too.

    It also forbids every cache to keep an answer of the API: answers hold messages and codes.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not request.path.startswith(PREFIXES):
            return response
        if response.status_code >= 400 and response.get("Content-Type", "").split(";")[0] != "application/json":
            known = _PLAIN.get(response.status_code)
            kept = {name: response[name] for name in ("Allow", "Retry-After") if name in response}
            if known:
                response = ApiError(known, headers=kept).response()
        response.headers.setdefault("Cache-Control", "no-store")
        return response
