"""Just enough HTTP/1.1 for the control and the media server: one request a connection, JSON and files, this machine only."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

log = logging.getLogger(__name__)

HEAD_LIMIT, BODY_LIMIT = 32 * 1024, 1024 * 1024
REQUEST_TIMEOUT = 10
PHRASES = {
    200: "OK",
    201: "Created",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
}
PHRASES |= {
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
#: The page is its own files and nothing else; it may be opened by the console, and not be framed.
SECURITY = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; Refused where it is none."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            raise Refused(400, "bad-json", "The body is not JSON.") from None
        if not isinstance(value, dict):
            raise Refused(400, "bad-json", "The body is not a JSON object.")
        return value


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Response:
        return cls(status, json.dumps(value).encode())


class Refused(Exception):
    """A request that is answered with an error: an HTTP status, a stable code, and a sentence."""

    def __init__(self, status: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.response = Response.of({"error": sentence, "code": code}, status)


class HttpServer:
    """Serves `handle` on 127.0.0.1: for requests whose Host and Origin are this server's own, or, with TLS, for clients of any name."""

    def __init__(
        self,
        handle: Callable[[Request], Awaitable[Response]],
        *,
        context: ssl.SSLContext | None = None,
        body_limit: int = BODY_LIMIT,
    ) -> None:
        self._handle, self._context, self._body_limit = handle, context, body_limit
        self._server: asyncio.Server | None = None
        self._port = 0

    async def start(self, port: int) -> int:
        """Listen; 0 lets the system choose. The port in use; OSError where it is taken."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=HEAD_LIMIT, ssl=self._context)
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self._port

    def stop(self) -> None:
        if self._server:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT):
                request = await _read(reader, self._body_limit)
            writer.write(_written(await self._answer(request)))
            await writer.drain()
        except Refused as error:
            writer.write(_written(error.response))
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            with suppress(OSError):
                writer.close()

    async def _answer(self, request: Request) -> Response:
        try:
            if self._context is None:
                self._check_source(request)
            return await self._handle(request)
        except Refused as error:
            return error.response
        except Exception:
            log.exception("the request %s %s failed", request.method, request.path)
            return Response.of({"error": "The simulator failed; its log says why.", "code": "internal"}, 500)

    def _check_source(self, request: Request) -> None:
        """A page of another site, or a name that was made to point here, must not drive the phones."""
        own = {f"127.0.0.1:{self._port}", f"localhost:{self._port}"}
        if request.headers.get("host") not in own:
            raise Refused(403, "foreign-host", "This server answers to 127.0.0.1 and localhost only.")
        if request.headers.get("origin", "http://" + request.headers["host"]) not in {f"http://{name}" for name in own}:
            raise Refused(403, "foreign-origin", "This server takes no requests from other sites.")
        if request.method == "POST" and request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise Refused(415, "not-json", "Send JSON, with its content type.")


async def _read(reader: asyncio.StreamReader, body_limit: int) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= body_limit:
        raise Refused(413, "too-long", "The body is too long.")
    url = urlsplit(target)
    return Request(
        method, unquote(url.path), headers, await reader.readexactly(length), dict(parse_qsl(url.query, True))
    )


def _written(response: Response) -> bytes:
    headers = {"Content-Type": response.type, "Content-Length": str(len(response.body)), "Connection": "close"}
    lines = [f"{name}: {value}" for name, value in {**headers, **SECURITY, **response.headers}.items()]
    head = "\r\n".join([f"HTTP/1.1 {response.status} {PHRASES.get(response.status, 'Error')}", *lines])
    return head.encode("latin-1") + b"\r\n\r\n" + response.body
