"""The fenced vault: what is saved is what is loaded, and nobody writes under an epoch that has passed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from sessions_app.models import AuthBlob, WhatsAppSession
from sessions_app.vault import keys, store
from sessions_app.vault.live_store import Changes, LiveStore, Snapshot
from tests.integration import library

pytest_plugins = ["tests.integration.live_stores"]
pytestmark = pytest.mark.django_db

OTHER_KEY = "YW5vdGhlci1rZXktYW5vdGhlci1rZXktYW5vdGhlci0="


def make_session(session_id: str = "s1", epoch: int = 3) -> WhatsAppSession:
    return WhatsAppSession.objects.create(session_id=session_id, name=session_id, lease_epoch=epoch)


def stored(session: WhatsAppSession) -> tuple[Any, ...]:
    """Everything that the database holds of a session's vault, as it lies there."""
    row = WhatsAppSession.objects.values_list("creds", "vault_epoch").get(pk=session.pk)
    blobs = (
        AuthBlob.objects.filter(session=session)
        .order_by("data_key")
        .values_list("data_key", "data_value", "updated_at")
    )
    return row, [(key, bytes(value), at) for key, value, at in blobs]


def loaded(session: WhatsAppSession) -> Snapshot:
    found = store.load(session)
    assert isinstance(found, store.Found), found
    return found.snapshot


# --- there and back -------------------------------------------------------------------


def test_a_saved_store_comes_back_byte_for_byte(linked_store: LiveStore, tmp_path: Path) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())

    rebuilt = LiveStore.rebuild(tmp_path / "store.db", loaded(session))

    assert library.dump(rebuilt.path) == library.dump(linked_store.path)


def test_text_that_is_not_utf8_survives_in_creds_and_in_blobs(linked_store: LiveStore, tmp_path: Path) -> None:
    library.execute(
        linked_store.path,
        "UPDATE whatsmeow_device SET push_name = CAST(x'6100ff62' AS TEXT), platform = CAST(x'edb280' AS TEXT)",
        "UPDATE whatsmeow_contacts SET push_name = CAST(x'00c328' AS TEXT)",
        "UPDATE whatsmeow_lid_map SET lid = CAST(x'31ff' AS TEXT)",
    )
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())

    rebuilt = LiveStore.rebuild(tmp_path / "store.db", loaded(session))

    assert library.dump(rebuilt.path) == library.dump(linked_store.path)


def test_changes_written_through_leave_no_difference(linked_store: LiveStore) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    library.execute(
        linked_store.path,
        "UPDATE whatsmeow_sessions SET session = x'0102'",
        "DELETE FROM whatsmeow_pre_keys WHERE key_id < 9",
        "UPDATE whatsmeow_device SET push_name = 'Bea'",
    )

    store.save(session, 3, linked_store.read_changes())

    assert len(store.compare(session, linked_store.snapshot())) == 0
    assert loaded(session) == linked_store.snapshot()


def test_complete_changes_remove_every_other_key(linked_store: LiveStore) -> None:
    session = make_session()
    snapshot = linked_store.snapshot()
    old = keys.encode("whatsmeow_gone", [{"a": 1}])
    store.save_snapshot(session, 3, Snapshot(snapshot.creds, {**snapshot.values, "row-whatsmeow_gone,1": old}))
    values: dict[str, bytes | None] = {**snapshot.values}

    store.save(session, 3, Changes(upto=1, values=values, creds=snapshot.creds, complete=True))

    assert loaded(session) == snapshot


def test_a_session_without_anything_is_absent(linked_store: LiveStore) -> None:
    assert store.load(make_session()) == store.Absent()


def test_clearing_leaves_nothing_and_is_fenced(linked_store: LiveStore) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    before = stored(session)

    with pytest.raises(store.LeaseLost):
        store.clear(session, 2)
    assert stored(session) == before

    store.clear(session, 3)
    assert store.load(session) == store.Absent()
    assert store.size(session) == (0, 0)


def test_size_counts_keys_and_bytes(linked_store: LiveStore) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())

    count, size = store.size(session)

    assert count == len(linked_store.snapshot().values)
    assert size == sum(len(value) for _, value, _ in stored(session)[1])


# --- the fence --------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [2, 4])
def test_a_writer_of_another_epoch_writes_nothing(linked_store: LiveStore, epoch: int) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    before = stored(session)
    library.execute(linked_store.path, "DELETE FROM whatsmeow_pre_keys", "UPDATE whatsmeow_device SET push_name = 'x'")

    with pytest.raises(store.LeaseLost):
        store.save(session, epoch, linked_store.read_changes())
    with pytest.raises(store.LeaseLost):
        store.save_snapshot(session, epoch, linked_store.snapshot())

    assert stored(session) == before


def test_the_epoch_of_the_row_counts_and_not_that_of_the_object(linked_store: LiveStore) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    WhatsAppSession.objects.update(lease_epoch=4)
    library.execute(linked_store.path, "DELETE FROM whatsmeow_pre_keys")

    with pytest.raises(store.LeaseLost):
        store.save(session, session.lease_epoch, linked_store.read_changes())


def test_a_deletion_by_the_library_is_never_mirrored(linked_store: LiveStore) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    before = stored(session)
    library.execute(linked_store.path, "DELETE FROM whatsmeow_device")

    with pytest.raises(store.DeviceDeleted):
        store.save(session, 3, linked_store.read_changes())

    assert stored(session) == before


def test_keys_without_credentials_are_not_written_into_an_empty_vault(linked_store: LiveStore) -> None:
    session = make_session()
    library.execute(
        linked_store.path,
        "DELETE FROM whatsmeow_pre_keys WHERE key_id = 1",
        "UPDATE whatsmeow_nct_salt SET salt = x'01'",
    )

    with pytest.raises(store.NoCredentials):
        store.save(session, 3, linked_store.read_changes())

    assert store.load(session) == store.Absent()


def test_no_changes_touch_the_database_not_at_all(linked_store: LiveStore) -> None:
    session = make_session()

    with CaptureQueriesContext(connection) as queries:
        store.save(session, 3, linked_store.read_changes())

    assert len(queries) == 0


def test_an_error_in_the_middle_writes_nothing(linked_store: LiveStore) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    before = stored(session)
    library.execute(
        linked_store.path, "DELETE FROM whatsmeow_pre_keys", "UPDATE whatsmeow_sessions SET session = x'01'"
    )

    def fail(execute: Any, sql: str, *rest: Any) -> Any:
        if sql.startswith("DELETE"):
            raise DatabaseError("the connection is gone")
        return execute(sql, *rest)

    with connection.execute_wrapper(fail), pytest.raises(DatabaseError):
        store.save(session, 3, linked_store.read_changes())

    assert stored(session) == before


# --- what cannot be read -----------------------------------------------------------------


def test_a_wrong_key_is_unreadable_and_names_no_secret(linked_store: LiveStore, settings: Any) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    settings.OXY_ENCRYPTION_KEYS = [OTHER_KEY]

    found = store.load(session)

    assert isinstance(found, store.Unreadable)
    assert "not in OXY_ENCRYPTION_KEYS" in found.sentence


def test_a_new_key_in_front_reads_what_the_old_one_wrote(linked_store: LiveStore, settings: Any) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    settings.OXY_ENCRYPTION_KEYS = [OTHER_KEY, *settings.OXY_ENCRYPTION_KEYS]

    assert loaded(session) == linked_store.snapshot()


def test_blobs_swapped_between_two_sessions_are_refused(linked_store: LiveStore) -> None:
    one, two = make_session("s1"), make_session("s2")
    for session in (one, two):
        store.save_snapshot(session, 3, linked_store.snapshot())
    foreign = AuthBlob.objects.get(session=two, data_key="pre-key-17")
    AuthBlob.objects.filter(session=one, data_key="pre-key-17").update(data_value=foreign.data_value)

    found = store.load(one)

    assert isinstance(found, store.Unreadable)
    assert "pre-key-17" in found.sentence


def test_blobs_swapped_within_a_session_are_refused(linked_store: LiveStore) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    other = AuthBlob.objects.get(session=session, data_key="pre-key-18")
    AuthBlob.objects.filter(session=session, data_key="pre-key-17").update(data_value=other.data_value)

    assert isinstance(store.load(session), store.Unreadable)


@pytest.mark.parametrize("damage", ["a blob", "an empty blob", "no creds", "creds of another form", "no schema"])
def test_a_broken_vault_is_unreadable_and_never_absent(linked_store: LiveStore, damage: str) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    blob = AuthBlob.objects.get(session=session, data_key="pre-key-1")
    row = WhatsAppSession.objects.filter(pk=session.pk)
    if damage == "a blob":
        AuthBlob.objects.filter(pk=blob.pk).update(data_value=library.damaged(bytes(blob.data_value)))
    elif damage == "an empty blob":
        AuthBlob.objects.filter(pk=blob.pk).update(data_value=b"")
    elif damage == "no creds":
        row.update(creds=None)
    elif damage == "creds of another form":
        row.update(creds=["?"])
    else:
        AuthBlob.objects.filter(session=session, data_key=keys.SCHEMA_KEY).delete()

    assert isinstance(store.load(session), store.Unreadable)


def test_a_database_that_fails_is_raised_as_it_is() -> None:
    session = make_session()

    def fail(*_: Any) -> Any:
        raise DatabaseError("the connection is gone")

    with connection.execute_wrapper(fail), pytest.raises(DatabaseError):
        store.load(session)


def test_no_private_key_is_readable_in_the_database(linked_store: LiveStore) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())

    text = repr(stored(session))

    for name in ("noise", "identity", "signed", "adv", "pre17", "session"):
        assert library.buffer(library.secret(name))["data"][:40] not in text
        assert repr(library.secret(name)[:16])[2:-1] not in text


# --- compare -------------------------------------------------------------------------------


def test_compare_names_what_the_vault_lacks_has_otherwise_and_has_too_much(linked_store: LiveStore) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    library.execute(
        linked_store.path,
        "DELETE FROM whatsmeow_pre_keys WHERE key_id = 1",
        "UPDATE whatsmeow_pre_keys SET uploaded = 1 - uploaded WHERE key_id = 2",
        "INSERT INTO whatsmeow_lid_map VALUES ('5', '6')",
        "UPDATE whatsmeow_device SET platform = 'iphone'",
    )
    snapshot, before = linked_store.snapshot(), stored(session)

    found = store.compare(session, snapshot)

    assert found == store.Difference(["lid-mapping-5"], ["creds", "pre-key-2"], ["pre-key-1"])
    assert len(found) == 4
    assert stored(session) == before
    assert store.save_snapshot(session, 3, snapshot) == found
    assert len(store.compare(session, snapshot)) == 0


def test_compare_takes_an_unreadable_value_for_a_different_one(linked_store: LiveStore) -> None:
    session = make_session()
    store.save_snapshot(session, 3, linked_store.snapshot())
    AuthBlob.objects.filter(session=session, data_key="pre-key-1").update(data_value=b"?")

    assert store.compare(session, linked_store.snapshot()).different == ["pre-key-1"]


# --- other processes ----------------------------------------------------------------------------

_CHILD = """
import os, signal, sys
import django
django.setup()
from django.db import connection
from django.core.management import call_command
if sys.argv[1] == "migrate":
    call_command("migrate", verbosity=0)
from sessions_app.models import AuthBlob, WhatsAppSession
from sessions_app.vault import keys, store
from sessions_app.vault.live_store import Changes, Snapshot

def rows(count, size):
    return {f"pre-key-{n}": keys.encode("whatsmeow_pre_keys", [{"key_id": n, "key": bytes(size)}]) for n in range(count)}

session, _ = WhatsAppSession.objects.get_or_create(session_id="killed", defaults={"name": "killed", "lease_epoch": 1})
if sys.argv[1] == "migrate":
    store.save_snapshot(session, 1, Snapshot({"platform": "old"}, {keys.SCHEMA_KEY: b"{}", **rows(300, 1)}))
    sys.exit()
if sys.argv[1] == "take":
    print("taking", flush=True)
    WhatsAppSession.objects.filter(pk=session.pk).update(lease_epoch=2)
    print("taken", flush=True)
    sys.exit()
if sys.argv[1] == "look":
    found = store.load(session).snapshot
    del found.values[keys.SCHEMA_KEY]
    sizes = {len(keys.decode(value)[1][0]["key"]) for value in found.values.values()}
    print(found.creds["platform"], len(found.values), sizes)
    sys.exit()

def die(execute, sql, *rest):
    result = execute(sql, *rest)
    if sql.startswith(sys.argv[2]):
        if sys.argv[1] == "pause":
            print("writing", flush=True)
            sys.stdin.readline()
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return result

with connection.execute_wrapper(die):
    store.save(session, 1, Changes(upto=1, values={**rows(290, 2), "pre-key-299": None}, creds={"platform": "new"}))
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process of its own on the same database, with the arguments that `_CHILD` takes."""
    started: list[subprocess.Popen[str]] = []
    environment = {**os.environ, "DATABASE_URL": _url_for_children(tmp_path), "DJANGO_SETTINGS_MODULE": "oxy.settings"}

    def start(*arguments: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", _CHILD, *arguments], env=environment, stdin=pipe, stdout=pipe, text=True
            )
        )
        return started[-1]

    assert start("migrate").wait(60) == 0
    yield start
    for process in started:
        process.kill()
        process.communicate()


def _url_for_children(tmp_path: Path) -> str:
    """The test database of a server; SQLite's lies in memory, so that children get a file of their own."""
    if connection.vendor == "sqlite":
        return f"sqlite:///{tmp_path / 'oxy.sqlite3'}"
    config = connection.settings_dict
    return f"postgres://{config['USER']}:{config['PASSWORD']}@{config['HOST']}:{config['PORT']}/{config['NAME']}"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("moment", ["UPDATE", "INSERT", "DELETE"])
def test_a_kill_in_the_middle_of_a_save_leaves_the_old_state(
    child: Callable[..., subprocess.Popen[str]], moment: str
) -> None:
    assert child("save", moment).wait(60) == -signal.SIGKILL

    assert child("look").communicate(timeout=60)[0] == "old 300 {1}\n"
    assert child("save", "never").wait(60) == 0
    assert child("look").communicate(timeout=60)[0] == "new 299 {1, 2}\n"


@pytest.mark.django_db(transaction=True)
def test_a_host_that_takes_the_lease_waits_for_a_save_in_progress(child: Callable[..., subprocess.Popen[str]]) -> None:
    saving = child("pause", "INSERT")
    assert saving.stdin and saving.stdout
    assert saving.stdout.readline() == "writing\n"
    taking = child("take")
    assert taking.stdout
    assert taking.stdout.readline() == "taking\n"

    with pytest.raises(subprocess.TimeoutExpired):
        taking.wait(1)  # it cannot get through before the commit
    saving.communicate("\n", timeout=60)

    assert saving.returncode == 0
    assert taking.stdout.readline() == "taken\n"
    assert child("save", "never").wait(60) != 0
    assert child("look").communicate(timeout=60)[0] == "new 299 {1, 2}\n"
