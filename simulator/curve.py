"""Curve25519 keys as WhatsApp uses them: key agreement, and XEdDSA signatures made with the same keys."""

from __future__ import annotations

from dataclasses import dataclass, field
from secrets import token_bytes

import xeddsa

SIGN_BIT = 0x80


@dataclass(frozen=True)
class KeyPair:
    """A Curve25519 pair; both halves are 32 raw bytes, without libsignal's 0x05 prefix."""

    private: bytes = field(repr=False)
    public: bytes

    @classmethod
    def generate(cls) -> KeyPair:
        return cls.from_private(token_bytes(32))

    @classmethod
    def from_private(cls, private: bytes) -> KeyPair:
        return cls(private, xeddsa.priv_to_curve25519_pub(private))

    def agree(self, public: bytes) -> bytes:
        """The 32-byte X25519 shared secret; ValueError for a point of low order."""
        try:
            return xeddsa.x25519(self.private, public)
        except xeddsa.XEdDSAException as error:
            raise ValueError("the public key gives no shared secret") from error

    def sign(self, message: bytes) -> bytes:
        """A 64-byte XEdDSA signature (signal.org, "The XEdDSA and VXEdDSA Signature Schemes", 2.3)."""
        return xeddsa.ed25519_priv_sign(xeddsa.priv_force_sign(self.private, False), message)


def signature_is_valid(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` was made by the holder of `public` over `message`.

    libsignal keeps the sign of the Ed25519 key in the top bit of the signature, where XEdDSA proper always has 0.
    """
    if len(public) != 32 or len(signature) != 64:
        return False
    negative = bool(signature[63] & SIGN_BIT)
    plain = signature[:63] + bytes([signature[63] & ~SIGN_BIT & 0xFF])
    try:
        return bool(xeddsa.ed25519_verify(plain, xeddsa.curve25519_pub_to_ed25519_pub(public, negative), message))
    except xeddsa.XEdDSAException:
        return False
