"""The keys by which a device is found: what it publishes, and what a peer gets of it."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.curve import KeyPair, signature_is_valid

from .errors import SignalError
from .keys import with_type


@dataclass(frozen=True)
class PreKeyBundle:
    """What the server hands out about a device, so that others can write to it. Public keys have no type byte."""

    registration_id: int
    identity: bytes
    signed_prekey_id: int
    signed_prekey: bytes
    signed_prekey_signature: bytes
    prekey_id: int | None = None
    prekey: bytes | None = None

    def check(self) -> None:
        """Refuse half a one-time prekey, and a signed prekey that the identity key did not sign."""
        if (self.prekey_id is None) != (self.prekey is None):
            raise SignalError("A one-time prekey has both a number and a key.")
        if not signature_is_valid(self.identity, with_type(self.signed_prekey), self.signed_prekey_signature):
            raise SignalError("The signed prekey's signature is wrong.")


@dataclass(frozen=True)
class PublicKeys:
    """What a device publishes. Every public key is its bare 32 bytes: the type byte 0x05 appears nowhere here, but
    the signature is made over 0x05 and the 32 bytes of the signed prekey, as every libsignal checks it."""

    registration_id: int
    identity: bytes
    signed_prekey_id: int
    signed_prekey: bytes
    signed_prekey_signature: bytes
    #: One-time prekeys, id → public.
    prekeys: dict[int, bytes]

    def with_prekey(self, prekey_id: int | None) -> PreKeyBundle:
        """The bundle that a server hands to one peer: with this one-time prekey, or with none."""
        return PreKeyBundle(
            self.registration_id,
            self.identity,
            self.signed_prekey_id,
            self.signed_prekey,
            self.signed_prekey_signature,
            prekey_id,
            None if prekey_id is None else self.prekeys[prekey_id],
        )


@dataclass(frozen=True)
class SignedPreKey:
    """The prekey that serves many peers; its signature ties it to the identity."""

    key_id: int
    pair: KeyPair
    signature: bytes

    @classmethod
    def generate(cls, identity: KeyPair, key_id: int) -> SignedPreKey:
        pair = KeyPair.generate()
        return cls(key_id, pair, identity.sign(with_type(pair.public)))
