"""The symmetric half of Signal: chains of keys, the keys of one message, and AES-CBC under them."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.padding import PKCS7

from .errors import DuplicateMessage, SignalError

#: How many message keys may be skipped at once, and how many are kept for latecomers, in one chain (libsignal's bound).
MAX_SKIPPED = 2000

_MESSAGE_SEED = b"\x01"
_NEXT_CHAIN = b"\x02"
_BLOCK_BITS = 128


def derive(secret: bytes, *, salt: bytes | None, label: bytes, size: int) -> bytes:
    """HKDF-SHA256: `size` bytes from `secret`."""
    return HKDF(algorithm=SHA256(), length=size, salt=salt, info=label).derive(secret)


def mac(key: bytes, data: bytes) -> bytes:
    """HMAC-SHA256, 32 bytes."""
    return hmac.digest(key, data, hashlib.sha256)


def encrypt_cbc(key: bytes, iv: bytes, plaintext: bytes) -> bytes:
    """AES-256-CBC with PKCS #7 padding."""
    padder = PKCS7(_BLOCK_BITS).padder()
    encryptor = Cipher(AES(key), CBC(iv)).encryptor()
    return encryptor.update(padder.update(plaintext) + padder.finalize()) + encryptor.finalize()


def decrypt_cbc(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """The reverse; a length or padding that can't be is a `SignalError`."""
    unpadder = PKCS7(_BLOCK_BITS).unpadder()
    decryptor = Cipher(AES(key), CBC(iv)).decryptor()
    try:
        return unpadder.update(decryptor.update(ciphertext) + decryptor.finalize()) + unpadder.finalize()
    except ValueError as error:
        raise SignalError("The ciphertext has no valid padding.") from error


@dataclass
class SendingChain:
    """A chain that gives one message seed (32 bytes) after another, never the same twice."""

    key: bytes = field(repr=False)
    index: int = 0

    def step(self) -> bytes:
        """The seed of message `index`; the chain moves on and can't go back."""
        seed = mac(self.key, _MESSAGE_SEED)
        self.key = mac(self.key, _NEXT_CHAIN)
        self.index += 1
        return seed


@dataclass
class ReceivingChain(SendingChain):
    """The same chain at the other end, where messages arrive late or never: it keeps the seeds that it skipped."""

    skipped: dict[int, bytes] = field(default_factory=dict, repr=False)

    def seed_of(self, counter: int) -> bytes:
        """The seed of message `counter`, once."""
        if counter < self.index:
            if counter not in self.skipped:
                raise DuplicateMessage(f"Message {counter} of this chain was read before.")
            return self.skipped.pop(counter)
        if counter - self.index > MAX_SKIPPED:
            raise SignalError(f"More than {MAX_SKIPPED} messages before this one are missing.")
        while self.index < counter:
            at = self.index
            self.skipped[at] = self.step()
        while len(self.skipped) > MAX_SKIPPED:
            # They are in ascending order, as they were skipped.
            del self.skipped[next(iter(self.skipped))]
        return self.step()

    def copy(self) -> ReceivingChain:
        return ReceivingChain(self.key, self.index, dict(self.skipped))
