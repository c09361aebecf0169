"""Linking a device: what the server and the phone accept, and all that they refuse."""

from __future__ import annotations

import asyncio
import base64

import pytest

from simulator import pairing
from simulator.curve import KeyPair
from simulator.errors import PhoneError
from simulator.nodes import Jid, Node
from simulator.phone import Phone
from simulator.world import World

from .companion import Companion
from .conftest import ANA, link, settle


@pytest.fixture
def companion(world: World) -> Companion:
    companion = Companion(world)
    companion.register()
    return companion


async def test_a_scanned_device_is_linked_and_sent_to_log_in(companion: Companion, ana: Phone) -> None:
    jid = await ana.scan(companion.qr(2))
    assert jid == companion.jid == Jid(ANA, "s.whatsapp.net", 1)
    assert companion.received[-1].tag == "stream:error"
    assert companion.received[-1].get("code") == "515"
    assert [device.device for device in ana.devices] == [1]
    assert companion.log_in().tag == "success"


async def test_six_refs_are_offered(companion: Companion) -> None:
    assert len(set(companion.refs)) == 6


async def test_the_address_in_front_of_a_qr_text_is_optional(companion: Companion, ana: Phone) -> None:
    assert await ana.scan(companion.qr().partition("#")[2]) == companion.jid


async def test_a_ref_is_dead_once_its_client_is_gone(companion: Companion, ana: Phone) -> None:
    qr = companion.qr()
    companion.leave()
    with pytest.raises(PhoneError) as error:
        await ana.scan(qr)
    assert error.value.reason == "dead-code"


async def test_a_ref_is_dead_once_its_time_is_over(
    companion: Companion, ana: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = pairing.FIRST_CODE + pairing.GRACE
    now = pairing.time.monotonic()
    monkeypatch.setattr(pairing.time, "monotonic", lambda: now + shown)
    with pytest.raises(PhoneError) as error:
        await ana.scan(companion.qr(0))
    assert error.value.reason == "dead-code"
    assert await ana.scan(companion.qr(1)) == companion.jid


async def test_a_code_works_once(companion: Companion, ana: Phone, bob: Phone) -> None:
    qr = companion.qr()
    await ana.scan(qr)
    with pytest.raises(PhoneError) as error:
        await bob.scan(qr)
    assert error.value.reason == "dead-code"


@pytest.mark.parametrize("text", ["", "hello", "a,b,c,d", "ref,AAAA,AAAA,AAAA,1"])
async def test_what_is_no_code_is_refused(ana: Phone, text: str) -> None:
    with pytest.raises(PhoneError) as error:
        await ana.scan(text)
    assert error.value.reason == "bad-code"


@pytest.mark.parametrize("part", [1, 2])
async def test_a_code_with_another_devices_keys_is_refused(companion: Companion, ana: Phone, part: int) -> None:
    parts = companion.qr().split(",")
    parts[part] = base64.b64encode(KeyPair.generate().public).decode()
    with pytest.raises(PhoneError) as error:
        await ana.scan(",".join(parts))
    assert error.value.reason == "bad-code"


async def test_a_device_that_does_not_know_the_adv_secret_refuses_to_be_linked(
    companion: Companion, ana: Phone
) -> None:
    qr = companion.qr()
    companion.adv_secret = bytes(32)
    with pytest.raises(PhoneError, match="hmac-mismatch"):
        await ana.scan(qr)
    assert ana.devices == []


async def test_a_device_with_a_wrong_signature_is_not_linked(companion: Companion, ana: Phone) -> None:
    companion.forged_signature = KeyPair.generate().sign(b"anything")
    with pytest.raises(PhoneError, match="signature is wrong"):
        await ana.scan(companion.qr())
    assert ana.devices == []
    assert companion.is_cut


async def test_a_registration_with_a_wrong_prekey_signature_is_refused(world: World) -> None:
    companion = Companion(world)
    companion.register(eSkeySig=bytes(64))
    assert companion.received[0].get("reason") == "400"
    assert companion.refs == []


async def test_a_client_that_goes_away_while_it_is_linked_is_said_so(companion: Companion, ana: Phone) -> None:
    companion.answers_pairing = False
    linking = asyncio.ensure_future(ana.scan(companion.qr()))
    await settle()
    companion.leave()
    with pytest.raises(PhoneError) as error:
        await linking
    assert error.value.reason == "connection-lost"
    assert ana.devices == []


async def test_a_fifth_device_is_refused_by_the_phone_and_the_client_hears_nothing(world: World, ana: Phone) -> None:
    for _ in range(4):
        await link(world, ana)
    fifth = Companion(world)
    fifth.register()
    before = list(fifth.received)
    with pytest.raises(PhoneError) as error:
        await ana.scan(fifth.qr())
    assert error.value.reason == "device-limit"
    assert fifth.received == before


async def test_a_phone_that_is_offline_links_nothing(companion: Companion, ana: Phone) -> None:
    ana.go_offline()
    with pytest.raises(PhoneError) as error:
        await ana.scan(companion.qr())
    assert error.value.reason == "offline"


async def test_a_device_number_is_never_given_twice(world: World, ana: Phone) -> None:
    first = await link(world, ana)
    assert first.jid
    ana.unlink(first.jid)
    second = await link(world, ana)
    assert second.jid == Jid(ANA, "s.whatsapp.net", 2)


async def test_an_unlinked_client_is_served_nothing_but_its_linking(companion: Companion) -> None:
    answer = companion.ask("encrypt", Node("count"))
    assert answer.get("type") == "error"


async def test_a_pairing_code_needs_a_proper_display_name(companion: Companion) -> None:
    content = [
        Node("link_code_pairing_wrapped_companion_ephemeral_pub", {}, bytes(80)),
        Node("companion_server_auth_key_pub", {}, companion.noise.public),
        Node("companion_platform_id", {}, b"1"),
        Node("companion_platform_display", {}, b"nonsense"),
    ]
    hello = Node("link_code_companion_reg", {"jid": Jid(ANA, "s.whatsapp.net"), "stage": "companion_hello"}, content)
    assert companion.ask("md", hello, type_="set").child("error").get("code") == "400"
    content[3] = Node("companion_platform_display", {}, b"Chrome (Linux)")
    assert companion.ask("md", hello, type_="set").child("link_code_companion_reg", "link_code_pairing_ref").data


async def test_a_code_for_which_nobody_waits_is_refused(ana: Phone) -> None:
    with pytest.raises(PhoneError) as error:
        await ana.enter_code("ABCD-1234")
    assert error.value.reason == "dead-code"


@pytest.mark.parametrize("code", ["", "ABC", "ABCD-123O", "ABCD-12345"])
async def test_what_is_no_pairing_code_is_refused(ana: Phone, code: str) -> None:
    with pytest.raises(PhoneError) as error:
        await ana.enter_code(code)
    assert error.value.reason == "bad-code"
