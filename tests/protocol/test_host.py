"""A host with real engines and the real library, against the simulator: how sessions live, and what ends them."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions_app.hosting import lease, reactions
from sessions_app.lifecycle import Command, Status
from sessions_app.models import AuthBlob, Backup, Message, PairingRound, SessionCommand, SessionEvent, WhatsAppSession
from sessions_app.vault.live_store import LiveStore
from simulator import PhoneError, Simulator
from tests.protocol.hosts import (
    RunningHost,
    ask,
    eventually,
    fresh,
    pair,
    running_host,
    wait_for_code,
    wait_for_status,
)

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA = "5511987650001", "5511987650002"


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    return tmp_path / "stores"


@pytest.fixture
def host(sim: Simulator, stores: Path) -> Iterator[RunningHost]:
    with running_host(stores) as running:
        yield running


@pytest.fixture
def session(db: None) -> WhatsAppSession:
    return WhatsAppSession.objects.create(session_id="shop", name="Shop")


@pytest.fixture
def paired(sim: Simulator, host: RunningHost, session: WhatsAppSession) -> WhatsAppSession:
    return pair(session, sim.phone(ANA, name="Ana"))


def rounds() -> int:
    return PairingRound.objects.count()


# --- pairing ------------------------------------------------------------------


def test_a_scan_connects_the_session_with_its_number_and_name(sim, paired):
    assert paired.phone == ANA
    assert paired.has_creds
    eventually(lambda: fresh(paired).push_name == "Ana", "the push name")
    assert AuthBlob.objects.filter(session=paired, data_key__startswith="pre-key-").count() > 800
    assert PairingRound.objects.get().outcome == "paired"


def test_a_code_typed_on_the_phone_connects_the_session(sim, host, session):
    ask(session, Command.PAIRING_CODE, phone=ANA)
    code = eventually(lambda: (now := fresh(session).current_round) and now.pairing_code, "a pairing code")
    assert len(code) == 9

    with pytest.raises(PhoneError):
        sim.phone(ANA, name="Ana").enter_code("AAAA-AAAA")
    sim.phone(ANA).enter_code(code)

    assert wait_for_status(session, Status.CONNECTED).phone == ANA
    assert SessionCommand.objects.get(verb="pairing-code").outcome == "done"


def test_a_passkey_request_is_said_at_once_and_ends_the_round(sim, host, session):
    ask(session, Command.START)
    code = wait_for_code(session)
    sim.faults.passkey()

    with pytest.raises(PhoneError):
        sim.phone(ANA, name="Ana").scan(code)

    ended = wait_for_status(session, Status.NEW, "passkey-needed", within=5)
    assert ended.current_round is None
    sim.faults.clear()
    pair(session, sim.phone(ANA))


def test_a_stop_in_the_pairing_round_takes_the_code_away(sim, host, session):
    ask(session, Command.START)
    code = wait_for_code(session)

    ask(session, Command.STOP)

    wait_for_status(session, Status.NEW, "asked")
    assert PairingRound.objects.get().sealed_code is None
    with pytest.raises(PhoneError):
        sim.phone(ANA, name="Ana").scan(code)


def test_a_connection_cut_in_the_pairing_round_ends_it_and_a_new_round_pairs(sim, host, session):
    ask(session, Command.START)
    wait_for_code(session)

    sim.faults.outage(1)

    wait_for_status(session, Status.NEW, "pairing-interrupted")
    pair(session, sim.phone(ANA, name="Ana"))


def test_whatsapp_unreachable_at_the_first_start_is_said_and_tried_again(sim, host, session):
    sim.stop()
    ask(session, Command.START)
    wait_for_status(session, Status.WAITING, "whatsapp-unreachable")

    sim.start()

    sim.phone(ANA, name="Ana").scan(wait_for_code(session))
    wait_for_status(session, Status.CONNECTED)


def test_an_outdated_client_is_told_so_while_it_pairs(sim, host, session):
    sim.faults.outdated()
    ask(session, Command.START)
    wait_for_status(session, Status.FAILED, "client-outdated")


# --- surviving ------------------------------------------------------------------


def test_a_wiped_disk_costs_no_scan_and_no_message(sim, stores, session):
    ana, bia = sim.phone(ANA, name="Ana"), sim.phone(BIA, name="Bia")
    with running_host(stores):
        pair(session, ana)
        bia.send_text(ANA, "before")
        eventually(lambda: Message.objects.filter(text="before").exists(), "the first message")
    assert fresh(session).status == Status.WAITING
    shutil.rmtree(stores)
    bia.send_text(ANA, "while away")

    with running_host(stores):
        wait_for_status(session, Status.CONNECTED)
        eventually(
            lambda: Message.objects.filter(text="while away", direction="in").exists(), "the message sent while away"
        )

    assert rounds() == 1
    assert SessionEvent.objects.filter(kind="vault", detail__source="vault").exists()


def test_a_host_that_dies_with_its_disk_costs_no_scan_and_no_message(sim, stores, session):
    ana, bia = sim.phone(ANA, name="Ana"), sim.phone(BIA, name="Bia")
    with running_host(stores) as first:
        pair(session, ana)
        bia.send_text(ANA, "before")
        eventually(lambda: Message.objects.filter(text="before").exists(), "the first message")
        first.crash()
    shutil.rmtree(stores)
    bia.send_text(ANA, "while away")
    lease.end_leases_of(first.supervisor.host)

    with running_host(stores):
        wait_for_status(session, Status.CONNECTED)
        eventually(
            lambda: Message.objects.filter(text="while away", direction="in").exists(), "the message sent while away"
        )

    assert "stale Signal sessions moved on" in SessionEvent.objects.filter(kind="vault").first().detail["why"]
    assert rounds() == 1


def test_a_restart_on_the_same_disk_uses_the_file(sim, stores, session):
    with running_host(stores):
        pair(session, sim.phone(ANA, name="Ana"))
    with running_host(stores):
        wait_for_status(session, Status.CONNECTED)
    assert SessionEvent.objects.filter(kind="vault").first().detail["source"] == "file"


def test_an_engine_killed_is_replaced_within_seconds(sim, host, paired):
    host.kill_engines()
    wait_for_status(paired, Status.WAITING, "engine-died", within=3)
    wait_for_status(paired, Status.CONNECTED, within=5)
    assert rounds() == 1
    assert SessionEvent.objects.filter(kind="vault").first().detail["source"] == "file"


def test_whatsapp_away_for_a_while_is_said_and_ends_no_session(sim, host, paired):
    sim.faults.outage(4)
    wait_for_status(paired, Status.WAITING, "connection-cut", within=5)
    wait_for_status(paired, Status.CONNECTED)


def test_a_stream_error_is_over_before_anybody_is_told(sim, host, paired):
    before = SessionEvent.objects.filter(kind="status").count()
    sim.faults.stream_error(515)
    jid = fresh(paired).jid
    sim.connections.wait_for(lambda live: jid in live)
    assert fresh(paired).status == Status.CONNECTED
    assert SessionEvent.objects.filter(kind="status").count() == before


def test_stop_keeps_the_credentials_and_start_needs_no_scan(sim, host, paired):
    ask(paired, Command.STOP)
    assert wait_for_status(paired, Status.STOPPED).has_creds
    assert sim.connections.live == {}

    ask(paired, Command.START)
    wait_for_status(paired, Status.CONNECTED)
    assert rounds() == 1


def test_a_lease_that_another_host_took_stops_the_socket_and_changes_nothing(sim, host, paired):
    WhatsAppSession.objects.filter(pk=paired.pk).update(
        lease_host=None, lease_epoch=paired.lease_epoch + 1, desired="stopped"
    )
    before = AuthBlob.objects.filter(session=paired).count()

    sim.connections.wait_for(lambda live: not live, timeout=15)

    eventually(lambda: not host.supervisor.runners, "the runner's end")
    assert fresh(paired).status == Status.CONNECTED
    assert AuthBlob.objects.filter(session=paired).count() == before


def test_a_host_that_cannot_renew_lets_go_of_its_sockets(sim, paired, host, monkeypatch):
    """The dead man's switch: the engine hears nothing, and the lease that it was told runs out."""
    monkeypatch.setattr(host.supervisor.engines, "renew", lambda seconds, **since: None)
    engine = host.supervisor.engines.all[0]
    from sessions_app.engine.events import RenewLease

    engine.send(RenewLease(seconds={"shop": 0.5}))

    wait_for_status(paired, Status.CONNECTED)
    eventually(lambda: SessionEvent.objects.filter(reason="storage-unavailable").exists(), "the switch", within=5)


# --- ends -----------------------------------------------------------------------


def test_a_phone_that_unlinks_logs_the_session_out_and_clears_its_keys(sim, host, paired, stores):
    phone = sim.phone(ANA)
    phone.unlink(paired.jid)

    gone = wait_for_status(paired, Status.LOGGED_OUT, "unlinked")

    assert not gone.has_creds
    assert not AuthBlob.objects.filter(session=gone).exists()
    assert not (stores / "shop" / "store.db").exists()
    assert gone.desired == "stopped"
    pair(gone, phone)


def test_a_device_unlinked_while_it_was_away_is_logged_out_at_the_next_start(sim, stores, session):
    phone = sim.phone(ANA, name="Ana")
    with running_host(stores):
        jid = pair(session, phone).jid
    phone.unlink(jid)
    with running_host(stores):
        wait_for_status(session, Status.LOGGED_OUT, "unlinked")


def test_logging_out_here_unlinks_the_phone(sim, host, paired):
    ask(paired, Command.LOGOUT)
    assert not wait_for_status(paired, Status.LOGGED_OUT, "logged-out-here").has_creds
    assert sim.phone(ANA).devices == []


def test_deleting_unlinks_the_phone_first(sim, host, paired, stores):
    ask(paired, Command.DELETE)
    eventually(lambda: not WhatsAppSession.objects.exists(), "the row's end")
    assert sim.phone(ANA).devices == []
    eventually(lambda: not (stores / "shop").exists(), "the end of its directory")


def test_deleting_a_stopped_session_connects_to_unlink(sim, host, paired):
    ask(paired, Command.STOP)
    wait_for_status(paired, Status.STOPPED)
    ask(paired, Command.DELETE)
    eventually(lambda: not WhatsAppSession.objects.exists(), "the row's end")
    assert sim.phone(ANA).devices == []


def test_a_replaced_session_never_fights(sim, host, paired):
    sim.faults.replaced()
    stopped = wait_for_status(paired, Status.REPLACED, "stream-replaced")
    assert stopped.has_creds
    sim.connections.wait_for(lambda live: not live)

    ask(paired, Command.START)
    wait_for_status(paired, Status.CONNECTED)


def test_a_ban_is_waited_out(sim, host, paired):
    sim.faults.ban(seconds=3)
    banned = wait_for_status(paired, Status.BANNED, "temporarily-banned")
    assert banned.has_creds
    assert banned.retry_at is not None
    wait_for_status(paired, Status.CONNECTED)


def test_an_outdated_client_keeps_its_credentials(sim, host, paired):
    sim.faults.outdated()
    assert wait_for_status(paired, Status.FAILED, "client-outdated").has_creds
    sim.faults.clear()
    ask(paired, Command.START)
    wait_for_status(paired, Status.CONNECTED)


# --- storage --------------------------------------------------------------------


def test_a_broken_blob_fails_that_one_session_and_shows_no_code(sim, stores, session):
    other = WhatsAppSession.objects.create(session_id="desk", name="Desk")
    with running_host(stores):
        pair(session, sim.phone(ANA, name="Ana"))
        pair(other, sim.phone(BIA, name="Bia"))
    blob = AuthBlob.objects.filter(session=session).first()
    AuthBlob.objects.filter(pk=blob.pk).update(data_value=b"\1" + bytes(60))
    shutil.rmtree(stores)
    kept = AuthBlob.objects.filter(session=session).count()

    with running_host(stores):
        failed = wait_for_status(session, Status.FAILED, "vault-unreadable")
        wait_for_status(other, Status.CONNECTED)

    assert failed.has_creds
    assert AuthBlob.objects.filter(session=session).count() == kept
    assert rounds() == 2


def test_a_vault_that_was_emptied_is_said_and_shows_no_code_before_a_person_asks(sim, stores, session):
    with running_host(stores):
        pair(session, sim.phone(ANA, name="Ana"))
    AuthBlob.objects.all().delete()
    WhatsAppSession.objects.update(creds=None)
    with running_host(stores):
        failed = wait_for_status(session, Status.FAILED, "credentials-missing")
        assert rounds() == 1
        pair(failed, sim.phone(ANA))


def test_a_backup_compares_everything_and_finds_nothing_amiss(sim, host, paired):
    ask(paired, Command.BACKUP)
    row = eventually(lambda: Backup.objects.first(), "the backup")
    assert row.differed == 0
    assert row.keys > 800
    assert fresh(paired).last_backup_at is not None


def test_a_backup_repairs_what_the_write_through_had_missed_and_says_so(sim, host, paired):
    runner = host.supervisor.runners[paired.pk]
    eventually(lambda: "settle" not in runner._deadlines, "the full save after the login")
    AuthBlob.objects.filter(session=paired, data_key="pre-key-7").delete()

    ask(paired, Command.BACKUP)

    row = eventually(lambda: Backup.objects.first(), "the backup")
    assert (row.differed, row.detail) == (1, ["pre-key-7"])
    assert AuthBlob.objects.filter(session=paired, data_key="pre-key-7").exists()


def test_credentials_that_vanish_from_the_file_are_kept_in_the_vault(sim, host, paired, stores, monkeypatch):
    monkeypatch.setattr(reactions, "_logged_out", lambda runner, event: None)
    store = LiveStore(stores / "shop" / "store.db")
    with store._writing() as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM whatsmeow_device")
    store.close()

    failed = wait_for_status(paired, Status.FAILED, "credentials-vanished")

    assert failed.has_creds
    ask(paired, Command.START)
    wait_for_status(paired, Status.CONNECTED)
    assert rounds() == 1


def test_an_engine_frozen_at_the_stop_is_ended(sim, host, paired):
    engine = host.supervisor.engines.all[0]
    os.kill(engine.pid, signal.SIGSTOP)
    ask(paired, Command.STOP)
    wait_for_status(paired, Status.STOPPED, within=12)
    assert not engine.alive


# --- sending --------------------------------------------------------------------


def test_messages_go_out_in_order_and_their_receipts_come_back(sim, host, paired):
    bia = sim.phone(BIA, name="Bia")
    texts = [f"number {n}" for n in range(5)]
    for text in texts:
        paired.send_text(BIA, text, by="tester")

    bia.wait_for_text(texts[-1], timeout=20)

    assert [message.text for message in bia.inbox] == texts
    eventually(
        lambda: Message.objects.filter(direction="out", status="delivered").count() == 5, "five delivery receipts"
    )


def test_a_message_queued_while_the_session_is_down_goes_out_when_it_is_back(sim, host, paired):
    bia = sim.phone(BIA, name="Bia")
    ask(paired, Command.STOP)
    wait_for_status(paired, Status.STOPPED)
    paired.send_text(BIA, "later", by="tester")
    ask(paired, Command.START)
    bia.wait_for_text("later", timeout=20)


def test_a_send_that_a_dead_engine_interrupted_ends_in_doubt_and_is_never_repeated(sim, host, paired):
    bia = sim.phone(BIA, name="Bia")
    sim.faults.no_acks()
    message = paired.send_text(BIA, "once", by="tester")
    bia.wait_for_text("once", timeout=20)

    host.kill_engines()

    wait_for_status(paired, Status.CONNECTED)
    eventually(
        lambda: Message.objects.filter(pk=message.pk, status="failed", reason="outcome-unknown").exists(), "the doubt"
    )
    sim.faults.clear()
    paired.send_text(BIA, "after", by="tester")
    bia.wait_for_text("after", timeout=20)
    assert [m.text for m in bia.inbox].count("once") == 1


def test_a_message_is_kept_under_the_senders_number_and_what_devices_tell_each_other_is_not(sim, host, paired):
    sim.phone(BIA, name="Bia").send_text(ANA, "hello")
    eventually(lambda: Message.objects.filter(text="hello").exists(), "the message")
    row = Message.objects.get()
    assert (row.chat, row.sender) == (f"{BIA}@s.whatsapp.net", f"{BIA}@s.whatsapp.net")
