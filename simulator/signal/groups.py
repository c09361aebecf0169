"""Sender keys: one chain a sender and group, handed to each member in a pairwise message, every message signed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from simulator.curve import KeyPair

from . import kdf
from .errors import NoSenderKey, SignalError
from .kdf import MAX_SKIPPED, ReceivingChain
from .messages import ReceivedSenderKeyMessage, SenderKeyDistributionMessage, SenderKeyMessage

#: Sender keys kept for one sender and group, so that messages from before a change of key can be read.
MAX_SENDER_KEYS = 5


@dataclass
class SenderKey:
    """One sender's key for one group. The sender has `signing`, the others only its public half."""

    key_id: int
    chain: ReceivingChain = field(repr=False)
    signing_public: bytes
    signing: KeyPair | None = None

    @classmethod
    def generate(cls) -> SenderKey:
        signing = KeyPair.generate()
        return cls(secrets.randbelow(2**31), ReceivingChain(secrets.token_bytes(32)), signing.public, signing)

    @classmethod
    def from_distribution(cls, message: SenderKeyDistributionMessage) -> SenderKey:
        return cls(message.key_id, ReceivingChain(message.chain_key, message.iteration), message.signing_key)

    def distribution(self) -> SenderKeyDistributionMessage:
        return SenderKeyDistributionMessage(self.key_id, self.chain.index, self.chain.key, self.signing_public)

    def encrypt(self, plaintext: bytes) -> bytes:
        if self.signing is None:
            raise SignalError("Only its owner can write with a sender key.")
        iteration = self.chain.index
        cipher_key, iv = _message_keys(self.chain.step())
        message = SenderKeyMessage(self.key_id, iteration, kdf.encrypt_cbc(cipher_key, iv, plaintext))
        return message.seal(self.signing)

    def decrypt(self, message: ReceivedSenderKeyMessage) -> bytes:
        message.check(self.signing_public)
        chain = self.chain.copy()
        cipher_key, iv = _message_keys(chain.seed_of(message.iteration))
        plaintext = kdf.decrypt_cbc(cipher_key, iv, message.ciphertext)
        self.chain = chain
        return plaintext

    def reaches(self, message: SenderKeyDistributionMessage) -> bool:
        """Is `message` about this same key, at a place that this chain can get to?"""
        same = (self.key_id, self.signing_public) == (message.key_id, message.signing_key)
        return same and message.iteration - self.chain.index <= MAX_SKIPPED


def add_distribution(keys: list[SenderKey], message: SenderKeyDistributionMessage) -> list[SenderKey]:
    """`keys` (newest first) with the handed-out one in front. One that is known stays as it is: it remembers which
    messages were read, and which earlier ones may still come."""
    if any(key.reaches(message) for key in keys):
        return keys
    others = [key for key in keys if key.key_id != message.key_id]
    return [SenderKey.from_distribution(message), *others][:MAX_SENDER_KEYS]


def newest(keys: list[SenderKey]) -> SenderKey:
    if not keys:
        raise NoSenderKey("We have no sender key for the group.")
    return keys[0]


def find(keys: list[SenderKey], key_id: int) -> SenderKey:
    for key in keys:
        if key.key_id == key_id:
            return key
    raise NoSenderKey("This sender's key for the group is not known.")


def _message_keys(seed: bytes) -> tuple[bytes, bytes]:
    """Cipher key (32) and IV (16) of one group message; the IV comes first."""
    keys = kdf.derive(seed, salt=None, label=b"WhisperGroup", size=48)
    return keys[16:], keys[:16]
