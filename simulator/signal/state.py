"""All that one device keeps to encrypt and decrypt: its keys, its sessions and its sender keys, as one value."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Literal

from simulator.curve import KeyPair

from . import groups, storage
from .errors import NoSession, SignalError
from .groups import SenderKey
from .messages import (
    PreKeySignalMessage,
    ReceivedSenderKeyMessage,
    ReceivedSignalMessage,
    SenderKeyDistributionMessage,
)
from .prekeys import PreKeyBundle, PublicKeys, SignedPreKey
from .session import Session

MessageType = Literal["pkmsg", "msg"]

#: Sessions kept for one address, the current one included (libsignal archives 40).
MAX_SESSIONS = 41
#: Registration ids have 14 bits, prekey ids 24.
MAX_REGISTRATION_ID = 16380


@dataclass(repr=False)
class SignalState:
    """One device. Addresses and group names are texts that mean nothing here. Every method either does all of its
    work or raises `SignalError` and changes nothing."""

    identity: KeyPair
    registration_id: int
    signed_prekey: SignedPreKey
    prekeys: dict[int, KeyPair]
    next_prekey_id: int
    #: By address, the current session first.
    sessions: dict[str, list[Session]] = field(default_factory=dict)
    #: The identity key last seen of each address. A new one is taken as the phone app takes it: without asking.
    identities: dict[str, bytes] = field(default_factory=dict)
    #: By group and sender, the newest key first.
    sender_keys: dict[str, dict[str, list[SenderKey]]] = field(default_factory=dict)

    @classmethod
    def generate(cls, prekeys: int = 100) -> SignalState:
        identity = KeyPair.generate()
        state = cls(
            identity=identity,
            registration_id=1 + secrets.randbelow(MAX_REGISTRATION_ID),
            signed_prekey=SignedPreKey.generate(identity, key_id=1),
            prekeys={},
            next_prekey_id=1,
        )
        state.add_prekeys(prekeys)
        return state

    def __repr__(self) -> str:
        return f"<SignalState: {len(self.prekeys)} prekeys, {len(self.sessions)} peers>"

    def to_json(self) -> str:
        """The whole state as JSON text, private keys included."""
        return storage.dump(self)

    @classmethod
    def from_json(cls, text: str) -> SignalState:
        """The state that `to_json` wrote."""
        return cls(**storage.load(text))

    def add_prekeys(self, count: int) -> dict[int, bytes]:
        """Make more one-time prekeys; returns what is new to publish, id → public."""
        ids = range(self.next_prekey_id, self.next_prekey_id + count)
        made = {key_id: KeyPair.generate() for key_id in ids}
        self.prekeys |= made
        self.next_prekey_id = ids.stop
        return {key_id: pair.public for key_id, pair in made.items()}

    def bundle(self) -> PublicKeys:
        """Everything to publish."""
        return PublicKeys(
            self.registration_id,
            self.identity.public,
            self.signed_prekey.key_id,
            self.signed_prekey.pair.public,
            self.signed_prekey.signature,
            {key_id: pair.public for key_id, pair in self.prekeys.items()},
        )

    def has_session(self, address: str) -> bool:
        return address in self.sessions

    def start_session(self, address: str, bundle: PreKeyBundle) -> None:
        """Begin a new session, which becomes the current one; refuses a bundle whose signature is wrong."""
        bundle.check()
        self._put_first(address, Session.initiate(self.identity, bundle))

    def drop_session(self, address: str) -> None:
        """Forget all sessions with this address; the next message needs a bundle again."""
        self.sessions.pop(address, None)

    def encrypt(self, address: str, plaintext: bytes) -> tuple[MessageType, bytes]:
        """The current session's next message: a "pkmsg" until the peer has answered, then a "msg"."""
        session = self._sessions(address)[0]
        message = session.encrypt(self.identity, plaintext)
        if session.pending is None:
            return "msg", message
        wrapped = PreKeySignalMessage(
            self.registration_id,
            session.pending.prekey_id,
            session.pending.signed_prekey_id,
            session.base_key,
            self.identity.public,
            message,
        )
        return "pkmsg", wrapped.serialize()

    def decrypt(self, address: str, message_type: str, ciphertext: bytes) -> bytes:
        """The plaintext. A one-time prekey that a "pkmsg" used is gone afterwards; a message that was read before
        raises `DuplicateMessage`, one of an unknown session `NoSession`, anything else wrong `SignalError`."""
        if message_type == "msg":
            return self._decrypt_in_known(address, ReceivedSignalMessage.parse(ciphertext))
        if message_type != "pkmsg":
            raise SignalError("A message is either a pkmsg or a msg.")
        outer = PreKeySignalMessage.parse(ciphertext)
        inner = ReceivedSignalMessage.parse(outer.message)
        if any(session.base_key == outer.base_key for session in self.sessions.get(address, [])):
            return self._decrypt_in_known(address, inner)
        return self._decrypt_in_new(address, outer, inner)

    def create_distribution(self, group: str, own_address: str) -> bytes:
        """What a member needs to read our next messages to the group; makes our sender key if there is none.
        It goes to each member inside a pairwise message."""
        keys = self.sender_keys.setdefault(group, {}).setdefault(own_address, [])
        if not keys:
            keys.append(SenderKey.generate())
        return keys[0].distribution().serialize()

    def process_distribution(self, group: str, sender_address: str, distribution: bytes) -> None:
        """Take over what `create_distribution` made at the sender."""
        message = SenderKeyDistributionMessage.parse(distribution)
        keys = self._sender_keys(group, sender_address)
        self.sender_keys.setdefault(group, {})[sender_address] = groups.add_distribution(keys, message)

    def drop_sender_key(self, group: str, address: str) -> None:
        """Forget a sender key: our own, so that whoever left the group can't read what comes next."""
        self.sender_keys.get(group, {}).pop(address, None)

    def encrypt_group(self, group: str, own_address: str, plaintext: bytes) -> bytes:
        """An "skmsg" for all who have our distribution; `NoSenderKey` before the first `create_distribution`."""
        return groups.newest(self._sender_keys(group, own_address)).encrypt(plaintext)

    def decrypt_group(self, group: str, sender_address: str, ciphertext: bytes) -> bytes:
        """The plaintext of an "skmsg"; `NoSenderKey`, `DuplicateMessage` or another `SignalError` otherwise."""
        message = ReceivedSenderKeyMessage.parse(ciphertext)
        return groups.find(self._sender_keys(group, sender_address), message.key_id).decrypt(message)

    def _sender_keys(self, group: str, sender: str) -> list[SenderKey]:
        return self.sender_keys.get(group, {}).get(sender, [])

    def _decrypt_in_new(self, address: str, outer: PreKeySignalMessage, inner: ReceivedSignalMessage) -> bytes:
        if outer.signed_prekey_id != self.signed_prekey.key_id:
            raise SignalError(f"There is no signed prekey {outer.signed_prekey_id}.")
        prekey = None if outer.prekey_id is None else self.prekeys.get(outer.prekey_id)
        if outer.prekey_id is not None and prekey is None:
            raise SignalError(f"There is no prekey {outer.prekey_id}, or it was used.")
        session = Session.accept(self.identity, self.signed_prekey.pair, prekey, outer)
        plaintext = session.decrypt(self.identity, inner)
        self._put_first(address, session)
        if outer.prekey_id is not None:
            del self.prekeys[outer.prekey_id]
        return plaintext

    def _decrypt_in_known(self, address: str, message: ReceivedSignalMessage) -> bytes:
        """Try every session, the current one first; the one that can read the message becomes current, as both
        sides may have begun one at the same time."""
        refusal: SignalError | None = None
        for session in self._sessions(address):
            trial = session.copy()
            try:
                plaintext = trial.decrypt(self.identity, message)
            except SignalError as error:
                # The session that knows the ratchet key is the message's own: its reason is the true one.
                if refusal is None or message.ratchet_key in session.receiving:
                    refusal = error
                continue
            others = [other for other in self.sessions[address] if other is not session]
            self.sessions[address] = [trial, *others]
            return plaintext
        raise refusal or NoSession("There is no session with this address.")

    def _sessions(self, address: str) -> list[Session]:
        if address not in self.sessions:
            raise NoSession("There is no session with this address.")
        return self.sessions[address]

    def _put_first(self, address: str, session: Session) -> None:
        # Sessions with an identity that was replaced would only swallow messages.
        same = [old for old in self.sessions.get(address, []) if old.remote_identity == session.remote_identity]
        self.sessions[address] = [session, *same][:MAX_SESSIONS]
        self.identities[address] = session.remote_identity
