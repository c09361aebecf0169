"""Encryption at rest: AES-256-GCM with the session and the key's name as associated data.

A sealed value is `version (1 byte) · key id (4 bytes) · nonce (12 bytes) · ciphertext and tag`. The key id, the first bytes
of the key's SHA-256, says which key of OXY_ENCRYPTION_KEYS opens it: the first key seals, all of them open. A row that was
moved to another session or another name does not open. Nothing here touches the database.
"""

from __future__ import annotations

import base64
import hashlib
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

VERSION = 1
#: Bytes of a key id; it follows the version.
KEY_ID = 4
_HEAD = 1 + KEY_ID
_NONCE = 12


class Unreadable(Exception):
    """A sealed value that none of the keys opens, or that is damaged."""


class BadKey(Exception):
    """OXY_ENCRYPTION_KEYS holds something that is no key."""


def generate_key() -> str:
    """A new key, as OXY_ENCRYPTION_KEYS takes it."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def key_ids() -> list[str]:
    """The ids of the keys in use, in order, as hex."""
    return [key_id.hex() for key_id, _ in _keys()]


def seal(data: bytes, session_id: str, name: str) -> bytes:
    """Encrypt `data` with the first key, bound to the session and the name."""
    key_id, cipher = _keys()[0]
    nonce = os.urandom(_NONCE)
    head = bytes([VERSION]) + key_id
    return head + nonce + cipher.encrypt(nonce, data, head + _bound_to(session_id, name))


def unseal(sealed: bytes, session_id: str, name: str) -> bytes:
    """The inverse of `seal`; raises `Unreadable`, which never quotes the value."""
    if len(sealed) < _HEAD + _NONCE + 16 or sealed[0] != VERSION:
        raise Unreadable(f"{name}: not a sealed value of version {VERSION}")
    head, nonce, ciphertext = sealed[:_HEAD], sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE :]
    cipher = dict(_keys()).get(head[1:])
    if cipher is None:
        raise Unreadable(f"{name}: sealed with key {head[1:].hex()}, which is not in OXY_ENCRYPTION_KEYS")
    try:
        return cipher.decrypt(nonce, ciphertext, head + _bound_to(session_id, name))
    except InvalidTag:
        raise Unreadable(f"{name}: damaged, or not of this session") from None


def _bound_to(session_id: str, name: str) -> bytes:
    return f"{session_id}\0{name}".encode()


def _keys() -> list[tuple[bytes, AESGCM]]:
    return _read_keys(tuple(settings.OXY_ENCRYPTION_KEYS))


@lru_cache(maxsize=8)
def _read_keys(texts: tuple[str, ...]) -> list[tuple[bytes, AESGCM]]:
    return [_read_key(text.strip()) for text in texts]


def _read_key(text: str) -> tuple[bytes, AESGCM]:
    try:
        key = base64.urlsafe_b64decode(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise BadKey(
            "OXY_ENCRYPTION_KEYS holds something that is not a key: each is 32 bytes in URL-safe base64, "
            "as `manage.py generate_key` prints."
        )
    return hashlib.sha256(key).digest()[:KEY_ID], AESGCM(key)
