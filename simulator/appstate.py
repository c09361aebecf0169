"""The app state that a phone shares with its companions: the key to read it, and the one setting that matters here, the push name.

Facts from whatsmeow appstate/ (hash.go, keys.go, decode.go): a record's value is iv, ciphertext and MAC; the state's hash is a sum of the
MACs' expansions; a patch carries a MAC of that hash and one of itself.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.padding import PKCS7

from simulator.proto import Message, Patch, SyncActionData

#: The collection that holds the push name, and its only version.
COLLECTION, VERSION = "critical_block", 1
PUSH_NAME_INDEX = b'["setting_pushName"]'
KEY_SHARE = 6
SET = b"\x01"


@dataclass
class AppState:
    """The key, as hex, and which companions (device numbers) have it."""

    key_id: str = field(default_factory=lambda: "0000" + secrets.token_hex(4))
    key: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)
    welcomed: list[int] = field(default_factory=list)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> AppState:
        return cls(**json.loads(text or "{}"))

    def key_share(self) -> Any:
        """The message that gives a companion the key."""
        message = Message()
        message.protocol.type = KEY_SHARE
        key = message.protocol.appStateSyncKeyShare.keys.add()
        key.keyId.id = bytes.fromhex(self.key_id)
        key.keyData.keyData = bytes.fromhex(self.key)
        key.keyData.fingerprint.rawId = 1
        key.keyData.timestamp = int(time.time() * 1000)
        return message

    def patch(self, push_name: str) -> bytes:
        """The patch that takes COLLECTION from nothing to VERSION."""
        index_key, value_key, value_mac_key, snapshot_key, patch_key = self._keys()
        key_id, version = bytes.fromhex(self.key_id), VERSION.to_bytes(8, "big")
        action = SyncActionData(index=PUSH_NAME_INDEX, padding=b"", version=1)
        action.value.timestamp = int(time.time() * 1000)
        action.value.pushName.name = push_name
        content = _encrypt(value_key, action.SerializeToString())
        length = (len(key_id) + 1).to_bytes(8, "big")
        value_mac = hmac.digest(value_mac_key, SET + key_id + content + length, "sha512")[:32]
        # The hash of the empty state is zero, so that of a state with one record is that record's expansion.
        state_hash = _derive(value_mac, b"WhatsApp Patch Integrity", 128)

        patch = Patch()
        patch.version.version = VERSION
        patch.keyId.id = key_id
        mutation = patch.mutations.add(operation=0)
        mutation.record.index.blob = hmac.digest(index_key, PUSH_NAME_INDEX, "sha256")
        mutation.record.value.blob = content + value_mac
        mutation.record.keyId.id = key_id
        patch.snapshotMac = hmac.digest(snapshot_key, state_hash + version + COLLECTION.encode(), "sha256")
        patch.patchMac = hmac.digest(patch_key, patch.snapshotMac + value_mac + version + COLLECTION.encode(), "sha256")
        return bytes(patch.SerializeToString())

    def _keys(self) -> list[bytes]:
        expanded = _derive(bytes.fromhex(self.key), b"WhatsApp Mutation Keys", 160)
        return [expanded[start : start + 32] for start in range(0, 160, 32)]


def _encrypt(key: bytes, plaintext: bytes) -> bytes:
    iv, padder = secrets.token_bytes(16), PKCS7(128).padder()
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return iv + cipher.update(padder.update(plaintext) + padder.finalize()) + cipher.finalize()


def _derive(secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret)
