"""`import_session --from-baileys` and `--from-vault`; what runs afterwards is in tests/baileys/test_takeover.py."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from sessions_app.hosting import engines
from sessions_app.models import AuthBlob, WhatsAppSession
from sessions_app.vault import creds, foreign, store
from sessions_app.vault.live_store import LiveStore
from tests.unit.test_vault_baileys import FORMS, credentials, files, pattern

pytestmark = pytest.mark.django_db
STATE = files(credentials(), **{"pre-key-1.json": {"private": FORMS["buffer"](pattern(20))}})


def run(*arguments: object) -> str:
    out = StringIO()
    call_command("import_session", *map(str, arguments), stdout=out)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "auth"
    place.mkdir()
    for name, text in STATE.items():
        (place / name).write_text(text)
    return place


def check(session: WhatsAppSession, tmp_path: Path) -> None:
    """The vault holds the session in full, as a live store of the installed library shows it."""
    found = store.load(session)
    assert isinstance(found, store.Found)
    assert creds.to_devices(found.snapshot.creds or {})[0]["noise_key"] == pattern(1)
    assert "pre-key-1" in found.snapshot.values
    live = LiveStore.rebuild(tmp_path / "check" / "store.db", found.snapshot)
    assert live.snapshot() == found.snapshot
    live.close()
    assert len(store.compare(session, found.snapshot)) == 0


def test_a_folder_becomes_a_stopped_session(folder: Path, tmp_path: Path) -> None:
    said = run("--from-baileys", folder, "--session-id", "shop", "--owner", "acme")

    session = WhatsAppSession.objects.get()
    assert (session.session_id, session.owner, session.name) == ("shop", "acme", "Ana 🦊")
    assert (session.desired, session.has_creds) == ("stopped", True)
    assert "into shop" in said
    check(session, tmp_path)


@pytest.mark.parametrize("shape", ["plain", "answer"])
def test_one_file_with_all_of_them_does_too(shape: str, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text(json.dumps(STATE if shape == "plain" else {"session_data": STATE, "session_id": "x"}))

    run("--from-baileys", file, "--name", "Shop")

    session = WhatsAppSession.objects.get()
    assert session.name == "Shop"
    check(session, tmp_path)


def test_a_state_in_the_vault_becomes_a_session_and_stays_where_it_is(tmp_path: Path) -> None:
    foreign.replace("acme", "shop", STATE)

    run("--from-vault", "shop", "--owner", "acme")

    session = WhatsAppSession.objects.get(session_id="shop", owner="acme")
    check(session, tmp_path)
    assert foreign.read("acme", "shop")[1] == STATE


def test_a_session_that_is_linked_is_never_written_over(folder: Path) -> None:
    run("--from-baileys", folder, "--session-id", "shop")
    before = AuthBlob.objects.count()
    with pytest.raises(CommandError, match="linked to a phone already"):
        run("--from-baileys", folder, "--session-id", "shop")
    assert AuthBlob.objects.count() == before


def test_what_cannot_be_imported_is_said_and_leaves_no_session(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.json").write_text("not JSON")
    (tmp_path / "list.json").write_text('[{"creds.json": "{}"}]')
    (tmp_path / "other.json").write_text('{"creds.json": {"not": "a text"}}')
    foreign.replace("acme", "shop", STATE)
    for arguments, said in (
        (("--from-baileys", tmp_path / "empty"), r"There is no creds\.json"),
        (("--from-baileys", tmp_path / "nowhere"), "cannot be read"),
        (("--from-baileys", tmp_path / "text.json"), "not a JSON file"),
        (("--from-baileys", tmp_path / "list.json"), "not a JSON file"),
        (("--from-baileys", tmp_path / "other.json"), "not a JSON file"),
        (("--from-baileys", folder, "--session-id", "a/b"), "Letters, digits"),
        (("--from-vault", "shop"), "No Baileys state is stored"),
        ((), "required"),
    ):
        with pytest.raises(CommandError, match=said):
            run(*arguments)
    assert not WhatsAppSession.objects.exists()


def test_a_library_that_cannot_start_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines.sys, "executable", "/bin/false")
    with pytest.raises(CommandError, match="could not be started"):
        run("--from-baileys", folder)
    assert not WhatsAppSession.objects.exists()
