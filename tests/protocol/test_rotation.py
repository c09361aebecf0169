"""Keys are rotated under a host that writes; what it leaves is readable with the new key alone, by a real client."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from sessions_app.lifecycle import Command, Status
from sessions_app.models import Backup, Message, WhatsAppSession
from sessions_app.vault import crypto, crypto_check, rotation
from simulator import Simulator
from tests.protocol.hosts import ask, eventually, pair, running_host, wait_for_status

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA = "5511987650001", "5511987650002"
NEW_KEY = "YW5vdGhlci1rZXktYW5vdGhlci1rZXktYW5vdGhlci0="


def received(text: str) -> bool:
    return Message.objects.filter(direction="in", text=text, status="received").exists()


def test_keys_are_rotated_under_a_host_that_writes_and_no_message_is_lost(
    sim: Simulator, tmp_path: Path, settings: Any
) -> None:
    ana, bia = sim.phone(ANA, name="Ana"), sim.phone(BIA, name="Bia")
    session = WhatsAppSession.objects.create(session_id="shop", name="Shop")
    texts = [f"number {n}" for n in range(12)]
    crypto_check.verify_or_exit()
    old = crypto.key_ids()[0]
    with running_host(tmp_path / "stores") as host:
        pair(session, ana)
        settings.OXY_ENCRYPTION_KEYS = [NEW_KEY, *settings.OXY_ENCRYPTION_KEYS]
        writer = threading.Thread(target=lambda: [bia.send_text(ANA, text) for text in texts])
        writer.start()
        first = rotation.rotate()
        writer.join()
        eventually(lambda: received(texts[-1]), "the last message of the burst")
        assert first.behind == [host.supervisor.host.name]
        ask(session, Command.BACKUP)
        backup = eventually(lambda: Backup.objects.filter(session=session).first(), "a comparison of store and vault")
        assert backup.differed == 0
    shutil.rmtree(tmp_path / "stores")
    crypto_check.verify_or_exit()
    second = rotation.rotate()
    assert (second.complete, second.retired) == (True, [old])
    settings.OXY_ENCRYPTION_KEYS = [NEW_KEY]

    with running_host(tmp_path / "stores"):
        wait_for_status(session, Status.CONNECTED)
        bia.send_text(ANA, "with the new key alone")
        eventually(lambda: received("with the new key alone"), "a message after the rotation")
        session.refresh_from_db()
        session.send_text(BIA, "and an answer", by="tester")
        bia.wait_for_text("and an answer", timeout=20)

    assert all(received(text) for text in texts)
