"""Which live store a session is run on, and why: every case of the keeper's list, with stores that the library made."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sessions_app.hosting import keeper as keeper_module
from sessions_app.hosting import lease
from sessions_app.hosting.keeper import STORE_NAME, CredentialsVanished, Keeper, VaultUnreadable
from sessions_app.lifecycle import Status
from sessions_app.models import AuthBlob, Host, SessionEvent, WhatsAppSession
from sessions_app.vault import store
from sessions_app.vault.live_store import LiveStore
from tests.integration import library

pytest_plugins = ["tests.integration.live_stores"]
pytestmark = pytest.mark.django_db
MakeKeeper = Callable[..., Keeper]


@pytest.fixture
def session() -> WhatsAppSession:
    return WhatsAppSession.objects.create(session_id="shop", name="Shop", status=Status.CONNECTED)


@pytest.fixture
def make_keeper(session: WhatsAppSession, tmp_path: Path) -> MakeKeeper:
    """Takes the lease anew, as the next host would, and gives its keeper on the same disk."""
    host = Host.objects.create(name="host", pid=1)

    def make(*, clean: bool = False) -> Keeper:
        lease.end_leases_of(host)
        WhatsAppSession.objects.filter(pk=session.pk).update(lease_clean=clean)
        taken = lease.acquire(WhatsAppSession.objects.get(pk=session.pk), host)
        directory = tmp_path / "shop"
        directory.mkdir(exist_ok=True)
        return Keeper(WhatsAppSession.objects.get(pk=session.pk), taken, directory)

    return make


@pytest.fixture
def kept(make_keeper: MakeKeeper, linked_store: LiveStore) -> Keeper:
    """A session that has run: its vault is complete, and its file lies on the disk."""
    first = make_keeper()
    linked_store.close()
    linked_store.path.rename(first.path)
    first.arm()
    first.save_in_full()
    return first


def chosen() -> tuple[str, str]:
    row = SessionEvent.objects.filter(kind="vault").first()
    return row.detail["source"], row.detail["why"]


def sessions_in(path: Path) -> int:
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT count(*) FROM whatsmeow_sessions").fetchone()[0]
    connection.close()
    return int(found)


def test_a_file_that_continues_the_last_lease_is_used_and_its_journal_is_written_through(kept, make_keeper, session):
    connection = sqlite3.connect(kept.path)
    connection.execute("UPDATE whatsmeow_sessions SET session = ?", (b"moved on",))
    connection.commit()
    connection.close()
    kept.close()
    before = store.load(session).snapshot.values

    assert make_keeper().open() is True

    assert chosen() == ("file", "nobody else has run the session since")
    assert store.load(session).snapshot.values != before
    assert sessions_in(kept.path) > 0


def test_a_restart_under_the_same_lease_uses_the_file(kept):
    kept.close()
    assert kept.open() is True
    assert chosen()[0] == "file"


def test_a_disk_lost_while_the_session_ran_is_no_clean_end_however_the_lease_began(kept, make_keeper):
    kept.close()
    running = make_keeper(clean=True)
    running.open()
    running.arm()
    running.close()
    running.path.unlink()

    running.open()

    assert chosen() == ("vault", "no file on this disk; stale Signal sessions moved on")
    assert sessions_in(running.path) == 0


def test_a_file_of_an_older_lease_is_rebuilt_from_the_vault_without_its_stale_sessions(kept, make_keeper):
    kept.close()
    make_keeper()  # somebody else had the session in between

    assert make_keeper(clean=False).open() is True

    source, why = chosen()
    assert source == "vault"
    assert "of epoch 1, the last was 2" in why
    assert why.endswith("stale Signal sessions moved on")
    assert sessions_in(kept.path) == 0


def test_after_a_clean_end_elsewhere_the_rebuilt_file_keeps_its_sessions(kept, make_keeper):
    count = sessions_in(kept.path)
    kept.close()
    make_keeper()
    make_keeper(clean=True).open()
    assert chosen()[0] == "vault"
    assert sessions_in(kept.path) == count > 0


def test_a_file_from_before_the_machines_restart_is_rebuilt(kept, make_keeper, monkeypatch):
    kept.close()
    monkeypatch.setattr(keeper_module, "boot", lambda: "the next one")
    make_keeper().open()
    assert chosen() == (
        "vault",
        "the file on this disk is from before the machine's restart; stale Signal sessions moved on",
    )


def test_a_damaged_file_is_rebuilt(kept, make_keeper):
    kept.close()
    kept.path.write_bytes(b"not a database at all" * 500)
    assert make_keeper().open() is True
    assert chosen()[0] == "vault"


def test_another_sessions_file_is_rebuilt(kept, make_keeper):
    live = LiveStore(kept.path)
    live.install_journal(session_id="desk")
    live.close()
    kept.close()
    make_keeper().open()
    assert "of another session" in chosen()[1]


def test_a_vault_that_cannot_be_read_touches_nothing(kept, make_keeper, session):
    kept.close()
    kept.path.unlink()
    blob = AuthBlob.objects.filter(session=session).first()
    AuthBlob.objects.filter(pk=blob.pk).update(data_value=library.damaged(bytes(blob.data_value)))
    count = AuthBlob.objects.count()

    with pytest.raises(VaultUnreadable):
        make_keeper().open()

    assert AuthBlob.objects.count() == count
    assert not kept.path.exists()


def test_a_phone_that_was_linked_when_the_host_died_is_not_lost(make_keeper, linked_store, session):
    """The scan is in the file, and nothing of it is in the vault yet."""
    WhatsAppSession.objects.update(status=Status.PAIRING)
    first = make_keeper()
    linked_store.close()
    linked_store.path.rename(first.path)
    first.arm()
    first.close()

    assert make_keeper().open() is True

    assert isinstance(store.load(session), store.Found)
    assert chosen()[0] == "file"


def test_a_file_of_a_session_that_was_logged_out_is_not_brought_back(kept, make_keeper, session):
    kept.close()
    store.clear(session, kept.lease.epoch)
    WhatsAppSession.objects.update(status=Status.LOGGED_OUT)

    assert make_keeper().open() is False

    with closing(sqlite3.connect(kept.path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    assert chosen() == ("new", "no credentials")


def test_the_librarys_own_deletion_is_not_mirrored(kept, session):
    connection = sqlite3.connect(kept.path)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("DELETE FROM whatsmeow_device")
    connection.commit()
    connection.close()

    with pytest.raises(CredentialsVanished):
        kept.flush()
    with pytest.raises(CredentialsVanished):
        kept.save_in_full()

    assert isinstance(store.load(session), store.Found)


def test_a_file_that_lost_its_credentials_without_a_word_is_rebuilt_from_the_vault(kept, make_keeper):
    connection = sqlite3.connect(kept.path)
    connection.execute("DELETE FROM whatsmeow_device")
    connection.commit()
    connection.close()
    kept.close()

    assert make_keeper().open() is True

    assert chosen() == ("vault", "the file had lost its credentials; stale Signal sessions dropped")
    assert sessions_in(kept.path) == 0


def test_a_host_whose_lease_has_passed_writes_nothing(kept, make_keeper, session):
    before = store.load(session).snapshot
    connection = sqlite3.connect(kept.path)
    connection.execute("UPDATE whatsmeow_sessions SET session = ?", (b"by the old host",))
    connection.commit()
    connection.close()
    make_keeper()

    with pytest.raises(store.LeaseLost):
        kept.flush()

    assert store.load(session).snapshot == before


def test_a_backup_of_an_unchanged_store_finds_nothing(kept):
    row = kept.back_up()
    assert row.differed == 0
    assert row.keys == AuthBlob.objects.count()


def test_forgetting_clears_vault_and_file(kept, session):
    kept.forget()
    assert isinstance(store.load(session), store.Absent)
    assert list(kept.directory.glob(f"{STORE_NAME}*")) == []


def test_a_file_of_a_deleted_session_is_not_brought_back_under_its_id(kept, tmp_path):
    """It lies on the disk of a host that was not the last one; the new session's epochs begin where the old one's did."""
    kept.close()
    WhatsAppSession.objects.all().delete()
    made = WhatsAppSession.objects.create(session_id="shop", name="Shop", status=Status.PAIRING)
    taken = lease.acquire(made, Host.objects.create(name="next", pid=1))
    assert taken.epoch == kept.lease.epoch

    assert Keeper(made, taken, kept.directory).open() is False

    assert isinstance(store.load(made), store.Absent)


def test_a_vault_that_is_older_than_the_file_on_this_disk_is_not_trusted(kept, make_keeper, session):
    """The database is a copy from before the file's lease: however cleanly that lease had begun, the session went on."""
    kept.close()
    LiveStore(kept.path).install_journal(epoch=kept.lease.epoch + 5)

    make_keeper(clean=True).open()

    assert chosen()[1].endswith("stale Signal sessions dropped")


def test_a_file_of_the_present_epoch_is_ours_only_if_we_made_it_so(kept, make_keeper):
    """A database that was set back counts epochs again that a host has used before."""
    kept.close()
    LiveStore(kept.path).install_journal(epoch=kept.lease.epoch + 1)
    following = make_keeper(clean=True)
    assert following.lease.epoch == kept.lease.epoch + 1

    following.open()

    source, why = chosen()
    assert source == "vault"
    assert why.endswith("stale Signal sessions dropped")


def test_a_copy_of_the_file_from_earlier_under_the_same_lease_is_not_put_back(kept, make_keeper, session):
    """Somebody has restored the directory from a backup; the session has sent since, and the vault knows."""
    kept.close()
    copy = kept.path.read_bytes()
    with closing(sqlite3.connect(kept.path)) as connection:
        connection.execute("UPDATE whatsmeow_sessions SET session = ?", (b"moved on",))
        connection.commit()
    kept.arm()
    kept.flush()
    kept.close()
    kept.path.write_bytes(copy)

    following = make_keeper(clean=True)
    following.open()

    source, why = chosen()
    assert source == "vault"
    assert "differs from the vault in" in why
    assert why.endswith("stale Signal sessions dropped")
    assert sessions_in(following.path) == 0
