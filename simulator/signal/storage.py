"""A `SignalState` as JSON text and back, losing nothing. The text holds private keys."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from simulator.curve import KeyPair

from .errors import SignalError
from .groups import SenderKey
from .kdf import ReceivingChain, SendingChain
from .prekeys import SignedPreKey
from .session import Pending, Session

if TYPE_CHECKING:
    from .state import SignalState

FORMAT = 1


def dump(state: SignalState) -> str:
    """JSON text in the form that `FORMAT` numbers."""
    signed = state.signed_prekey
    return json.dumps(
        {
            "format": FORMAT,
            "identity": _text(state.identity.private),
            "registration_id": state.registration_id,
            "signed_prekey": [signed.key_id, _text(signed.pair.private), _text(signed.signature)],
            "prekeys": [[key_id, _text(pair.private)] for key_id, pair in state.prekeys.items()],
            "next_prekey_id": state.next_prekey_id,
            "sessions": {address: [_session(item) for item in items] for address, items in state.sessions.items()},
            "identities": {address: _text(key) for address, key in state.identities.items()},
            "sender_keys": {
                group: {sender: [_sender_key(key) for key in keys] for sender, keys in senders.items()}
                for group, senders in state.sender_keys.items()
            },
        },
        separators=(",", ":"),
    )


def load(text: str) -> dict[str, Any]:
    """The fields of the state in `text`; `SignalError` where the text is not one."""
    try:
        fields = json.loads(text)
        if fields["format"] == FORMAT:
            return _fields(fields)
    # Said without the text's content, which is secret.
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise SignalError("This is not a Signal state.") from None
    raise SignalError("This Signal state was written by another version.")


def _fields(found: dict[str, Any]) -> dict[str, Any]:
    signed_id, signed_private, signature = found["signed_prekey"]
    return {
        "identity": _pair(found["identity"]),
        "registration_id": found["registration_id"],
        "signed_prekey": SignedPreKey(signed_id, _pair(signed_private), _bytes(signature)),
        "prekeys": {key_id: _pair(private) for key_id, private in found["prekeys"]},
        "next_prekey_id": found["next_prekey_id"],
        "sessions": {address: [_read_session(item) for item in items] for address, items in found["sessions"].items()},
        "identities": {address: _bytes(key) for address, key in found["identities"].items()},
        "sender_keys": {
            group: {sender: [_read_sender_key(key) for key in keys] for sender, keys in senders.items()}
            for group, senders in found["sender_keys"].items()
        },
    }


def _session(session: Session) -> dict[str, Any]:
    sending, pending = session.sending, session.pending
    return {
        "remote_identity": _text(session.remote_identity),
        "base_key": _text(session.base_key),
        "root_key": _text(session.root_key),
        "ratchet": _text(session.ratchet.private),
        "sending": sending and [_text(sending.key), sending.index],
        "previous_counter": session.previous_counter,
        "receiving": [[_text(key), _chain(chain)] for key, chain in session.receiving.items()],
        "pending": pending and [pending.prekey_id, pending.signed_prekey_id],
    }


def _read_session(fields: dict[str, Any]) -> Session:
    sending, pending = fields["sending"], fields["pending"]
    return Session(
        remote_identity=_bytes(fields["remote_identity"]),
        base_key=_bytes(fields["base_key"]),
        root_key=_bytes(fields["root_key"]),
        ratchet=_pair(fields["ratchet"]),
        sending=sending and SendingChain(_bytes(sending[0]), sending[1]),
        previous_counter=fields["previous_counter"],
        receiving={_bytes(key): _read_chain(chain) for key, chain in fields["receiving"]},
        pending=pending and Pending(*pending),
    )


def _sender_key(key: SenderKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "chain": _chain(key.chain),
        "signing_public": _text(key.signing_public),
        "signing": key.signing and _text(key.signing.private),
    }


def _read_sender_key(fields: dict[str, Any]) -> SenderKey:
    signing = fields["signing"]
    return SenderKey(
        fields["key_id"], _read_chain(fields["chain"]), _bytes(fields["signing_public"]), signing and _pair(signing)
    )


def _chain(chain: ReceivingChain) -> list[Any]:
    return [_text(chain.key), chain.index, [[counter, _text(seed)] for counter, seed in chain.skipped.items()]]


def _read_chain(fields: list[Any]) -> ReceivingChain:
    key, index, skipped = fields
    return ReceivingChain(_bytes(key), index, {counter: _bytes(seed) for counter, seed in skipped})


def _pair(private: str) -> KeyPair:
    return KeyPair.from_private(_bytes(private))


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)
