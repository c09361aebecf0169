"""The worker's command: what it refuses, and one life of the real host."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection

from sessions_app.broadcast import ALL_SESSIONS
from sessions_app.hosting import neighbours
from sessions_app.management.commands import runhost
from sessions_app.models import Host
from sessions_app.vault import crypto_check
from tests import processes
from tests.integration.test_channel_layer import join, layer, next_message
from tests.rows import make_host

__all__ = ["layer"]

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 30.0


def start(**over: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "runhost"],
        env=processes.environment(**over),
        cwd=processes.ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def expect_refusal(**over: str) -> str:
    """The one line that it says before it ends with status 1."""
    process = start(**over)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert said.count("\n") == 1
    return said


def test_other_keys_than_the_database_was_written_with_are_refused() -> None:
    crypto_check.verify_or_exit()

    said = expect_refusal(OXY_ENCRYPTION_KEYS=base64.urlsafe_b64encode(b"another" + bytes(25)).decode())

    assert said.startswith("oxy: ")
    assert "OXY_ENCRYPTION_KEYS" in said


def test_a_database_without_tables_is_refused(tmp_path: Path) -> None:
    said = expect_refusal(DATABASE_URL=f"sqlite:///{tmp_path / 'empty.sqlite3'}")

    assert said == "oxy: The database is not migrated. Run: python manage.py migrate\n"


def test_a_database_that_stays_away_is_refused_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runhost, "DATABASE_PATIENCE", 0.3)
    monkeypatch.setattr(runhost, "TRY_EVERY", 0.1)
    tries: list[int] = []

    def refuse() -> None:
        tries.append(1)
        raise OperationalError("fe_sendauth: no password supplied for oxy@db")

    monkeypatch.setattr(connection, "ensure_connection", refuse)

    with pytest.raises(SystemExit) as raised:
        call_command("runhost")

    assert "could not be reached" in str(raised.value)
    assert "password" not in str(raised.value)
    assert len(tries) > 1


async def test_the_real_host_registers_tells_the_pages_and_leaves(layer: object, tmp_path: Path) -> None:
    channel = await join(layer, ALL_SESSIONS)

    process = start(WHATSAPP_SESSION_PATH=str(tmp_path), OXY_WORKERS="2")
    try:
        await next_message(layer, channel)
        host = await Host.objects.aget()
        assert host.session_path == str(tmp_path)

        process.send_signal(signal.SIGTERM)
        while await Host.objects.aexists():
            await next_message(layer, channel)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def beating() -> str | int | None:
    with pytest.raises(SystemExit) as raised:
        call_command("runhost", "--beating")
    return raised.value.code


def test_a_containers_health_check_asks_for_a_host_of_this_machine() -> None:
    make_host(name="elsewhere", machine="another")
    assert beating() == "oxy: No worker on this machine is beating."
    make_host(name="here", machine=neighbours.machine())
    assert beating() is None


def test_a_health_check_without_a_database_fails_with_a_sentence() -> None:
    def fail(*_: object) -> None:
        raise OperationalError("password=hidden")

    with connection.execute_wrapper(fail):
        assert beating() == "oxy: The database cannot be reached (OperationalError)."
