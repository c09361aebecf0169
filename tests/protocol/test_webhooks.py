"""From a phone to a webhook: a real host, the real library and the simulator on one end, a real HTTP server on the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django_q.models import OrmQ

from sessions_app import delivery, webhooks
from sessions_app.lifecycle import Command
from sessions_app.models import OutboxEvent, Webhook, WhatsAppSession
from tests.protocol.hosts import ask, eventually, pair, running_host
from tests.receivers import Receiver, receiver

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA = "5511987650001", "5511987650002"


class Worker:
    """What the queue's workers do with delivery tasks: look every half second, take one, run it."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.wait(0.5):
                if OrmQ.objects.all().delete()[0]:
                    delivery.deliver(budget=5.0, linger=0.0)
        finally:
            connections.close_all()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def hook(db: None, settings: Any) -> Iterator[Receiver]:
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = True
    with receiver() as running:
        webhooks.make(running.url, by="tests")
        worker = Worker()
        try:
            yield running
        finally:
            worker.stop()


def until(hook: Receiver, wanted: str, **data: Any) -> Any:
    """Take deliveries until this event with these fields comes."""
    while True:
        call = hook.next(30).json
        told = call["data"].get("session") or call["data"].get("message") or call["data"]
        if call["event"] == wanted and all(told[name] == value for name, value in data.items()):
            return told


def test_a_session_is_told_from_its_first_code_to_its_end(sim, hook, tmp_path):
    session = WhatsAppSession.objects.create(session_id="shop", name="Shop")
    bia = sim.phone(BIA, name="Bia")
    with running_host(tmp_path / "stores"):
        pair(session, sim.phone(ANA, name="Ana"))
        code = until(hook, "session.qr", index=1, of=6)
        assert code["url"] == "/api/sessions/shop/qr"
        assert set(code) == {"index", "of", "expires_at", "url"}
        assert until(hook, "session.status", status="CONNECTED")["phone"] == ANA

        began = time.monotonic()
        bia.send_text(ANA, "is the shop open?")
        message = until(hook, "message.received", text="is the shop open?")
        took = time.monotonic() - began
        assert (message["direction"], message["chat"]) == ("in", f"{BIA}@s.whatsapp.net")
        assert took < 5, f"{took:.1f} s from the phone to the webhook"

        sent = WhatsAppSession.objects.get(pk=session.pk).send_text(BIA, "until nine", by="tests")
        for status in ("sent", "delivered"):
            assert until(hook, "message.status", status=status)["id"] == str(sent.code)

        ask(session, Command.DELETE)
        assert until(hook, "session.deleted")["session_id"] == "shop"

    eventually(lambda: not WhatsAppSession.objects.exists(), "the row's end")
    numbers = [call.json["id"] for call in hook.calls]
    assert numbers == sorted(numbers)
    assert len(numbers) == len(set(numbers)) == OutboxEvent.objects.count()
    assert Webhook.objects.get().failing_since is None


def test_no_code_and_no_key_is_in_what_a_webhook_gets(sim, hook, tmp_path):
    session = WhatsAppSession.objects.create(session_id="shop", name="Shop")
    with running_host(tmp_path / "stores"):
        ask(session, Command.START)
        current = eventually(lambda: (now := session.rounds.first()) and now.code and now, "a code")
        code = current.code
        sim.phone(ANA, name="Ana").scan(code)
        until(hook, "session.status", status="CONNECTED")
    secrets = [part for part in code.removeprefix("2@").split(",") if len(part) > 20]
    assert len(secrets) >= 3
    everything = b"".join(call.body + repr(call.headers).encode() for call in hook.calls).decode()
    assert not [secret for secret in (*secrets, "noiseKey") if secret in everything]
