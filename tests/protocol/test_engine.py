"""The engine process with the real library in it, against the simulator: every way a session begins, goes on and ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions_app.engine import events
from simulator import PhoneError, Simulator
from tests.protocol.harness import NOWHERE, PROJECT, EngineProcess, engine, until

ANA, BOB = "5511987650001", "5511987650002"


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(state_dir=tmp_path / "simulator") as running:
        yield running


@pytest.fixture
def oxy(sim: Simulator, tmp_path: Path) -> Iterator[EngineProcess]:
    with engine(tmp_path, sim.environment) as process:
        yield process


def pair(
    oxy: EngineProcess, sim: Simulator, session: str = "shop", number: str = ANA, **more: object
) -> events.Connected:
    """Start the session, scan its first code, and wait until it is connected."""
    oxy.start(session, **more)
    code = oxy.expect(events.QrIssued, session=session).code
    sim.phone(number, name="Ana").scan(code)
    return oxy.expect(events.Connected, session=session)


def stop(oxy: EngineProcess, session: str = "shop") -> events.ClientStopped:
    after = oxy.mark()
    oxy.send(events.StopClient(session=session))
    return oxy.expect(events.ClientStopped, after=after, session=session, timeout=5)


# --- pairing ------------------------------------------------------------------


def test_a_phone_that_scans_the_code_links_the_session(oxy: EngineProcess, sim: Simulator) -> None:
    connected = pair(oxy, sim)

    paired = oxy.expect(events.Paired)
    assert paired.jid == connected.jid
    assert connected.jid == f"{ANA}:{sim.phone(ANA).devices[0].device}@s.whatsapp.net"
    assert paired.lid == connected.lid
    assert connected.lid.endswith("@lid")
    assert oxy.expect(events.PairingRoundEnded).outcome == "success"
    assert {event.epoch for event in oxy.heard if hasattr(event, "epoch")} == {1}


def test_a_code_typed_on_the_phone_links_the_session(oxy: EngineProcess, sim: Simulator) -> None:
    phone = sim.phone(ANA, name="Ana")
    oxy.start("shop")
    oxy.send(events.RequestPairingCode(session="shop", phone=ANA))
    code = oxy.expect(events.PairingCodeIssued).code
    assert re.fullmatch(r"[0-9A-Z]{4}-[0-9A-Z]{4}", code)

    with pytest.raises(PhoneError):
        phone.enter_code("AAAA-AAAA")
    assert phone.enter_code(code) == oxy.expect(events.Connected).jid


def test_a_pairing_code_is_refused_once_the_session_is_linked(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)

    oxy.send(events.RequestPairingCode(session="shop", phone=ANA))
    failed = oxy.expect(events.CommandFailed, command="RequestPairingCode")
    assert failed.error == "WhatsApp gave no pairing code: the session is linked already."


def test_a_request_for_a_passkey_is_told_at_once(oxy: EngineProcess, sim: Simulator) -> None:
    sim.faults.passkey()
    oxy.start("shop")
    code = oxy.expect(events.QrIssued).code

    with pytest.raises(PhoneError):
        sim.phone(ANA, name="Ana").scan(code)
    oxy.expect(events.PairingRoundEnded, timeout=2, outcome="passkey-request")


def test_a_round_whose_connection_breaks_is_told_to_have_ended(oxy: EngineProcess, sim: Simulator) -> None:
    oxy.start("shop")
    oxy.expect(events.QrIssued)

    sim.stop()
    oxy.expect(events.PairingRoundEnded, outcome="timeout")
    assert stop(oxy).leaked


def test_stopping_while_codes_are_shown_closes_the_socket_and_admits_the_leak(
    oxy: EngineProcess, sim: Simulator
) -> None:
    oxy.start("shop")
    oxy.expect(events.QrIssued)
    assert oxy.sockets()
    began = time.monotonic()

    assert stop(oxy).leaked
    assert time.monotonic() - began < 3
    assert not oxy.sockets()

    after = oxy.mark()
    oxy.start("shop", epoch=2)
    fresh = oxy.expect(events.QrIssued, after=after, epoch=2)
    assert sim.phone(ANA, name="Ana").scan(fresh.code) == oxy.expect(events.Connected, epoch=2).jid


# --- staying connected ----------------------------------------------------------


def test_a_linked_session_starts_again_without_a_code(oxy: EngineProcess, sim: Simulator) -> None:
    first = pair(oxy, sim)
    assert not stop(oxy).leaked
    after = oxy.mark()

    oxy.start("shop", epoch=2)
    again = oxy.expect(events.Connected, after=after, epoch=2)
    assert (again.jid, again.lid) == (first.jid, first.lid)
    assert len(oxy.all(events.QrIssued)) == 1


def test_a_fresh_engine_takes_the_session_over(oxy: EngineProcess, sim: Simulator, tmp_path: Path) -> None:
    jid = pair(oxy, sim).jid
    oxy.kill()

    with engine(tmp_path, sim.environment) as second:
        second.start("shop", epoch=2)
        assert second.expect(events.Connected, epoch=2).jid == jid
    assert sim.connections.overlaps(jid) == []


def test_a_server_that_is_away_at_the_start_is_an_error_and_not_a_wait(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    stop(oxy)
    sim.stop()
    after = oxy.mark()

    oxy.start("shop", epoch=2)
    ended = oxy.expect(events.ClientStopped, after=after, timeout=5, epoch=2)
    assert ended.error.startswith("WhatsApp could not be reached: ")
    assert not ended.leaked

    sim.start()
    oxy.start("shop", epoch=3)
    oxy.expect(events.Connected, epoch=3)


def test_a_server_that_goes_away_in_mid_session_is_found_again(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    after = oxy.mark()

    sim.stop()
    oxy.expect(events.Disconnected, after=after)
    sim.start()
    oxy.expect(events.Connected, after=after, timeout=30)


@pytest.mark.parametrize("code", [500, 503])
def test_an_error_of_the_stream_is_survived(oxy: EngineProcess, sim: Simulator, code: int) -> None:
    pair(oxy, sim)
    after = oxy.mark()

    sim.faults.stream_error(code=code)
    oxy.expect(events.Disconnected, after=after)
    oxy.expect(events.Connected, after=after)


def test_sessions_that_start_at_once_all_connect_as_themselves(oxy: EngineProcess, sim: Simulator) -> None:
    numbers = {f"s{index}": f"55119876510{index:02d}" for index in range(6)}
    jids = {session: pair(oxy, sim, session, number).jid for session, number in numbers.items()}
    for session in numbers:
        stop(oxy, session)
    after = oxy.mark()

    for session in numbers:
        oxy.send(
            events.StartClient(
                session=session,
                epoch=2,
                path=str(oxy.place(session) / "store.db"),
                spool=str(oxy.place(session) / "spool"),
                lease_seconds=60,
            )
        )
    for session, number in numbers.items():
        assert oxy.expect(events.Connected, after=after, session=session).jid == jids[session]
        assert jids[session].startswith(number)


# --- ends -----------------------------------------------------------------------


def test_unlinking_on_the_phone_logs_the_session_out(oxy: EngineProcess, sim: Simulator) -> None:
    jid = pair(oxy, sim).jid

    sim.phone(ANA).unlink(jid)
    assert oxy.expect(events.LoggedOut).code == 401
    assert not stop(oxy).leaked


def test_a_device_that_was_unlinked_while_it_was_away_is_logged_out_at_its_login(
    oxy: EngineProcess, sim: Simulator
) -> None:
    jid = pair(oxy, sim).jid
    stop(oxy)
    sim.phone(ANA).unlink(jid)

    oxy.start("shop", epoch=2)
    out = oxy.expect(events.LoggedOut, epoch=2)
    assert (out.code, out.on_connect) == (401, True)


def test_logging_out_here_unlinks_the_phone(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)

    oxy.send(events.LogOut(session="shop"))
    assert oxy.expect(events.LoggedOut).code == 0
    assert not oxy.expect(events.ClientStopped).leaked
    assert sim.phone(ANA).devices == []


def test_logging_out_is_refused_while_codes_are_shown(oxy: EngineProcess, sim: Simulator) -> None:
    oxy.start("shop")
    oxy.expect(events.QrIssued)

    oxy.send(events.LogOut(session="shop"))
    failed = oxy.expect(events.CommandFailed, command="LogOut")
    assert failed.error == "The session could not be logged out: it is not linked to a phone."


def test_a_session_that_was_replaced_stays_down(oxy: EngineProcess, sim: Simulator) -> None:
    jid = pair(oxy, sim).jid

    sim.faults.replaced(jid=jid)
    oxy.expect(events.Replaced)
    sim.connections.wait_for(lambda live: jid not in live)
    assert not stop(oxy).leaked


def test_a_ban_says_how_long_it_lasts(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)

    sim.faults.ban(seconds=90)
    ban = oxy.expect(events.TemporarilyBanned)
    assert ban.code == 101
    assert 80 <= ban.seconds <= 90
    assert not stop(oxy).leaked


def test_an_outdated_client_is_told_so_and_keeps_its_store(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)

    sim.faults.outdated()
    oxy.expect(events.ClientOutdated)
    stop(oxy)
    sim.faults.clear()
    oxy.start("shop", epoch=2)
    oxy.expect(events.Connected, epoch=2)


def test_a_login_that_is_refused_for_another_reason_is_told_with_its_number(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    stop(oxy)

    sim.faults.login_failure(reason=501)
    oxy.start("shop", epoch=2)
    assert oxy.expect(events.ConnectFailed, epoch=2).code == 501
    assert not stop(oxy).leaked


def test_a_login_that_fails_for_a_while_is_repeated_by_the_library(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    stop(oxy)

    sim.faults.login_failure(reason=503)
    oxy.start("shop", epoch=2)
    oxy.expect(events.Disconnected, epoch=2)
    sim.faults.clear()
    oxy.expect(events.Connected, epoch=2)


def test_a_refusal_with_a_reason_that_the_binding_does_not_know_ends_the_run(
    oxy: EngineProcess, sim: Simulator
) -> None:
    pair(oxy, sim)
    stop(oxy)
    after = oxy.mark()

    sim.faults.login_failure(reason=418)
    oxy.start("shop", epoch=2)
    ended = oxy.expect(events.ClientStopped, after=after, epoch=2)
    assert ended.error
    assert not oxy.sockets()


# --- the promises of an engine ----------------------------------------------------


def test_a_lease_that_nobody_renews_disconnects_the_session(oxy: EngineProcess, sim: Simulator) -> None:
    jid = pair(oxy, sim, lease=4).jid

    ran_out = oxy.expect(events.LeaseRanOut, timeout=6)
    assert (ran_out.session, ran_out.epoch) == ("shop", 1)
    assert not oxy.expect(events.ClientStopped).leaked
    sim.connections.wait_for(lambda live: jid not in live, timeout=2)


def test_a_lease_that_is_renewed_keeps_the_session(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim, lease=3)
    oxy.start("other", lease=4)

    oxy.send(events.RenewLease(seconds={"shop": 60.0, "nobody": 60.0}))
    oxy.expect(events.LeaseRanOut, session="other", timeout=6)
    assert oxy.all(events.LeaseRanOut, session="shop") == []


@pytest.mark.parametrize("paired", [True, False], ids=["connected", "showing codes"])
def test_an_engine_whose_host_is_gone_leaves_within_a_second(oxy: EngineProcess, sim: Simulator, paired: bool) -> None:
    if paired:
        pair(oxy, sim)
    else:
        oxy.start("shop")
        oxy.expect(events.QrIssued)
    began = time.monotonic()

    oxy.close_commands()
    assert oxy.wait(2) == 0
    assert time.monotonic() - began < 1
    sim.connections.wait_for(lambda live: not live, timeout=2)


def test_an_engine_that_is_told_to_shut_down_stops_everything(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    oxy.start("other")
    oxy.expect(events.QrIssued, session="other")

    oxy.send(events.ShutDown())
    assert oxy.wait(6) == 0
    until(lambda: len(oxy.all(events.ClientStopped)) == 2, timeout=2)


def test_a_socket_that_outlives_its_lease_takes_the_engine_with_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, engine(tmp_path) as oxy:
        # Accepts and never answers: as long as the library dials, nothing can close its socket.
        oxy.start("shop", lease=1, proxy_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert oxy.wait(8) == 70
        assert "socket_not_closed session=shop" in oxy.said()


def test_an_engine_leaves_when_its_parent_is_gone_though_its_pipe_is_held_open(tmp_path: Path) -> None:
    parent_script = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'sessions_app.engine', '--events-fd', '1'])\n"
        "print('child', child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent_script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=PROJECT,
        env=os.environ | NOWHERE,
    ) as parent:
        assert parent.stdout is not None
        lines = iter(parent.stdout.readline, b"")
        pid = int(next(lines).split()[1])
        next(line for line in lines if b"EngineStarted" in line)
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
        assert parent.stdout.read() == b""
        until(lambda: not Path(f"/proc/{pid}").exists(), timeout=3)


def test_signals_of_the_group_do_not_end_an_engine(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    for number in (signal.SIGTERM, signal.SIGINT):
        oxy.process.send_signal(number)

    oxy.start("other")
    oxy.expect(events.QrIssued, session="other")


def test_a_kill_in_a_burst_costs_what_the_library_had_in_hand_and_nothing_else(
    oxy: EngineProcess, sim: Simulator
) -> None:
    pair(oxy, sim)
    bob = sim.phone(BOB, name="Bob")
    ids: list[str] = []
    burst = threading.Thread(target=lambda: ids.extend(bob.send_text(ANA, f"text {index}") for index in range(60)))

    burst.start()
    oxy.expect(events.MessageReceived, text="text 20")
    oxy.kill()
    burst.join()
    last = bob.send_text(ANA, "the last one")

    with engine(oxy.directory, sim.environment) as second:
        second.start("shop", epoch=2)
        second.expect(events.MessageReceived, message_id=last)
        # A fresh reader of the same spool: it has the first engine's events too, whatever was heard from its pipe.
        arrived = {event.message_id for event in second.all(events.MessageReceived)}
    # The one that is being decrypted, and one that is on its way from Go to Python (docs/architecture.md).
    assert len(set(ids) - arrived) <= 2


def test_a_message_that_comes_twice_is_received_once_and_the_second_time_is_said(
    oxy: EngineProcess, sim: Simulator
) -> None:
    pair(oxy, sim)
    sim.faults.duplicate(copies=2)

    message_id = sim.phone(BOB, name="Bob").send_text(ANA, "Once")
    received = oxy.expect(events.MessageReceived, message_id=message_id)
    again = oxy.expect(events.MessageUndecryptable, message_id=message_id)
    assert (again.chat, again.sender) == (received.chat, received.sender)
    assert len(oxy.all(events.MessageReceived, message_id=message_id)) == 1


def test_a_stop_in_a_burst_loses_no_message(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    bob = sim.phone(BOB, name="Bob")
    ids: list[str] = []
    burst = threading.Thread(target=lambda: ids.extend(bob.send_text(ANA, f"text {index}") for index in range(60)))

    burst.start()
    oxy.expect(events.MessageReceived, text="text 20")
    assert not stop(oxy).leaked
    burst.join()
    last = bob.send_text(ANA, "the last one")

    oxy.start("shop", epoch=2)
    oxy.expect(events.MessageReceived, message_id=last)
    arrived = [event.message_id for event in oxy.all(events.MessageReceived)]
    assert set(ids) <= set(arrived)
    assert len(arrived) == len(set(arrived))


# --- messages ---------------------------------------------------------------------


def test_a_text_is_sent_and_its_delivery_is_heard(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    bob = sim.phone(BOB, name="Bob")

    oxy.send(events.SendMessage(session="shop", ref="1", to=f"+{BOB}", text="Good morning"))
    sent = oxy.expect(events.MessageSent, ref="1")
    assert bob.wait_for_text("Good morning", timeout=10)
    assert abs(sent.timestamp - time.time()) < 60
    receipt = oxy.expect(events.ReceiptReceived, where=lambda receipt: sent.message_id in receipt.message_ids)
    assert receipt.kind in ("delivered", "sender")


def test_texts_go_out_in_the_order_in_which_they_were_given(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    bob = sim.phone(BOB, name="Bob")
    texts = [f"number {index}" for index in range(8)]

    for text in texts:
        oxy.send(events.SendMessage(session="shop", ref=text, to=BOB, text=text))
    bob.wait_for_text(texts[-1], timeout=15)
    assert [message.text for message in bob.inbox if message.text in texts] == texts


def test_a_text_of_a_person_arrives_with_who_sent_it(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    bob = sim.phone(BOB, name="Bob")

    message_id = bob.send_text(ANA, "Hello, Ana")
    message = oxy.expect(events.MessageReceived, text="Hello, Ana")
    assert message.message_id == message_id
    assert {message.sender, message.sender_alt} == {bob.jid, bob.lid}
    assert (message.from_me, message.is_group, message.kind) == (False, False, "conversation")
    assert abs(message.timestamp - time.time()) < 60
    assert b"Hello, Ana" in message.raw


def test_what_the_phone_itself_sends_is_heard_as_from_me(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    sim.phone(BOB, name="Bob")

    sim.phone(ANA).send_text(BOB, "From the phone")
    message = oxy.expect(events.MessageReceived, text="From the phone")
    assert message.from_me


def test_a_text_while_the_connection_is_gone_fails_at_once(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    after = oxy.mark()
    sim.stop()
    oxy.expect(events.Disconnected, after=after)

    oxy.send(events.SendMessage(session="shop", ref="7", to=BOB, text="Nobody hears this"))
    failed = oxy.expect(events.CommandFailed, timeout=5, ref="7")
    assert failed.error.startswith("The message was not sent: ")
    assert (failed.tried, failed.in_doubt) == (False, False)
    assert "Nobody hears this" not in failed.error


def test_a_text_whose_acknowledgement_never_comes_is_in_doubt(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    bob = sim.phone(BOB, name="Bob")
    sim.faults.no_acks()

    oxy.send(events.SendMessage(session="shop", ref="7", to=BOB, text="Did you hear this?"))
    bob.wait_for_text("Did you hear this?")
    sim.stop()
    failed = oxy.expect(events.CommandFailed, timeout=10, ref="7")
    assert (failed.tried, failed.in_doubt) == (True, True)
    assert failed.error.startswith("It is not known whether the message was sent: ")


@pytest.mark.parametrize("to", ["", "Bob", "@s.whatsapp.net", "12 34x"])
def test_a_recipient_that_is_none_is_refused(oxy: EngineProcess, sim: Simulator, to: str) -> None:
    pair(oxy, sim)

    oxy.send(events.SendMessage(session="shop", ref="7", to=to, text="Hello"))
    failed = oxy.expect(events.CommandFailed, ref="7")
    assert failed.error == "The message was not sent: the recipient is neither a phone number nor a JID."


# --- secrets ----------------------------------------------------------------------


def test_no_log_of_an_engine_holds_a_code_or_a_text(oxy: EngineProcess, sim: Simulator) -> None:
    pair(oxy, sim)
    sim.phone(BOB, name="Bob").send_text(ANA, "A private word")
    oxy.expect(events.MessageReceived, text="A private word")
    oxy.send(events.SendMessage(session="shop", ref="1", to=BOB, text="An answer"))
    oxy.expect(events.MessageSent)
    oxy.send(events.LogOut(session="shop"))
    oxy.expect(events.ClientStopped)
    oxy.close_commands()
    oxy.wait(2)

    code = oxy.all(events.QrIssued)[0].code
    secrets = [part for part in re.split(r"[,#]", code) if len(part) > 20]
    assert len(secrets) >= 3
    said = oxy.said()
    for secret in [*secrets, "A private word", "An answer"]:
        assert secret not in said
    assert not re.search(r"[A-Za-z0-9+/]{40,}", said)
    assert "A private word" not in json.dumps([repr(event) for event in oxy.heard])
