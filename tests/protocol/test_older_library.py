"""An upgrade of the library: a session that a real older version had saved is restored, migrated, and goes on without a scan."""

from __future__ import annotations

import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import timezone

from sessions_app.hosting import lease
from sessions_app.lifecycle import Status
from sessions_app.models import Message, PairingRound, WhatsAppSession
from sessions_app.vault import keys, store
from sessions_app.vault.live_store import LiveStore
from simulator import Simulator
from tests.protocol.hosts import eventually, running_host, wait_for_status
from tests.protocol.record_older import ANA, BIA, FOLDER, STATE, STORE
from tests.rows import make_host
from tests.simulated import simulated

pytestmark = pytest.mark.django_db(transaction=True)
#: Of the library's schema in each recording, and of the present one.
VERSIONS = {"0.3.10": 6, "0.3.14.post0": 11}


@pytest.fixture(params=VERSIONS)
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The recording, unpacked."""
    folder = tmp_path / "recording"
    with tarfile.open(FOLDER / f"neonize-{request.param}.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    with sqlite3.connect(folder / STORE) as connection:
        assert connection.execute("SELECT version FROM whatsmeow_version").fetchone() == (VERSIONS[request.param],)
    connection.close()
    return folder


@pytest.fixture
def sim(older: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    state = older.parent / "simulator"
    state.mkdir()
    for path in older.glob(f"{STATE}*"):
        path.rename(state / path.name)
    with simulated(state, monkeypatch) as running:
        yield running


def saved_by_the_older_release(older: Path) -> WhatsAppSession:
    """As it left the session when it was told to stop for the upgrade."""
    session = WhatsAppSession.objects.create(
        session_id="shop", name="Shop", desired="running", status=Status.WAITING, paired_at=timezone.now()
    )
    host = make_host(name="older")
    held = lease.acquire(session, host)
    assert held
    store.save_snapshot(session, held.epoch, LiveStore(older / STORE).snapshot())
    lease.release(held, host, clean=True)
    host.delete()
    return session


def schema_in_vault(session: WhatsAppSession) -> int:
    found = store.load(session)
    assert isinstance(found, store.Found)
    return int(str(keys.Schema.decode(found.snapshot.values[keys.SCHEMA_KEY]).version[0]["version"]))


def test_a_session_of_an_older_library_goes_on_without_a_scan(older: Path, sim: Simulator, tmp_path: Path) -> None:
    session = saved_by_the_older_release(older)
    before = schema_in_vault(session)
    bia = sim.phone(BIA, name="Bia")
    bia.send_text(ANA, "while it was upgraded")

    with running_host(tmp_path / "live"):
        wait_for_status(session, Status.CONNECTED)
        eventually(lambda: Message.objects.filter(text="while it was upgraded").exists(), "what came meanwhile")
        session.send_text(BIA, "from the new release", by="tester")
        bia.wait_for_text("from the new release", timeout=20)
        bia.send_text(ANA, "to the new release")
        eventually(lambda: Message.objects.filter(text="to the new release").exists(), "a message to the new release")
        eventually(lambda: schema_in_vault(session) > max(before, 14), "the migrated store in the vault")

    assert not PairingRound.objects.exists()
    assert [line.error for line in bia.inbox if line.text is None] == []
