"""One Signal session: X3DH to begin it (both sides), the Double Ratchet to keep it going.

Sources: signal.org's X3DH and Double Ratchet documents, without header encryption; constants, limits and the order of
bytes are libsignal's, version 3. A `Session` is changed in place, also by a message that turns out to be forged: work
on a `copy()` and keep it only if nothing was raised.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from simulator.curve import KeyPair

from . import kdf
from .errors import SignalError
from .kdf import ReceivingChain, SendingChain
from .keys import agree
from .messages import PreKeySignalMessage, ReceivedSignalMessage, SignalMessage
from .prekeys import PreKeyBundle

#: How many of the peer's ratchet keys stay readable, for messages that arrive late (libsignal's number).
MAX_RECEIVING_CHAINS = 5

# X3DH puts 32 such bytes in front, so that its input can't be the encoding of a point on another curve.
_X3DH_PREFIX = b"\xff" * 32


@dataclass(frozen=True)
class Pending:
    """Which keys of the peer's bundle we used; told with every message until the peer answers."""

    prekey_id: int | None
    signed_prekey_id: int


@dataclass
class Session:
    """A session with one device. `base_key` (public, the initiator's) tells sessions with that device apart."""

    remote_identity: bytes
    base_key: bytes
    root_key: bytes = field(repr=False)
    ratchet: KeyPair
    #: None until the peer's first message is read: only the initiator can write first.
    sending: SendingChain | None = field(default=None, repr=False)
    previous_counter: int = 0
    #: By the peer's ratchet key, oldest first.
    receiving: dict[bytes, ReceivingChain] = field(default_factory=dict, repr=False)
    pending: Pending | None = None

    @classmethod
    def initiate(cls, identity: KeyPair, bundle: PreKeyBundle) -> Session:
        """The initiator's half of X3DH, from a bundle whose signature was checked."""
        base = KeyPair.generate()
        secrets = [
            agree(identity, bundle.signed_prekey),
            agree(base, bundle.identity),
            agree(base, bundle.signed_prekey),
        ]
        if bundle.prekey is not None:
            secrets.append(agree(base, bundle.prekey))
        session = cls(
            remote_identity=bundle.identity,
            base_key=base.public,
            root_key=_x3dh(secrets),
            ratchet=KeyPair.generate(),
            pending=Pending(bundle.prekey_id, bundle.signed_prekey_id),
        )
        session.sending = SendingChain(session._ratchet_step(bundle.signed_prekey))
        return session

    @classmethod
    def accept(
        cls, identity: KeyPair, signed_prekey: KeyPair, prekey: KeyPair | None, message: PreKeySignalMessage
    ) -> Session:
        """The other half, from the initiator's first message; `decrypt` of what is inside it must follow."""
        secrets = [
            agree(signed_prekey, message.identity),
            agree(identity, message.base_key),
            agree(signed_prekey, message.base_key),
        ]
        if prekey is not None:
            secrets.append(agree(prekey, message.base_key))
        return cls(
            remote_identity=message.identity,
            base_key=message.base_key,
            root_key=_x3dh(secrets),
            # The initiator's first ratchet step was against the signed prekey, so it is our first ratchet key.
            ratchet=signed_prekey,
        )

    def copy(self) -> Session:
        return replace(
            self,
            sending=self.sending and replace(self.sending),
            receiving={key: chain.copy() for key, chain in self.receiving.items()},
        )

    def encrypt(self, identity: KeyPair, plaintext: bytes) -> bytes:
        """A "msg"; whoever calls wraps it while the session is `pending`."""
        if self.sending is None:
            raise SignalError("This session can't write before it has read.")
        counter = self.sending.index
        cipher_key, mac_key, iv = _message_keys(self.sending.step())
        ciphertext = kdf.encrypt_cbc(cipher_key, iv, plaintext)
        message = SignalMessage(self.ratchet.public, counter, self.previous_counter, ciphertext)
        return message.seal(mac_key, sender=identity.public, receiver=self.remote_identity)

    def decrypt(self, identity: KeyPair, message: ReceivedSignalMessage) -> bytes:
        turn = message.ratchet_key not in self.receiving
        if turn:
            self.receiving[message.ratchet_key] = ReceivingChain(self._ratchet_step(message.ratchet_key))
        chain = self.receiving[message.ratchet_key]
        cipher_key, mac_key, iv = _message_keys(chain.seed_of(message.counter))
        message.check(mac_key, sender=self.remote_identity, receiver=identity.public)
        plaintext = kdf.decrypt_cbc(cipher_key, iv, message.ciphertext)
        if turn:
            self._answer_with_new_key(message.ratchet_key)
        self.pending = None
        return plaintext

    def _answer_with_new_key(self, their_ratchet: bytes) -> None:
        """The peer has turned to a new ratchet key: so do we, with a sending chain against it."""
        if len(self.receiving) > MAX_RECEIVING_CHAINS:
            del self.receiving[next(iter(self.receiving))]
        sent = self.sending.index if self.sending else 0
        # libsignal tells the last counter of the chain before, not its length as the Double Ratchet document has it.
        self.previous_counter = max(sent - 1, 0)
        self.ratchet = KeyPair.generate()
        self.sending = SendingChain(self._ratchet_step(their_ratchet))

    def _ratchet_step(self, their_ratchet: bytes) -> bytes:
        """Mix a new agreement into the root key; returns the first key of the chain that it opens."""
        secret = agree(self.ratchet, their_ratchet)
        keys = kdf.derive(secret, salt=self.root_key, label=b"WhisperRatchet", size=64)
        self.root_key = keys[:32]
        return keys[32:]


def _x3dh(secrets: list[bytes]) -> bytes:
    # 32 bytes more come out, the key of a chain under the signed prekey; the responder always ratchets away from that
    # key before it writes, so nobody ever uses the chain.
    return kdf.derive(_X3DH_PREFIX + b"".join(secrets), salt=None, label=b"WhisperText", size=64)[:32]


def _message_keys(seed: bytes) -> tuple[bytes, bytes, bytes]:
    """Cipher key (32), MAC key (32) and IV (16) of one message."""
    keys = kdf.derive(seed, salt=None, label=b"WhisperMessageKeys", size=80)
    return keys[:32], keys[32:64], keys[64:]
