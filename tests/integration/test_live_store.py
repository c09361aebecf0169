"""The live store from outside: journal, rebuild, what is forgotten after an unclean end; on the real library's schema."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from sessions_app.vault import advance, keys
from sessions_app.vault.live_store import LiveStore, Snapshot
from sessions_app.vault.rows import BadSnapshot
from tests.integration import library

pytest_plugins = ["tests.integration.live_stores"]

OLDER = Path(__file__).parent / "data" / "live-store-schema-9.json"


def apply(values: dict[str, bytes], changes: dict[str, bytes | None]) -> dict[str, bytes]:
    """What a vault holds after it has taken changes."""
    merged = {**values, **changes}
    return {key: value for key, value in merged.items() if value is not None}


# --- rebuild ------------------------------------------------------------------------


def test_every_table_of_the_library_is_filled_by_these_tests(linked_store: LiveStore) -> None:
    assert [name for name, rows in library.dump(linked_store.path).items() if not rows] == []


def test_a_rebuilt_store_equals_the_old_one_byte_for_byte(linked_store: LiveStore, tmp_path: Path) -> None:
    rebuilt = LiveStore.rebuild(tmp_path / "new" / "store.db", linked_store.snapshot())

    assert library.dump(rebuilt.path) == library.dump(linked_store.path)
    assert library.schema(rebuilt.path) == library.schema(linked_store.path)
    assert rebuilt.snapshot() == linked_store.snapshot()
    assert rebuilt.check() == ""


def test_the_library_takes_a_rebuilt_store_and_changes_nothing_in_it(linked_store: LiveStore, tmp_path: Path) -> None:
    rebuilt = LiveStore.rebuild(tmp_path / "store.db", linked_store.snapshot())

    assert library.prepare(rebuilt.path) == 1
    rebuilt.install_journal()
    assert not rebuilt.read_changes()
    assert rebuilt.snapshot() == linked_store.snapshot()


def test_a_store_of_an_older_library_is_rebuilt_as_it_was_and_migrated_by_the_library(tmp_path: Path) -> None:
    old = LiveStore.create(tmp_path / "old" / "store.db")
    schema = keys.Schema.decode(OLDER.read_bytes())
    library.execute(old.path, *schema.statements, "INSERT INTO whatsmeow_version (version, compat) VALUES (9, 8)")
    library.insert(old.path, {"whatsmeow_device": [library.device()], **library.rows()})
    snapshot = old.snapshot()
    rebuilt = LiveStore.rebuild(tmp_path / "new" / "store.db", snapshot)
    assert library.dump(rebuilt.path) == library.dump(old.path)
    assert library.schema(rebuilt.path) == library.schema(old.path)

    assert library.prepare(rebuilt.path) == 1
    rebuilt.install_journal()
    changes = rebuilt.read_changes()

    # The migrated store is a new whole: what the vault then holds is exactly what the file holds.
    assert changes.complete
    assert changes.values == rebuilt.snapshot().values
    assert keys.Schema.decode(changes.values[keys.SCHEMA_KEY] or b"").version[0]["version"] != 9
    assert changes.creds is not None
    assert changes.creds["me"] == (snapshot.creds or {})["me"]
    assert "companion_meta_nonce" in changes.creds["whatsmeow"]


def test_rebuilding_replaces_the_file_that_a_killed_process_left_with_its_log(
    linked_store: LiveStore, tmp_path: Path
) -> None:
    snapshot = linked_store.snapshot()
    library.execute(linked_store.path, "UPDATE whatsmeow_sessions SET session = x'bad0'")
    path = tmp_path / "s" / "store.db"
    path.parent.mkdir()
    for suffix in ("", "-wal", "-shm"):  # the store is open: this is what lies on the disk after a kill
        shutil.copy(f"{linked_store.path}{suffix}", f"{path}{suffix}")
    assert Path(f"{path}-wal").stat().st_size > 0
    Path(f"{path}-journal").write_bytes(b"of an even older file")
    path.with_name(".store.db.new").write_bytes(b"of a rebuild that was killed")

    rebuilt = LiveStore.rebuild(path, snapshot)

    assert rebuilt.snapshot() == snapshot
    assert rebuilt.check() == ""
    assert {file.name for file in path.parent.iterdir()} <= {"store.db", "store.db-wal", "store.db-shm"}


def test_files_are_readable_by_their_owner_alone(linked_store: LiveStore, tmp_path: Path) -> None:
    rebuilt = LiveStore.rebuild(tmp_path / "s" / "store.db", linked_store.snapshot())
    created = LiveStore.create(tmp_path / "c" / "store.db")

    for store in (rebuilt, created):
        store.install_journal(epoch=1)
        assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in store.path.parent.iterdir()} == {0o600}


def test_both_ways_of_making_a_file_give_one_in_wal_mode(linked_store: LiveStore, tmp_path: Path) -> None:
    rebuilt = LiveStore.rebuild(tmp_path / "s" / "store.db", linked_store.snapshot())
    created = LiveStore.create(tmp_path / "c" / "store.db")
    library.prepare(created.path)

    for path in (rebuilt.path, created.path):
        connection = sqlite3.connect(path)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()


@pytest.mark.parametrize("broken", ["no schema", "row of no table", "row without its columns", "not rows", "no device"])
def test_a_snapshot_that_fits_no_store_leaves_the_old_file_alone(linked_store: LiveStore, broken: str) -> None:
    good = linked_store.snapshot()
    before = library.dump(linked_store.path)
    values, creds = dict(good.values), dict(good.creds or {})
    if broken == "no schema":
        del values[keys.SCHEMA_KEY]
    elif broken == "row of no table":
        values["row-x,1"] = keys.encode("x", [{"a": 1}])
    elif broken == "row without its columns":
        values["pre-key-1"] = keys.encode("whatsmeow_pre_keys", [{"nothing": 1}])
    elif broken == "not rows":
        values["pre-key-1"] = b"?"
    else:
        creds = {"registrationId": 5}
    linked_store.close()

    with pytest.raises(BadSnapshot):
        LiveStore.rebuild(linked_store.path, Snapshot(creds, values))

    assert library.dump(linked_store.path) == before


# --- the journal --------------------------------------------------------------------


def test_nothing_is_reported_before_a_phone_is_linked(empty_store: LiveStore) -> None:
    library.insert(empty_store.path, {"whatsmeow_lid_map": [{"lid": "1", "pn": "2"}]})

    assert not empty_store.read_changes()


def test_the_first_changes_after_linking_are_the_whole_store(empty_store: LiveStore) -> None:
    library.insert(empty_store.path, {"whatsmeow_lid_map": [{"lid": "1", "pn": "2"}]})
    library.insert(empty_store.path, {"whatsmeow_device": [library.device()]})

    changes = empty_store.read_changes(limit=1)

    assert changes.complete
    assert changes.creds == empty_store.snapshot().creds
    assert changes.values.keys() == {keys.SCHEMA_KEY, "lid-mapping-1"}


CHANGES = [
    "UPDATE whatsmeow_sessions SET session = x'010203' WHERE their_id LIKE '1111%'",
    "UPDATE whatsmeow_sessions SET session = NULL",
    "UPDATE whatsmeow_sessions SET their_id = 'moved:' || rowid WHERE their_id LIKE '1111%'",
    "UPDATE whatsmeow_pre_keys SET uploaded = 1",
    "DELETE FROM whatsmeow_pre_keys WHERE key_id < 10",
    "DELETE FROM whatsmeow_app_state_version",  # its MACs go with it by cascade
    "UPDATE whatsmeow_contacts SET push_name = CAST(x'c328ff' AS TEXT)",
    "INSERT INTO whatsmeow_contacts (our_jid, their_jid) SELECT our_jid, CAST(x'ff00' AS TEXT) FROM whatsmeow_contacts LIMIT 1",
    "INSERT INTO whatsmeow_lid_map VALUES ('5', '6') ON CONFLICT (lid) DO UPDATE SET pn = excluded.pn",
    "INSERT INTO whatsmeow_lid_map VALUES ('11112222333344', '6') ON CONFLICT (lid) DO UPDATE SET pn = excluded.pn",
    "UPDATE whatsmeow_device SET push_name = 'Bea'",
    "INSERT INTO whatsmeow_privacy_tokens VALUES ('other', '11112222333344@lid', x'00', 1, 2)",
    "INSERT INTO whatsmeow_privacy_tokens VALUES (NULL, '11112222333344@lid', x'00', 1, 2)",
]


@pytest.mark.parametrize("statement", CHANGES)
def test_the_journal_leads_to_what_a_snapshot_would_say(linked_store: LiveStore, statement: str) -> None:
    before = linked_store.snapshot()
    library.execute(linked_store.path, statement)

    changes = linked_store.read_changes()

    after = linked_store.snapshot()
    assert apply(before.values, changes.values) == after.values
    assert (changes.creds or before.creds) == after.creds
    assert (after.values, after.creds) != (before.values, before.creds)
    assert not changes.complete


def test_changes_taken_in_small_portions_add_up(linked_store: LiveStore) -> None:
    values = linked_store.snapshot().values
    library.execute(linked_store.path, *CHANGES[:5])

    while changes := linked_store.read_changes(limit=7):
        values = apply(values, changes.values)
        linked_store.clear_journal(changes.upto)

    assert values == linked_store.snapshot().values


def test_a_key_that_changed_a_thousand_times_is_reported_once(linked_store: LiveStore) -> None:
    library.execute(linked_store.path, *["UPDATE whatsmeow_nct_salt SET salt = randomblob(32)"] * 1000)

    assert linked_store.read_changes().values.keys() == {"nct-salt"}


def test_an_entry_made_while_changes_were_saved_is_not_cleared(linked_store: LiveStore) -> None:
    library.execute(linked_store.path, "DELETE FROM whatsmeow_pre_keys WHERE key_id = 1")
    first = linked_store.read_changes()
    library.execute(linked_store.path, "DELETE FROM whatsmeow_pre_keys WHERE key_id = 2")

    linked_store.clear_journal(first.upto)

    assert linked_store.read_changes().values == {"pre-key-2": None}


def test_clearing_the_journal_twice_clears_no_later_entry(linked_store: LiveStore) -> None:
    library.execute(linked_store.path, "DELETE FROM whatsmeow_pre_keys WHERE key_id = 1")
    first = linked_store.read_changes()
    linked_store.clear_journal(first.upto)
    library.execute(linked_store.path, "DELETE FROM whatsmeow_pre_keys WHERE key_id = 2")

    linked_store.clear_journal(first.upto)

    assert linked_store.read_changes().values == {"pre-key-2": None}


def test_a_device_that_the_library_deleted_is_told_apart_from_a_change(linked_store: LiveStore) -> None:
    library.execute(linked_store.path, "DELETE FROM whatsmeow_device")

    changes = linked_store.read_changes(limit=1)

    assert changes
    assert changes.device_deleted
    assert changes.values == {}
    assert changes.creds is None


def test_the_journal_survives_being_put_in_again(linked_store: LiveStore) -> None:
    library.execute(linked_store.path, "DELETE FROM whatsmeow_pre_keys WHERE key_id = 1")
    before = linked_store.read_changes()

    linked_store.install_journal()

    assert linked_store.read_changes() == before


def test_a_table_that_a_newer_library_adds_is_journaled_and_rebuilt(linked_store: LiveStore, tmp_path: Path) -> None:
    library.execute(
        linked_store.path,
        "CREATE TABLE whatsmeow_new (a TEXT, b BLOB, c REAL, PRIMARY KEY (a, b)) WITHOUT ROWID",
        "CREATE TABLE whatsmeow_keyless (a)",
        "CREATE UNIQUE INDEX new_index ON whatsmeow_new (c) WHERE c > 1",
        "ALTER TABLE whatsmeow_contacts ADD COLUMN username TEXT DEFAULT 'none'",
    )
    linked_store.install_journal()
    assert linked_store.read_changes().complete
    linked_store.clear_journal(linked_store.read_changes().upto)
    library.execute(
        linked_store.path,
        "INSERT INTO whatsmeow_new VALUES ('x,y', x'00ff', 2.5)",
        "INSERT INTO whatsmeow_keyless VALUES (1), (1), (NULL)",
    )

    changes = linked_store.read_changes()

    assert changes.values.keys() == {"row-whatsmeow_new,x%2Cy,%~blob00ff", "row-whatsmeow_keyless"}
    rebuilt = LiveStore.rebuild(tmp_path / "store.db", linked_store.snapshot())
    assert library.dump(rebuilt.path) == library.dump(linked_store.path)
    assert library.schema(rebuilt.path) == library.schema(linked_store.path)


def test_a_schema_without_a_table_of_before_makes_the_whole_store_count_as_changed(linked_store: LiveStore) -> None:
    library.execute(linked_store.path, "DROP TABLE whatsmeow_retry_buffer")
    linked_store.install_journal()

    changes = linked_store.read_changes()

    assert changes.complete
    assert not [key for key in changes.values if key.startswith("sent-message-")]


def test_rows_of_two_accounts_in_one_file_do_not_overwrite_each_other(linked_store: LiveStore, tmp_path: Path) -> None:
    second = "4900000000000:1@s.whatsapp.net"
    library.insert(linked_store.path, {"whatsmeow_device": [library.device(second, None)]})
    before = linked_store.snapshot().values
    library.execute(linked_store.path, f"INSERT INTO whatsmeow_pre_keys VALUES ('{second}', 5, zeroblob(32), 1)")

    changes = linked_store.read_changes()

    assert len(keys.decode(changes.values["pre-key-5"] or b"")[1]) == 2
    assert apply(before, changes.values) == linked_store.snapshot().values
    rebuilt = LiveStore.rebuild(tmp_path / "store.db", linked_store.snapshot())
    assert library.dump(rebuilt.path) == library.dump(linked_store.path)


def test_secrets_do_not_show_in_a_repr(linked_store: LiveStore) -> None:
    library.execute(
        linked_store.path, "UPDATE whatsmeow_sessions SET session = x'00'", "UPDATE whatsmeow_device SET platform = 'x'"
    )

    for shown in (repr(linked_store.snapshot()), repr(linked_store.read_changes())):
        assert "whatsmeow" not in shown
        assert "private" not in shown


# --- the version that wakes a reader ---------------------------------------------------


def test_the_data_version_moves_with_other_writers_alone(linked_store: LiveStore) -> None:
    before = linked_store.data_version()
    linked_store.install_journal(epoch=5)
    own = linked_store.data_version()
    library.execute(linked_store.path, "DELETE FROM whatsmeow_pre_keys WHERE key_id = 1")
    other = linked_store.data_version()

    assert own == before
    assert other != before
    assert linked_store.data_version() == other


def test_asking_for_the_data_version_does_not_wait_for_a_thread_that_works(linked_store: LiveStore) -> None:
    before = linked_store.data_version()
    inside, leave, left_in_time = threading.Event(), threading.Event(), []

    def work() -> None:
        with linked_store._reading():
            inside.set()
            left_in_time.append(leave.wait(10))

    worker = threading.Thread(target=work)
    worker.start()
    assert inside.wait(10)
    try:
        assert linked_store.data_version() == before
    finally:
        leave.set()
        worker.join(20)
    assert left_in_time == [True]


# --- forgetting Signal sessions -----------------------------------------------------------


def test_signal_sessions_and_our_own_sender_keys_are_forgotten_together(linked_store: LiveStore) -> None:
    before = library.dump(linked_store.path)

    assert linked_store.forget_signal_sessions() == (3, 2)

    after = library.dump(linked_store.path)
    assert after["whatsmeow_sessions"] == []
    assert [row[2] for row in after["whatsmeow_sender_keys"]] == [
        row[2]
        for row in before["whatsmeow_sender_keys"]
        if row[2][1] not in (b"98765432101234_1:7", b"4915112345678:7")
    ]
    untouched = before.keys() - {"whatsmeow_sessions", "whatsmeow_sender_keys"}
    assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}


def test_what_was_forgotten_leaves_the_vault_too(linked_store: LiveStore, tmp_path: Path) -> None:
    snapshot = linked_store.snapshot()
    rebuilt = LiveStore.rebuild(tmp_path / "store.db", snapshot)

    rebuilt.forget_signal_sessions()

    changes = rebuilt.read_changes()
    assert apply(snapshot.values, changes.values) == rebuilt.snapshot().values
    assert not [key for key in rebuilt.snapshot().values if key.startswith("session-")]


def test_all_states_of_a_signal_session_are_moved_on(linked_store: LiveStore) -> None:
    def state(base: str, sent: int) -> dict[str, object]:
        key = {"Key": base64.b64encode(b"k" * 32).decode(), "Index": sent}
        return {"SenderBaseKey": base, "SenderChain": {"SenderRatchetKeyPublic": f"of {base}", "ChainKey": key}}

    session = json.dumps({"SessionState": state("one", 5), "PreviousStates": [state("two", 3)]}).encode()
    with closing(sqlite3.connect(linked_store.path, isolation_level=None)) as connection:
        connection.execute("UPDATE whatsmeow_sessions SET session = ?", (session,))

    linked_store.advance_signal_sessions()

    for row in library.dump(linked_store.path)["whatsmeow_sessions"]:
        (moved,) = [json.loads(value) for value in row if isinstance(value, bytes)]
        indices = [s["SenderChain"]["ChainKey"]["Index"] for s in (moved["SessionState"], *moved["PreviousStates"])]
        assert indices == [5 + advance.STEPS, 3 + advance.STEPS]


def test_neither_is_forgotten_where_one_cannot_be(linked_store: LiveStore) -> None:
    library.execute(
        linked_store.path,
        "CREATE TRIGGER refuse BEFORE DELETE ON whatsmeow_sender_keys BEGIN SELECT RAISE(ABORT, 'no'); END",
    )

    with pytest.raises(sqlite3.IntegrityError):
        linked_store.forget_signal_sessions()

    assert len(library.dump(linked_store.path)["whatsmeow_sessions"]) == 3


def test_the_library_cannot_write_between_our_reading_and_our_writing(linked_store: LiveStore) -> None:
    refused: set[str] = set()
    rival = sqlite3.connect(linked_store.path, timeout=0)

    def write_between(statement: str) -> None:
        if statement.startswith("SELECT value FROM oxy_meta"):
            try:
                with rival:
                    rival.execute("UPDATE whatsmeow_pre_keys SET uploaded = 1")
            except sqlite3.OperationalError as error:
                refused.add(str(error))

    with linked_store._reading() as connection:
        connection.set_trace_callback(write_between)
    linked_store.forget_signal_sessions()

    assert refused == {"database is locked"}
    rival.close()


# --- the file ------------------------------------------------------------------------------


def test_lineage_is_kept_in_the_file(linked_store: LiveStore) -> None:
    assert linked_store.get_meta("session_id") == ""

    linked_store.install_journal(session_id="s1", epoch=4)
    linked_store.install_journal(epoch=5)
    linked_store.close()

    again = LiveStore(linked_store.path)
    assert (again.get_meta("session_id"), again.get_meta("epoch")) == ("s1", "5")
    again.close()


def test_a_file_that_is_gone_is_an_error_and_not_a_new_store(tmp_path: Path) -> None:
    store = LiveStore(tmp_path / "store.db")

    assert not store.exists
    assert store.check().startswith("The live store cannot be read")
    with pytest.raises(sqlite3.OperationalError):
        store.snapshot()
    assert not store.exists


def test_a_damaged_file_is_said_to_be_damaged(linked_store: LiveStore) -> None:
    linked_store.close()
    content = bytearray(linked_store.path.read_bytes())
    content[4096:40960] = b"\xaa" * 36864
    linked_store.path.write_bytes(content)

    assert "live store" in linked_store.check()


def test_a_reader_never_holds_up_the_library(linked_store: LiveStore) -> None:
    writer = sqlite3.connect(linked_store.path, timeout=0)

    with linked_store._reading() as connection:
        connection.execute("SELECT * FROM whatsmeow_device").fetchall()
        with writer:
            writer.execute("DELETE FROM whatsmeow_pre_keys WHERE key_id = 1")  # raises where it would have to wait

    writer.close()
