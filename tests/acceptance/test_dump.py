"""A dump of the database, taken while everything runs, brings every session back on a new server with new disks."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulator import Handset, Simulator
from tests import postgres
from tests.acceptance.stack import Stack, eventually

ANA, BIA = "5511987650001", "5511987650002"
START = """
from sessions_app.lifecycle import Command
from sessions_app.models import WhatsAppSession
for name in ("shop", "desk"):
    WhatsAppSession.objects.create(session_id=name, name=name).request(Command.START, by="test")
"""
CODES = """
import time
from sessions_app.models import WhatsAppSession
for name in ("shop", "desk"):
    while not (now := WhatsAppSession.objects.get(session_id=name).current_round) or not now.code:
        time.sleep(0.1)
    print("code", name, now.code)
"""
SEND = 'from sessions_app.models import WhatsAppSession as S; S.objects.get(session_id="shop").send_text("{}", "{}", by="test")'


def program(name: str) -> str:
    """The server's own pg_dump and psql, or the machine's."""
    own = postgres.find_binaries() / name
    return str(own) if own.exists() else shutil.which(name) or name


@contextmanager
def talking(phone: Handset, to: str) -> Iterator[None]:
    """The phone writes all the time, so that the dump is taken in the midst of something."""
    stop = threading.Event()

    def talk() -> None:
        number = 0
        while not stop.wait(0.05):
            number += 1
            phone.send_text(to, f"meanwhile {number}")

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def connected(stack: Stack) -> int:
    return int(stack.query("SELECT count(*) FROM sessions_app_whatsappsession WHERE status = 'CONNECTED'")[0][0])


def has(stack: Stack, text: str) -> bool:
    return bool(stack.query(f"SELECT 1 FROM sessions_app_message WHERE text = '{text}' AND direction = 'in'"))


@pytest.mark.only_postgresql
def test_a_dump_taken_at_any_moment_restores_every_session(sim: Simulator, tmp_path: Path) -> None:
    ana, bia, cid = sim.phone(ANA, name="Ana"), sim.phone(BIA, name="Bia"), sim.phone("5511987650003", name="Cid")
    (tmp_path / "one").mkdir(), (tmp_path / "two").mkdir()
    one, dump = Stack(tmp_path / "one", sim), tmp_path / "dump.sql"
    try:
        one.manage("migrate", "--verbosity", "0")
        one.start("worker")
        one.manage("shell", "-c", START)
        codes = dict(line.split()[1:] for line in one.manage("shell", "-c", CODES).splitlines() if line[:5] == "code ")
        ana.scan(codes["shop"])
        bia.scan(codes["desk"])
        eventually(lambda: connected(one) == 2, "both sessions")
        one.manage("shell", "-c", SEND.format(cid.number, "first"))
        cid.wait_for_text("first", timeout=20)
        with talking(cid, ANA):
            eventually(lambda: has(one, "meanwhile 5"), "messages")
            subprocess.run([program("pg_dump"), "--file", dump, "--no-owner", one._database], check=True, timeout=60)
        # Life goes on after the dump: what it holds of Signal sessions grows stale.
        for number in range(3):
            one.manage("shell", "-c", SEND.format(cid.number, f"after the dump {number}"))
        cid.wait_for_text("after the dump 2", timeout=20)
    finally:
        one.stop_all()
    one.wipe_live_stores()

    with postgres.server() as empty:
        two = Stack(tmp_path / "two", sim)
        two._database = empty.url
        command = [program("psql"), "--quiet", "--set", "ON_ERROR_STOP=1", "--file", dump, empty.url]
        subprocess.run(command, check=True, timeout=60, stdout=subprocess.DEVNULL)
        rounds = two.query("SELECT count(*) FROM sessions_app_pairinground")
        try:
            two.start("worker")
            eventually(lambda: "lease_acquired" in two.log("worker"), "the new host", 60)
            eventually(lambda: two.log("worker").count("source=vault") == 2 and connected(two) == 2, "both again", 60)
            two.manage("shell", "-c", SEND.format(cid.number, "from the restored one"))
            cid.wait_for_text("from the restored one", timeout=20)
            cid.send_text(ANA, "to the restored one")
            eventually(lambda: has(two, "to the restored one"), "the phone's message", 30)
            assert two.query("SELECT count(*) FROM sessions_app_pairinground") == rounds
            assert "database_was_restored" in two.log("worker")
        finally:
            two.stop_all()


def test_the_dumps_programs_are_there() -> None:
    """Where they are not, the test above could only fail in a way that nobody understands."""
    assert not os.environ.get("OXY_TEST_DATABASE_URL") or Path(program("pg_dump")).exists()
