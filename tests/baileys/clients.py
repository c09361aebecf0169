"""Real Baileys clients as processes of a test: commands in, events out, every wait with an end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from simulator import Simulator
from simulator.handset import Handset
from tests import node
from tests.baileys import install

PATIENCE = 20.0
CLIENT = Path(__file__).resolve().parent / "client.mjs"


def workshop(folder: Path) -> Path:
    """A folder in which scripts find Baileys and our adapter, as in a service that has both."""
    folder.mkdir()
    (folder / "node_modules").symlink_to(install.ensure() / "node_modules")
    for script in (CLIENT, install.ADAPTER):
        shutil.copy(script, folder)
    return folder


class Baileys:
    """One client. Its state is in a folder (`folder=`) or in Oxy (`oxy={"url", "token", "sessionId"}`)."""

    def __init__(self, place: Path, sim: Simulator, **state: Any) -> None:
        options = {"ws": sim.ws_url, "root": sim.root_key.hex(), **state}
        # The token stays out of the process list.
        environment = {**os.environ, "BAILEYS_OPTIONS": json.dumps(options)}
        self.log = place / f"client-{time.monotonic_ns()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [node.ensure().node, "client.mjs"],
                cwd=place,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.events: list[dict[str, Any]] = []
        self._change = threading.Condition()
        self._is_over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._change:
                self.events.append(json.loads(line))
                self._change.notify_all()
        with self._change:
            self._is_over = True
            self._change.notify_all()

    # --- doing ------------------------------------------------------------------

    def ask(self, do: str, **arguments: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()

    def pair(self, phone: Handset) -> Baileys:
        """Have the phone scan the code, and wait for the login."""
        phone.scan(self.wait("qr")["qr"])
        self.wait("open")
        return self

    def send(self, to: str, text: str) -> None:
        """Send, and wait until Baileys says that it is sent."""
        self.ask("send", to=to, text=text)
        self.wait("sent", text=text)

    def stop(self) -> None:
        self.ask("stop")
        self.wait("stopped")
        self.process.wait(PATIENCE)
        self.close()

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()

    # --- seeing -----------------------------------------------------------------

    def all(self, event: str) -> list[dict[str, Any]]:
        with self._change:
            return [seen for seen in self.events if seen["event"] == event]

    def wait(self, event: str, within: float = PATIENCE, **fields: Any) -> dict[str, Any]:
        """The first event of this name with these fields, come or to come."""

        def look() -> dict[str, Any] | None:
            fits = (seen for seen in self.events if seen["event"] == event)
            return next((seen for seen in fits if fields.items() <= seen.items()), None)

        with self._change:
            self._change.wait_for(lambda: look() or self._is_over, within)
            found = look()
        assert found, f"no {event} {fields} within {within} s, but {self.events}\n{self.log.read_text()}"
        return found


class Api:
    """The console's API for a test, with a token."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of a good answer; fails with what came instead."""
        sent = urllib.request.Request(
            self.url + path, None if body is None else json.dumps(body).encode(), method=method
        )
        sent.add_header("Authorization", f"Bearer {self.token}")
        sent.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(sent, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()!r}") from None


class LossyProxy:
    """Stands before Oxy. After `lose(n)` it carries the next n writes there, and cuts the connection instead of answering."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url).netloc
        self._to_lose = 0
        self.lost = threading.Semaphore(0)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def lose(self, count: int) -> None:
        self._to_lose = count

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        behind = HTTPConnection(self._target, timeout=30)
        behind.request(request.command, request.path, body, dict(request.headers))
        answer = behind.getresponse()
        content = answer.read()
        behind.close()
        if request.command == "PATCH" and self._to_lose:
            self._to_lose -= 1
            self.lost.release()
            request.close_connection = True
            return
        request.send_response(answer.status)
        for name in ("Content-Type", "ETag"):
            if value := answer.headers.get(name):
                request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None: ...

            def do_GET(self) -> None:
                proxy._pass_on(self)

            do_POST = do_PATCH = do_DELETE = do_GET

        return Handler
