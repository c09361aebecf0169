"""The receivers and the client of docs/examples, run as they are, against the real delivery and the real socket."""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import transaction

from sessions_app import delivery, outbound, webhooks
from sessions_app.models import (
    ApiToken,
    EventName,
    OutboxEvent,
    Scope,
    Webhook,
    WebhookDelivery,
    WhatsAppSession,
)
from tests import node
from tests.postgres import free_port
from tests.processes import ROOT, environment
from tests.protocol.hosts import eventually
from tests.rows import make_session

pytestmark = pytest.mark.django_db(transaction=True)
EXAMPLES = ROOT / "docs" / "examples"
PATIENCE = 20.0


class Example:
    """A running example; `line()` waits for the next line that it prints."""

    def __init__(self, command: list[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            sys.stdout.write(line)  # pytest shows it where a test fails
            self._lines.put(line.strip())

    def line(self) -> str:
        return self._lines.get(timeout=PATIENCE)

    @property
    def silent(self) -> bool:
        return self._lines.empty()


@contextmanager
def running(command: list[str], **environment: str) -> Iterator[Example]:
    example = Example(command, **environment)
    try:
        yield example
    finally:
        example.process.terminate()
        example.process.wait(10)
        if example.process.stdout:
            example.process.stdout.close()


@pytest.fixture(params=["py", "mjs"])
def command(request: pytest.FixtureRequest) -> list[str]:
    program = sys.executable if request.param == "py" else node.ensure().node
    return [program, str(EXAMPLES / f"webhook_receiver.{request.param}")]


@pytest.fixture
def session(settings: Any) -> WhatsAppSession:
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = True
    return make_session(session_id="shop")


def happen(session: WhatsAppSession) -> None:
    with transaction.atomic():
        OutboxEvent.write(session, EventName.SESSION_QR, {"text": "ação · 通知 · \u2028"})


def test_a_receiver_takes_what_oxy_signs_once_and_nothing_else(command, session):
    webhook = Webhook(url="http://127.0.0.1/", events=["*"])
    secret = webhook.rotate()
    with running(command, OXY_WEBHOOK_SECRET=secret, PORT="0") as example:
        webhook.url = f"http://127.0.0.1:{int(example.line().removeprefix('listening on '))}/"
        webhook.save()

        happen(session)
        delivery.deliver(linger=0)
        assert example.line() == "1 session.qr shop"

        # The same delivery once more, as after a lost answer.
        WebhookDelivery.objects.update(status=WebhookDelivery.State.PENDING)
        webhooks.send_again(WebhookDelivery.objects.get())
        delivery.deliver(linger=0)
        assert WebhookDelivery.objects.get().attempts == 2

        body = webhooks.body_of(OutboxEvent.objects.get())
        now = int(time.time())
        forgeries = {
            "another secret": webhooks.signature("whsec_other", body, now),
            "an old time": webhooks.signature(secret, body, now - 3600),
            "nothing": "",
            "nonsense": "t=x,v1",
            "another body": webhooks.signature(secret, body + b" ", now),
        }
        with outbound.Client() as client:
            for what, forged in forgeries.items():
                headers = {"X-Oxy-Signature": forged, "X-Oxy-Delivery": what}
                assert client.post(webhook.url, headers, body).status == 401, what

        webhooks.rotate(webhook)
        happen(session)
        delivery.deliver(linger=0)
        assert WebhookDelivery.objects.latest("pk").response_status == 401
        assert example.silent


@contextmanager
def daphne(port: int) -> Iterator[None]:
    """A real web process on the test's database."""
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "oxy.asgi:application"]
    with running(command, **environment()):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < end, "Daphne did not start"
                time.sleep(0.05)
        yield


def test_a_client_of_the_socket_misses_nothing_over_its_own_end_and_the_servers(session, tmp_path):
    port = free_port()
    __, token = ApiToken.issue("program", by="tests", scopes=[Scope.READ])
    place = tmp_path / "last-id.txt"
    command = [sys.executable, str(EXAMPLES / "event_socket.py"), str(place)]
    known = {"OXY_URL": f"ws://127.0.0.1:{port}/ws/events", "OXY_TOKEN": token}

    with daphne(port):
        with running(command, **known) as example:
            eventually(place.exists, "the first `ready`")
            happen(session)
            assert example.line() == "1 session.qr shop"
            eventually(lambda: place.read_text() == "1", "the stored id")
        happen(session)
        happen(session)
        with running(command, **known) as example:
            assert [example.line(), example.line()] == ["2 session.qr shop", "3 session.qr shop"]
            eventually(lambda: place.read_text() == "3", "the stored id")

    with running(command, **known) as example:  # nobody is there yet: it comes back by itself
        happen(session)
        with daphne(port):
            assert example.line() == "4 session.qr shop"

    with daphne(port), running(command, **(known | {"OXY_TOKEN": "oxy_wrong"})) as example:
        assert example.line() == "refused: 4401"


def test_the_examples_are_those_that_the_documentation_names():
    text = (ROOT / "docs" / "webhooks.md").read_text()
    for name in ("webhook_receiver.py", "webhook_receiver.mjs", "event_socket.py"):
        assert (EXAMPLES / name).exists()
        assert f"(examples/{name})" in text
    for name in EventName.values:
        assert f"| `{name}` |" in text
