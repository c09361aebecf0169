"""The real neonize against the simulator: if these pass, the simulator is WhatsApp enough."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from simulator import Handset, PhoneError, Simulator
from simulator.transcript import Entry

from .clients import NeonizeClient
from .conftest import ANA, BOB

Start = Callable[..., NeonizeClient]

pytestmark = pytest.mark.slow


@pytest.fixture
def ana(simulator: Simulator) -> Handset:
    return simulator.phone(ANA, name="Ana")


@pytest.fixture
def bob(simulator: Simulator) -> Handset:
    return simulator.phone(BOB, name="Bob")


@pytest.fixture
def linked(simulator: Simulator, start_client: Start, ana: Handset) -> NeonizeClient:
    """A client that Ana's phone has linked by QR code."""
    client = start_client()
    ana.scan(client.expect("qr")["code"])
    client.expect("connected")
    # The last collection of the app state that it asks for: what the phone gives a new device is taken in by then.
    simulator.transcript.wait_for(lambda entry: collection(entry) == "regular_low")
    return client


def collection(entry: Entry) -> str:
    """The collection of the app state that a client asks for with this stanza."""
    asked = entry.node.child("sync", "collection") if entry.direction == "in" else None
    return asked.get("name") if asked else ""


def test_it_pairs_talks_and_comes_back_without_a_code(
    linked: NeonizeClient, start_client: Start, ana: Handset, bob: Handset
) -> None:
    linked.run("send", to=BOB, text="hello bob")
    assert bob.wait_for_text("hello bob").sender == f"{ANA}:1@s.whatsapp.net"
    ana.wait_for(lambda line: line.direction == "own" and line.text == "hello bob")
    sent = bob.send_text(ANA, "hello ana")
    assert linked.expect("message", text="hello ana")["id"] == sent
    bob.wait_for(lambda line: line.id == sent and line.status == "delivered")
    assert "undecryptable" not in linked.names()

    linked.kill()
    while_away = [bob.send_text(ANA, f"while away {number}") for number in range(3)]
    again = start_client()
    again.expect("connected")
    assert [again.expect("message", text=f"while away {number}")["id"] for number in range(3)] == while_away
    again.run("send", to=BOB, text="back")
    bob.wait_for_text("back")
    assert "qr" not in again.names()


def test_it_learns_its_owners_name(linked: NeonizeClient) -> None:
    linked.run("present")
    assert linked.run("me") == "Ana"


def test_it_pairs_by_code_after_a_wrong_one(start_client: Start, ana: Handset, simulator: Simulator) -> None:
    client = start_client()
    client.expect("qr")
    code = client.run("pair", number=ANA)
    wrong = code[:-1] + ("2" if code[-1] == "1" else "1")
    with pytest.raises(PhoneError) as error:
        ana.enter_code(wrong)
    assert error.value.reason == "wrong-code"
    assert ana.enter_code(code) == f"{ANA}:1@s.whatsapp.net"
    client.expect("connected")


def test_a_passkey_request_reaches_it_and_its_codes_are_dead_from_then_on(
    start_client: Start, ana: Handset, simulator: Simulator
) -> None:
    simulator.faults.passkey()
    client = start_client()
    code = client.expect("qr")["code"]
    with pytest.raises(PhoneError):
        ana.scan(code)
    client.expect("status", name="passkey-request")
    simulator.faults.clear()
    with pytest.raises(PhoneError, match="hmac-mismatch"):
        ana.scan(code)


def test_groups_work_both_ways(linked: NeonizeClient, ana: Handset, bob: Handset) -> None:
    group = bob.create_group("Friends", [ANA])
    linked.expect("joined")
    bob.send_text(group, "hello group")
    linked.expect("message", text="hello group", group=True)
    linked.run("send", to=group.split("@")[0], server="g.us", text="hello from me")
    bob.wait_for_text("hello from me")
    own = linked.run("create_group", name="Mine", members=[BOB])
    linked.run("send", to=own, server="g.us", text="in my group")
    assert bob.wait_for_text("in my group").chat == f"{own}@g.us"


def test_unlinked_by_the_phone_it_is_logged_out(linked: NeonizeClient, ana: Handset) -> None:
    ana.unlink(f"{ANA}:1@s.whatsapp.net")
    linked.expect("logged-out")
    assert ana.devices == []


def test_it_logs_itself_out(linked: NeonizeClient, ana: Handset) -> None:
    linked.run("logout")
    assert ana.devices == []


def test_replaced_it_stays_down(linked: NeonizeClient, simulator: Simulator) -> None:
    simulator.faults.replaced(f"{ANA}:1@s.whatsapp.net")
    linked.expect("replaced")
    simulator.connections.wait_for(lambda live: not live)


def test_banned_it_is_told_for_how_long(linked: NeonizeClient, simulator: Simulator) -> None:
    simulator.faults.ban(seconds=60)
    assert 50 < linked.expect("ban")["expire"] <= 60


def test_outdated_it_is_told_so(linked: NeonizeClient, simulator: Simulator) -> None:
    simulator.faults.outdated()
    linked.expect("outdated")


def test_it_comes_back_after_a_cut_and_after_an_outage(
    linked: NeonizeClient, simulator: Simulator, bob: Handset
) -> None:
    for fault, parameters in (("cut", {}), ("stream_error", {"code": 503}), ("outage", {"seconds": 1})):
        simulator.faults.cause(fault, **parameters)
        linked.expect("disconnected")
        linked.expect("connected")
    bob.send_text(ANA, "still there")
    linked.expect("message", text="still there")


def test_it_finds_the_simulator_again_after_a_restart(
    linked: NeonizeClient, simulator: Simulator, bob: Handset
) -> None:
    simulator.stop()
    simulator.start()
    linked.expect("connected")
    linked.run("send", to=BOB, text="after the restart")
    bob.wait_for_text("after the restart")


def test_killed_before_it_acknowledges_it_gets_the_message_again(
    linked: NeonizeClient, start_client: Start, simulator: Simulator, bob: Handset
) -> None:
    # Half a second of delay on our side: the message is queued, and the client is dead before it sees it.
    simulator.faults.slow(0.5)
    bob.send_text(ANA, "not lost")
    linked.kill()
    simulator.faults.clear()
    start_client().expect("message", text="not lost")


def test_a_duplicate_is_shown_once(linked: NeonizeClient, simulator: Simulator, bob: Handset) -> None:
    simulator.faults.duplicate(copies=3)
    bob.send_text(ANA, "once")
    simulator.faults.clear()
    bob.send_text(ANA, "end")
    linked.expect("message", text="once")
    linked.expect("message", text="end")
    assert [event["text"] for event in linked.events if event.get("text") == "once"] == ["once"]


def test_two_real_clients_talk_through_it(
    linked: NeonizeClient, start_client: Start, ana: Handset, bob: Handset
) -> None:
    other = start_client("other")
    bob.scan(other.expect("qr")["code"])
    other.expect("connected")
    for turn in range(3):
        linked.run("send", to=BOB, text=f"ping {turn}")
        other.expect("message", text=f"ping {turn}")
        bob.wait_for_text(f"ping {turn}")
        other.run("send", to=ANA, text=f"pong {turn}")
        linked.expect("message", text=f"pong {turn}")
        ana.wait_for_text(f"pong {turn}")
    assert {"undecryptable"}.isdisjoint(linked.names() + other.names())


def test_without_its_signal_sessions_it_and_its_peers_lose_nothing(
    linked: NeonizeClient, start_client: Start, tmp_path: Path, bob: Handset
) -> None:
    group = bob.create_group("Friends", [ANA])
    linked.expect("joined")
    for turn in range(3):
        linked.run("send", to=BOB, text=f"before {turn}")
        linked.run("send", to=group.split("@")[0], server="g.us", text=f"group before {turn}")
        bob.wait_for_text(f"group before {turn}")
        bob.send_text(ANA, f"answer {turn}")
        linked.expect("message", text=f"answer {turn}")
    linked.kill()
    with closing(sqlite3.connect(tmp_path / "store.sqlite3")) as store, store:
        store.execute("DELETE FROM whatsmeow_sessions")
        store.execute("DELETE FROM whatsmeow_sender_keys")

    bob.send_text(ANA, "under the old session")
    again = start_client()
    again.expect("connected")
    again.expect("message", text="under the old session")
    for turn in range(3):
        again.run("send", to=BOB, text=f"after {turn}")
        bob.wait_for_text(f"after {turn}")
        again.run("send", to=group.split("@")[0], server="g.us", text=f"group after {turn}")
        bob.wait_for_text(f"group after {turn}")
        bob.send_text(ANA, f"once more {turn}")
        again.expect("message", text=f"once more {turn}")


def test_a_stale_signal_session_loses_its_sends_in_silence(
    linked: NeonizeClient, start_client: Start, tmp_path: Path, bob: Handset
) -> None:
    """What a real peer does, and the reason for a vault that is written through (wire.md, 5)."""
    linked.run("send", to=BOB, text="first")
    bob.wait_for_text("first")
    # An answer, so that the session is past its first message.
    bob.send_text(ANA, "answer")
    linked.expect("message", text="answer")
    linked.run("send", to=BOB, text="second")
    bob.wait_for_text("second")
    linked.kill()
    copy = (tmp_path / "store.sqlite3").read_bytes()
    client = start_client()
    client.expect("connected")
    client.run("send", to=BOB, text="third")
    bob.wait_for_text("third")
    client.kill()
    (tmp_path / "store.sqlite3").write_bytes(copy)
    stale = start_client()
    stale.expect("connected")
    stale.run("send", to=BOB, text="lost")
    stale.run("send", to=BOB, text="found")
    bob.wait_for_text("found")
    assert "lost" not in [line.text for line in bob.lines]
