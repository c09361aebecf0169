"""A host whose process stands still for longer than its leases, beside one that lives: both are real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.utils import timezone

from sessions_app.lifecycle import Command, Status
from sessions_app.models import AuthBlob, Host, Message, PairingRound, SessionEvent, WhatsAppSession
from tests import processes
from tests.acceptance.stack import descendants
from tests.protocol.hosts import ask, eventually, fresh, pair, wait_for_status

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA = "5511987650001", "5511987650002"


@contextmanager
def worker(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A worker on a machine and a disk of its own; what it says is in `folder`.log."""
    over = {"OXY_TEST_MACHINE": folder.name, "WHATSAPP_SESSION_PATH": str(folder), "OXY_WORKERS": "1"}
    with folder.with_suffix(".log").open("wb") as log:
        command = [sys.executable, "-m", "tests.protocol.host_child"]
        process = subprocess.Popen(
            command, cwd=processes.ROOT, env=processes.environment(**over), stdout=log, stderr=log
        )
    try:
        eventually(lambda: Host.objects.filter(machine=folder.name).exists(), f"the host of {folder.name}", within=60)
        yield process
    finally:
        below = descendants(process.pid)
        for pid in [process.pid, *below]:
            _send(pid, signal.SIGKILL)
        process.wait()


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def holder(session: WhatsAppSession) -> str:
    host = fresh(session).lease_host
    return host.machine if host else ""


def vault(session: WhatsAppSession) -> tuple[object, dict[str, bytes]]:
    blobs = AuthBlob.objects.filter(session=session)
    return fresh(session).creds, {blob.data_key: bytes(blob.data_value) for blob in blobs}


@pytest.mark.parametrize("engines_too", [False, True], ids=["the host alone", "with its engines"])
def test_a_host_that_was_frozen_writes_nothing_says_so_and_had_let_go_before_another_took_over(
    sim, tmp_path, engines_too
):
    bia = sim.phone(BIA, name="Bia")
    session = WhatsAppSession.objects.create(session_id="shop", name="Shop")
    with worker(tmp_path / "one"):
        pair(session, sim.phone(ANA, name="Ana"))
        with worker(tmp_path / "two"):
            frozen = [Host.objects.get(machine="one").pid]
            frozen += descendants(frozen[0]) if engines_too else []
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            bia.send_text(ANA, "meanwhile")
            back = SessionEvent.objects.filter(session=session, kind="recovery", epoch=2)
            eventually(back.exists, "the session on the other host", within=60)
            assert holder(session) == "two"
            if engines_too:
                # Else it went to the engine of the frozen host, and waits on its disk.
                eventually(lambda: Message.objects.filter(text="meanwhile").exists(), "the message of meanwhile")
            ask(session, Command.STOP)
            wait_for_status(session, Status.STOPPED)
            before, thawed_at = vault(session), timezone.now()

            for pid in frozen[::-1]:
                _send(pid, signal.SIGCONT)

            said = tmp_path / "one.log"
            eventually(lambda: "lease_lost" in said.read_text(errors="replace"), "a word about the lost lease")
            eventually(lambda: Message.objects.filter(text="meanwhile").exists(), "the message of meanwhile")
            assert vault(session) == before
    assert Message.objects.filter(text="meanwhile").count() == 1
    assert not SessionEvent.objects.filter(session=session, epoch=1, at__gt=thawed_at).exists()
    assert fresh(session).status == Status.STOPPED
    assert sim.connections.overlaps(session.jid) == []
    assert PairingRound.objects.count() == 1
