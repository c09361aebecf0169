"""A webhook's receiver: a real HTTP server on loopback, which keeps what it gets and answers as it is told to."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATIENCE = 15.0


@dataclass(frozen=True)
class Call:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


#: status, body, further headers
Reply = tuple[int, bytes, dict[str, str]]
TAKEN: Reply = (204, b"", {})


class Receiver:
    """`reply` decides the answer to each call; `next()` waits for the next call."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.calls: list[Call] = []
        self.reply: Callable[[Call], Reply] = lambda call: TAKEN
        self._new: queue.SimpleQueue[Call] = queue.SimpleQueue()

    def take(self, call: Call) -> Reply:
        self.calls.append(call)
        answer = self.reply(call)
        self._new.put(call)
        return answer

    def next(self, within: float = PATIENCE) -> Call:
        try:
            return self._new.get(timeout=within)
        except queue.Empty:
            raise AssertionError(f"nothing was delivered within {within:.0f} s") from None

    @property
    def silent(self) -> bool:
        return self._new.empty()

    @property
    def ids(self) -> list[int]:
        """The ids of the events that were delivered, in the order in which they came."""
        return [call.json["id"] for call in self.calls]


@contextmanager
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer, more = self.server.receiver.take(Call(headers, body))  # type: ignore[attr-defined]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    server.handle_error = lambda *arguments: None  # type: ignore[method-assign]  # a caller that was killed in the middle
    server.receiver = Receiver(server.server_port)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.receiver  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
