"""Pairing by code, the phone's half against a companion's half written here from whatsmeow's pair-code.go."""

from __future__ import annotations

import hashlib
import secrets

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from simulator.curve import KeyPair
from simulator.errors import PhoneError
from simulator.linking import CodeExchange, read_code, read_qr

CODE = "ABCD1234"


class CompanionHalf:
    """What the other device does with the code that it shows."""

    def __init__(self, code: str = CODE) -> None:
        self.identity = KeyPair.generate()
        self._code = code
        self._ephemeral = KeyPair.generate()

    def wrapped(self) -> bytes:
        salt, iv = secrets.token_bytes(32), secrets.token_bytes(16)
        return salt + iv + self._under_code(salt, iv, self._ephemeral.public)

    def bundle(
        self, primary_wrapped: bytes, primary_identity: bytes, claimed: bytes | None = None
    ) -> tuple[bytes, bytes]:
        """(key bundle, adv secret); `claimed` replaces the identity in the bundle."""
        primary = self._under_code(primary_wrapped[:32], primary_wrapped[32:48], primary_wrapped[48:])
        shared, random = self._ephemeral.agree(primary), secrets.token_bytes(32)
        salt, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
        key = self._derive(shared, salt, b"link_code_pairing_key_bundle_encryption_key")
        plain = (claimed or self.identity.public) + primary_identity + random
        secret = self._derive(shared + self.identity.agree(primary_identity) + random, None, b"adv_secret")
        return salt + nonce + AESGCM(key).encrypt(nonce, plain, None), secret

    def _under_code(self, salt: bytes, iv: bytes, data: bytes) -> bytes:
        key = hashlib.pbkdf2_hmac("sha256", self._code.encode(), salt, 131072, 32)
        return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update(data)

    @staticmethod
    def _derive(secret: bytes, salt: bytes | None, info: bytes) -> bytes:
        return HKDF(SHA256(), 32, salt, info).derive(secret)


def test_both_halves_end_with_the_same_secret() -> None:
    account, companion = KeyPair.generate(), CompanionHalf()
    phone = CodeExchange(CODE, account)
    bundle, secret = companion.bundle(phone.wrapped_ephemeral(), account.public)
    assert phone.adv_secret(companion.wrapped(), companion.identity.public, bundle) == secret


def test_another_code_is_noticed() -> None:
    account, companion = KeyPair.generate(), CompanionHalf("ABCD1235")
    phone = CodeExchange(CODE, account)
    bundle, _ = companion.bundle(phone.wrapped_ephemeral(), account.public)
    with pytest.raises(PhoneError) as error:
        phone.adv_secret(companion.wrapped(), companion.identity.public, bundle)
    assert error.value.reason == "wrong-code"


@pytest.mark.parametrize("whose", ["companion", "phone"])
def test_a_bundle_for_another_identity_is_refused(whose: str) -> None:
    account, companion, stranger = KeyPair.generate(), CompanionHalf(), KeyPair.generate()
    phone = CodeExchange(CODE, account)
    claimed = stranger.public if whose == "companion" else None
    primary = stranger.public if whose == "phone" else account.public
    bundle, _ = companion.bundle(phone.wrapped_ephemeral(), primary, claimed)
    with pytest.raises(PhoneError):
        phone.adv_secret(companion.wrapped(), companion.identity.public, bundle)


@pytest.mark.parametrize("size", [0, 31, 44, 60])
def test_a_truncated_bundle_is_refused(size: int) -> None:
    account, companion = KeyPair.generate(), CompanionHalf()
    phone = CodeExchange(CODE, account)
    bundle, _ = companion.bundle(phone.wrapped_ephemeral(), account.public)
    with pytest.raises(PhoneError):
        phone.adv_secret(companion.wrapped(), companion.identity.public, bundle[:size])


@pytest.mark.parametrize("text", ["ABCD-1234", "abcd1234", " abcd 1234 "])
def test_a_typed_code_may_have_its_hyphen_or_not(text: str) -> None:
    assert read_code(text) == CODE


def test_no_secret_of_a_qr_code_is_in_its_repr() -> None:
    ref, key = "2@secret-ref", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I="
    offer = read_qr(f"{ref},{key},{key},{key},1")
    shown = repr(offer)
    assert ref not in shown
    assert "adv_secret" not in shown
