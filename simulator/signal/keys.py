"""Public keys as Signal writes them, and agreements that fail as this package fails."""

from __future__ import annotations

from simulator.curve import KeyPair

from .errors import SignalError

KEY_SIZE = 32
SIGNATURE_SIZE = 64

#: Signal writes a public key as this type byte and the 32 bytes of the key, wherever the key is inside a Signal
#: message, under a MAC or under a signature. WhatsApp's own stanzas and stores carry the bare 32 bytes.
KEY_TYPE = b"\x05"


def with_type(public: bytes) -> bytes:
    """32 bytes of key → the 33 bytes that Signal writes."""
    return KEY_TYPE + public


def without_type(key: bytes) -> bytes:
    """The 33 bytes that Signal writes → 32 bytes of key."""
    if len(key) != 1 + KEY_SIZE or key[:1] != KEY_TYPE:
        raise SignalError("A public key of an unknown type.")
    return key[1:]


def agree(ours: KeyPair, theirs: bytes) -> bytes:
    """The shared secret, 32 bytes."""
    try:
        return ours.agree(theirs)
    except ValueError as error:
        raise SignalError("The public key can't be agreed with.") from error
