"""generate_key, export_session and import_session."""

from __future__ import annotations

import base64
import json
import stat
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from sessions_app.hosting import lease
from sessions_app.hosting.keeper import Keeper
from sessions_app.models import Host, WhatsAppSession
from sessions_app.vault import bundle, store
from sessions_app.vault.live_store import LiveStore
from tests.integration import library
from tests.pages import button_names, page
from tests.rows import make_staff

pytest_plugins = ["tests.integration.live_stores"]
pytestmark = pytest.mark.django_db

OTHER_KEY = "YW5vdGhlci1rZXktYW5vdGhlci1rZXktYW5vdGhlci0="


def run(command: str, *arguments: object) -> str:
    out = StringIO()
    call_command(command, *map(str, arguments), stdout=out)
    return out.getvalue()


@pytest.fixture
def session(linked_store: LiveStore) -> WhatsAppSession:
    session = WhatsAppSession.objects.create(session_id="s1", name="Shop", owner="ana", lease_epoch=3)
    store.save_snapshot(session, 3, linked_store.snapshot())
    return session


@pytest.fixture
def exported(session: WhatsAppSession, tmp_path: Path) -> Path:
    run("export_session", "s1", tmp_path / "s1.oxy")
    return tmp_path / "s1.oxy"


def test_generate_key_prints_a_key_and_nothing_else() -> None:
    keys = [run("generate_key") for _ in range(2)]

    assert keys[0] != keys[1]
    assert all(len(base64.urlsafe_b64decode(key.strip())) == 32 for key in keys)


def test_a_session_is_carried_over_byte_for_byte(exported: Path, linked_store: LiveStore, tmp_path: Path) -> None:
    WhatsAppSession.objects.all().delete()

    run("import_session", exported)

    session = WhatsAppSession.objects.get(session_id="s1")
    assert (session.name, session.owner, session.desired) == ("Shop", "ana", WhatsAppSession.Desired.STOPPED)
    found = store.load(session)
    assert isinstance(found, store.Found)
    rebuilt = LiveStore.rebuild(tmp_path / "store.db", found.snapshot)
    assert library.dump(rebuilt.path) == library.dump(linked_store.path)


def test_a_session_can_be_imported_under_another_id(exported: Path, linked_store: LiveStore) -> None:
    run("import_session", exported, "--session-id", "s2")

    found = store.load(WhatsAppSession.objects.get(session_id="s2"))
    assert isinstance(found, store.Found)
    assert found.snapshot == linked_store.snapshot()


def test_an_exported_file_is_private_and_shows_no_secret(exported: Path, linked_store: LiveStore) -> None:
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    text = exported.read_text()
    assert json.loads(text)["keys"] == len(linked_store.snapshot().values)
    for name in ("noise", "identity", "pre1"):
        assert library.buffer(library.secret(name))["data"] not in text
    assert "noiseKey" not in text


def test_an_existing_file_is_never_overwritten(session: WhatsAppSession, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    with pytest.raises(CommandError, match="cannot be written"):
        run("export_session", "s1", tmp_path / "file")

    assert (tmp_path / "file").read_text() == "mine"


def test_a_running_session_is_not_exported(session: WhatsAppSession, tmp_path: Path) -> None:
    WhatsAppSession.objects.update(desired=WhatsAppSession.Desired.RUNNING)

    with pytest.raises(CommandError, match="Stop it first"):
        run("export_session", "s1", tmp_path / "file")


@pytest.mark.parametrize(("make", "sentence"), [(False, "no session"), (True, "nothing to export")])
def test_a_session_that_is_not_there_or_empty_is_not_exported(make: bool, sentence: str, tmp_path: Path) -> None:
    if make:
        WhatsAppSession.objects.create(session_id="s1", name="s1")

    with pytest.raises(CommandError, match=sentence):
        run("export_session", "s1", tmp_path / "file")

    assert not (tmp_path / "file").exists()


def test_a_linked_session_is_never_replaced(exported: Path, session: WhatsAppSession) -> None:
    before = WhatsAppSession.objects.values_list("creds", "lease_epoch").get()

    with pytest.raises(CommandError, match="linked to a phone already"):
        run("import_session", exported)

    assert WhatsAppSession.objects.values_list("creds", "lease_epoch").get() == before


def test_a_session_that_a_worker_has_is_not_imported_into(exported: Path, session: WhatsAppSession) -> None:
    store.clear(session, 3)
    WhatsAppSession.objects.update(lease_until=timezone.now() + timedelta(minutes=1))

    with pytest.raises(CommandError, match="A worker has this session"):
        run("import_session", exported)

    assert store.load(session) == store.Absent()


def test_an_import_ends_the_epoch_of_before(exported: Path, session: WhatsAppSession, linked_store: LiveStore) -> None:
    store.clear(session, 3)

    run("import_session", exported)

    with pytest.raises(store.LeaseLost):
        store.save_snapshot(session, 3, linked_store.snapshot())


def test_an_import_that_is_refused_leaves_no_session_behind(exported: Path) -> None:
    with pytest.raises(CommandError, match="Letters, digits"):
        run("import_session", exported, "--session-id", "../x")

    assert WhatsAppSession.objects.count() == 1


def test_another_encryption_key_does_not_open_a_file(exported: Path, settings: Any) -> None:
    settings.OXY_ENCRYPTION_KEYS = [OTHER_KEY]

    with pytest.raises(bundle.BadBundle, match="another encryption key"):
        bundle.read(exported.read_bytes())


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format": "oxy-session", "version": 9}', b"\xff\xfe"])
def test_a_file_that_is_no_export_is_refused(data: bytes) -> None:
    with pytest.raises(bundle.BadBundle, match="not an exported session"):
        bundle.read(data)


def test_a_file_with_another_session_id_does_not_open(exported: Path) -> None:
    record = json.loads(exported.read_bytes())

    with pytest.raises(bundle.BadBundle, match="damaged"):
        bundle.read(json.dumps({**record, "session_id": "s2"}).encode())


# --- in the console ---------------------------------------------------------------------


def test_staff_download_what_import_reads_and_the_timeline_says_who(
    client: Client, session: WhatsAppSession, linked_store: LiveStore
) -> None:
    client.force_login(make_staff())
    assert "Download" in button_names(page(client, "/sessions/s1/export"))

    response = client.post("/sessions/s1/export")

    assert bundle.read(response.content).snapshot == linked_store.snapshot()
    assert 'filename="s1.oxy-session.json"' in response["Content-Disposition"]
    event = session.events.get(kind="export")
    assert (event.actor, event.detail["bytes"]) == ("ana", len(response.content))


def test_an_imported_session_is_not_trusted_to_be_as_new_as_what_was_sent_since(exported: Path, tmp_path: Path) -> None:
    """Nothing says whether the exported session went on: its next messages would then go out under numbers that were used."""
    WhatsAppSession.objects.all().delete()
    run("import_session", exported)

    taken = lease.acquire(WhatsAppSession.objects.get(), Host.objects.create(name="host", pid=1))
    assert taken is not None
    keeper = Keeper(WhatsAppSession.objects.get(), taken, tmp_path)
    keeper.open()
    keeper.close()

    assert library.dump(keeper.path)["whatsmeow_sessions"] == []
