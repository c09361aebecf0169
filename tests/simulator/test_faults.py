"""Each fault does what its name says, and ends when it is cleared."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from simulator import SimulatorError
from simulator import faults as faults_module
from simulator.errors import PhoneError
from simulator.faults import CATALOGUE
from simulator.nodes import Node
from simulator.phone import Phone
from simulator.world import World

from .companion import Companion
from .conftest import ANA, link, settle

MANUAL = Path(__file__).parents[2] / "docs" / "simulator.md"


async def test_ban_refuses_logins_with_402_and_the_seconds_that_are_left(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    await world.faults.cause("ban", seconds=30)
    assert companion.is_cut
    failure = companion.log_in()
    assert (failure.get("reason"), failure.get("expire")) == ("402", "30")


async def test_ban_of_one_number_leaves_the_others_alone_and_ends_by_itself(
    world: World, ana: Phone, bob: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = await link(world, ana), await link(world, bob)
    await world.faults.cause("ban", seconds=30, number=ANA)
    assert other.log_in().tag == "success"
    assert mine.log_in().tag == "failure"
    now = time.monotonic()
    monkeypatch.setattr(faults_module.time, "monotonic", lambda: now + 31)
    assert mine.log_in().tag == "success"


async def test_outdated_refuses_every_client_with_405_paired_or_not(world: World, ana: Phone) -> None:
    companion, fresh = await link(world, ana), Companion(world)
    await world.faults.cause("outdated")
    assert companion.log_in().get("reason") == "405"
    fresh.register()
    assert fresh.received[0].get("reason") == "405"
    await world.faults.clear()
    assert companion.log_in().tag == "success"


@pytest.mark.parametrize("reason", [403, 500, 503])
async def test_login_failure_refuses_with_the_given_reason(world: World, ana: Phone, reason: int) -> None:
    companion = await link(world, ana)
    await world.faults.cause("login_failure", reason=reason)
    assert companion.log_in().get("reason") == str(reason)


async def test_passkey_asks_for_one_and_pairs_nobody(world: World, ana: Phone) -> None:
    companion = Companion(world)
    companion.register()
    await world.faults.cause("passkey")
    with pytest.raises(PhoneError) as error:
        await ana.scan(companion.qr())
    assert error.value.reason == "passkey"
    assert companion.got("notification", type="passkey_prologue_request")[0].child("passkey_request_options")
    assert ana.devices == []


async def test_device_limit_lets_a_phone_have_only_so_many(world: World, ana: Phone) -> None:
    await link(world, ana)
    await world.faults.cause("device_limit", count=1)
    second = Companion(world)
    second.register()
    with pytest.raises(PhoneError) as error:
        await ana.scan(second.qr())
    assert error.value.reason == "device-limit"
    await world.faults.clear()
    assert await ana.scan(second.qr())


async def test_few_refs_makes_a_round_short(world: World) -> None:
    await world.faults.cause("few_refs", count=2)
    companion = Companion(world)
    companion.register()
    assert len(companion.refs) == 2


async def test_refs_expire_early_kills_codes_that_are_still_shown(world: World, ana: Phone) -> None:
    companion = Companion(world)
    companion.register()
    await world.faults.cause("refs_expire_early", seconds=0)
    with pytest.raises(PhoneError) as error:
        await ana.scan(companion.qr())
    assert error.value.reason == "dead-code"


async def test_deaf_takes_everything_in_and_answers_nothing(world: World, ana: Phone, bob: Phone) -> None:
    companion, other = await link(world, ana), await link(world, bob)
    await world.faults.cause("deaf", jid=str(companion.jid))
    with pytest.raises(AssertionError, match="no answer"):
        companion.ask("w:p")
    assert other.ask("w:p").get("type") == "result"
    message_id = other.message(ana.account.lid_jid(), ana.account.lid_jid(1))
    assert companion.received == []
    await world.faults.clear()
    companion.log_in()
    assert companion.got("message", id=message_id)
    assert companion.ask("w:p").get("type") == "result"


async def test_no_acks_delivers_and_never_says_so(world: World, ana: Phone, bob: Phone) -> None:
    sender, receiver = await link(world, ana), await link(world, bob)
    await world.faults.cause("no_acks")
    message_id = sender.message(bob.account.lid_jid(), bob.account.lid_jid(1))
    assert receiver.got("message", id=message_id)
    assert sender.got("ack") == []


async def test_slow_sends_late_and_in_order(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    await world.faults.cause("slow", seconds=0.05)
    start = time.monotonic()
    for number in range(5):
        companion.send(Node("iq", {"id": f"P{number}", "xmlns": "w:p", "type": "get"}))
    await world.faults.clear()
    companion.send(Node("iq", {"id": "P5", "xmlns": "w:p", "type": "get"}))
    assert companion.received == []
    async with asyncio.timeout(5):
        while len(companion.received) < 6:
            await asyncio.sleep(0)
    assert time.monotonic() - start >= 0.05
    assert [node.get("id") for node in companion.received] == [f"P{number}" for number in range(6)]


async def test_duplicate_delivers_each_stanza_several_times(world: World, ana: Phone, bob: Phone) -> None:
    sender, receiver = await link(world, ana), await link(world, bob)
    await world.faults.cause("duplicate", copies=3)
    message_id = sender.message(bob.account.lid_jid(), bob.account.lid_jid(1))
    assert len(receiver.got("message", id=message_id)) == 3


async def test_a_phone_shows_a_duplicate_once(world: World, ana: Phone, bob: Phone) -> None:
    await world.faults.cause("duplicate", copies=2)
    ana.send_text(bob.account.number, "once")
    await settle()
    assert [line.text for line in bob.lines] == ["once"]


async def test_cut_breaks_one_connection_without_a_goodbye(world: World, ana: Phone, bob: Phone) -> None:
    mine, other = await link(world, ana), await link(world, bob)
    await world.faults.cause("cut", jid=str(mine.jid))
    assert (mine.is_cut, mine.received, other.is_cut) == (True, [], False)


async def test_replaced_says_so_to_one_device(world: World, ana: Phone, bob: Phone) -> None:
    mine, other = await link(world, ana), await link(world, bob)
    await world.faults.cause("replaced", jid=str(mine.jid))
    assert mine.got("stream:error")[0].child("conflict").get("type") == "replaced"
    assert other.got("stream:error") == []
    other.message(ana.account.lid_jid(), ana.account.lid_jid(1))
    assert mine.received[-1].tag == "stream:error"


async def test_stream_error_ends_streams_with_its_code(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    await world.faults.cause("stream_error", code=515)
    assert companion.got("stream:error")[0].get("code") == "515"


async def test_unlink_removes_the_device(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    await world.faults.cause("unlink", jid=str(companion.jid))
    assert ana.devices == []
    assert companion.got("stream:error")[0].child("conflict").get("type") == "device_removed"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("nonsense", {}), ("ban", {"hours": 1}), ("ban", {"seconds": "soon"}), ("outage", {"mode": "x"})],
)
async def test_a_fault_that_is_none_is_refused_with_a_sentence(
    world: World, name: str, parameters: dict[str, object]
) -> None:
    with pytest.raises(SimulatorError) as error:
        await world.faults.cause(name, **parameters)
    assert str(error.value).endswith(".")
    assert world.faults.active == {}


def test_every_fault_has_a_test_of_its_name() -> None:
    here = "\n".join(name for name in globals() if name.startswith("test_"))
    in_sockets = {"outage", "media_refused", "media_lost"}  # test_simulator.py, test_media.py
    assert [name for name in CATALOGUE if f"test_{name}_" not in here and name not in in_sockets] == []


def test_the_manual_names_every_fault_and_its_parameters() -> None:
    rows = [line for line in MANUAL.read_text().splitlines() if line.startswith("| `")]
    named = {row.split("`")[1]: set(row.split("|")[2].replace("`", "").replace(",", " ").split()) for row in rows}
    assert named == {name: set(fault.parameters) for name, fault in CATALOGUE.items()}
