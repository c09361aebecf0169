"""The app state that a phone shares, opened again by the rules of whatsmeow's appstate/decode.go."""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from simulator.appstate import AppState
from simulator.phone import Phone
from simulator.proto import Patch, SyncActionData
from simulator.world import World

from .conftest import link


def expand(secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, None, info).derive(secret)


def test_the_patch_opens_with_the_shared_key_and_its_macs_are_right() -> None:
    state = AppState()
    shared = state.key_share().protocol.appStateSyncKeyShare.keys[0]
    keys = expand(shared.keyData.keyData, b"WhatsApp Mutation Keys", 160)
    patch = Patch.FromString(state.patch("Ana"))
    record = patch.mutations[0].record
    content, mac = record.value.blob[:-32], record.value.blob[-32:]
    decryptor = Cipher(algorithms.AES(keys[32:64]), modes.CBC(content[:16])).decryptor()
    padded = decryptor.update(content[16:]) + decryptor.finalize()
    action = SyncActionData.FromString(padded[: -padded[-1]])

    assert action.value.pushName.name == "Ana"
    assert record.index.blob == hmac.digest(keys[:32], action.index, "sha256")
    length = (len(shared.keyId.id) + 1).to_bytes(8, "big")
    assert mac == hmac.digest(keys[64:96], b"\x01" + shared.keyId.id + content + length, "sha512")[:32]
    name, version = b"critical_block", (1).to_bytes(8, "big")
    state_hash = expand(mac, b"WhatsApp Patch Integrity", 128)
    assert patch.snapshotMac == hmac.digest(keys[96:128], state_hash + version + name, "sha256")
    assert patch.patchMac == hmac.digest(keys[128:], patch.snapshotMac + mac + version + name, "sha256")


def test_its_key_is_kept_and_hidden() -> None:
    state = AppState()
    assert AppState.from_json(state.to_json()) == state
    assert state.key not in repr(state)


async def test_a_device_gets_the_key_once(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    companion.leave()
    companion.log_in()
    ana.go_offline()
    ana.go_online()
    assert companion.got("message") == []
