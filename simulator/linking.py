"""Linking a new device, the phone's side: reading the QR code or the typed code, and signing for the device."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from simulator.curve import KeyPair
from simulator.errors import PhoneError
from simulator.proto import DeviceIdentity, SignedDeviceIdentity, SignedDeviceIdentityHmac

ACCOUNT_SIGNATURE_PREFIX = b"\x06\x00"
#: WhatsApp's alphabet for pairing codes: no 0, I, O or U.
CODE = re.compile(r"[1-9A-HJ-NP-TV-Z]{8}")
CODE_ITERATIONS = 2 << 16
WRONG_CODE = "That code is wrong, or it is for another phone number. Check it and try again."


@dataclass(frozen=True)
class QrOffer:
    """What a QR code says."""

    ref: str = field(repr=False)
    noise_key: bytes
    identity: bytes
    adv_secret: bytes = field(repr=False)


@dataclass(frozen=True)
class Proof:
    """The phone's word for a device: `container` goes to it, `details` is what both sign."""

    container: bytes
    details: bytes


def read_qr(text: str) -> QrOffer:
    """The parts of a QR code's text, with or without the address in front; PhoneError for anything else."""
    parts = text.strip().rpartition("#")[2].split(",")
    try:
        ref, noise, identity, adv = parts[:4]
        offer = QrOffer(ref, *(base64.b64decode(part, validate=True) for part in (noise, identity, adv)))
    except (ValueError, binascii.Error):
        raise PhoneError("bad-code", "That is not a code of WhatsApp. Scan the code on the other device.") from None
    if any(len(key) != 32 for key in (offer.noise_key, offer.identity, offer.adv_secret)):
        raise PhoneError("bad-code", "That is not a code of WhatsApp. Scan the code on the other device.")
    return offer


def sign_device(account: KeyPair, identity: bytes, adv_secret: bytes, device: int) -> Proof:
    """Vouch for the device that holds `identity`; only who knows `adv_secret` can make a container that the device believes."""
    details = DeviceIdentity(rawID=1, timestamp=int(time.time()), keyIndex=device).SerializeToString()
    signature = account.sign(ACCOUNT_SIGNATURE_PREFIX + details + identity)
    signed = SignedDeviceIdentity(
        details=details, accountSignatureKey=account.public, accountSignature=signature
    ).SerializeToString()
    seal = hmac.digest(adv_secret, signed, "sha256")
    return Proof(SignedDeviceIdentityHmac(details=signed, hmac=seal).SerializeToString(), details)


def read_code(text: str) -> str:
    """A typed pairing code without its hyphen; PhoneError for what can't be one."""
    code = re.sub(r"[\s-]", "", text).upper()
    if not CODE.fullmatch(code):
        raise PhoneError("bad-code", "A pairing code has eight letters and digits, like ABCD-1234.")
    return code


class CodeExchange:
    """The primary's half of pairing by code (whatsmeow pair-code.go has the companion's)."""

    def __init__(self, code: str, account: KeyPair) -> None:
        self._code = code
        self._account = account
        self._ephemeral = KeyPair.generate()

    def wrapped_ephemeral(self) -> bytes:
        """Our ephemeral key under the code: salt (32), iv (16), key (32)."""
        salt, iv = secrets.token_bytes(32), secrets.token_bytes(16)
        return salt + iv + self._under_code(salt, iv, self._ephemeral.public)

    def adv_secret(self, companion_wrapped: bytes, companion_identity: bytes, bundle: bytes) -> bytes:
        """Open the companion's key bundle and derive the secret that both share; PhoneError where the code was not the same."""
        companion = self._under_code(companion_wrapped[:32], companion_wrapped[32:48], companion_wrapped[48:80])
        try:
            shared = self._ephemeral.agree(companion)
            key = _derive(shared, bundle[:32], b"link_code_pairing_key_bundle_encryption_key")
            opened = AESGCM(key).decrypt(bundle[32:44], bundle[44:], None)
        except (InvalidTag, ValueError) as error:
            raise PhoneError("wrong-code", WRONG_CODE) from error
        if opened[:64] != companion_identity + self._account.public or len(opened) != 96:
            raise PhoneError("wrong-code", WRONG_CODE)
        return _derive(shared + self._account.agree(companion_identity) + opened[64:], b"", b"adv_secret")

    def _under_code(self, salt: bytes, iv: bytes, data: bytes) -> bytes:
        key = hashlib.pbkdf2_hmac("sha256", self._code.encode(), salt, CODE_ITERATIONS, 32)
        cipher = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
        return cipher.update(data) + cipher.finalize()


def _derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt or None, info=info).derive(secret)
