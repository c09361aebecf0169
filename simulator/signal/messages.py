"""Signal's messages as bytes: a version byte, a protobuf, and for most of them a MAC or a signature behind it.

The field numbers are those of libsignal's `WhisperTextProtocol.proto`. A receiver in Go writes the protobuf again
before it checks the MAC, so the fields stand in ascending order and a counter of 0 is written too.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from simulator.curve import KeyPair, signature_is_valid

from . import kdf
from .errors import SignalError
from .keys import KEY_SIZE, SIGNATURE_SIZE, with_type, without_type

#: The version byte: the message's version in the high half, the newest that its sender speaks in the low half.
VERSION = 3
VERSION_BYTE = bytes([VERSION << 4 | VERSION])
MAC_SIZE = 8

_BYTES = FieldDescriptorProto.TYPE_BYTES
_UINT32 = FieldDescriptorProto.TYPE_UINT32

_FIELDS: dict[str, dict[str, tuple[int, FieldDescriptorProto.Type.ValueType]]] = {
    "SignalMessage": {
        "ratchet_key": (1, _BYTES),
        "counter": (2, _UINT32),
        "previous_counter": (3, _UINT32),
        "ciphertext": (4, _BYTES),
    },
    "PreKeySignalMessage": {
        "prekey_id": (1, _UINT32),
        "base_key": (2, _BYTES),
        "identity": (3, _BYTES),
        "message": (4, _BYTES),
        "registration_id": (5, _UINT32),
        "signed_prekey_id": (6, _UINT32),
    },
    "SenderKeyMessage": {"key_id": (1, _UINT32), "iteration": (2, _UINT32), "ciphertext": (3, _BYTES)},
    "SenderKeyDistributionMessage": {
        "key_id": (1, _UINT32),
        "iteration": (2, _UINT32),
        "chain_key": (3, _BYTES),
        "signing_key": (4, _BYTES),
    },
}


def _declare() -> dict[str, Any]:
    file = FileDescriptorProto(name="signal.proto", package="signal", syntax="proto2")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            message.field.add(name=field_name, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    # A pool of our own: the default one is shared by the whole process, where a client library may declare the same.
    pool = DescriptorPool()
    pool.Add(file)
    return {name: GetMessageClass(pool.FindMessageTypeByName(f"signal.{name}")) for name in _FIELDS}


_CLASSES = _declare()


def _encode(name: str, **values: Any) -> bytes:
    data: bytes = _CLASSES[name](**values).SerializeToString()
    return VERSION_BYTE + data


def _decode(name: str, data: bytes, *, optional: str | None = None) -> Any:
    """The protobuf in `data`, which begins with the version byte; every field but `optional` must be there."""
    if not data or data[0] >> 4 != VERSION:
        raise SignalError(f"{name}: a version other than {VERSION}, or no message at all.")
    message = _CLASSES[name]()
    try:
        message.ParseFromString(data[1:])
    except DecodeError as error:
        raise SignalError(f"{name}: not a message.") from error
    for field_name in _FIELDS[name]:
        if field_name != optional and not message.HasField(field_name):
            raise SignalError(f"{name}: {field_name} is missing.")
    return message


@dataclass(frozen=True)
class SignalMessage:
    """One message of a running session ("msg"). `ratchet_key` has no type byte here."""

    ratchet_key: bytes
    counter: int
    previous_counter: int
    ciphertext: bytes = field(repr=False)

    def seal(self, mac_key: bytes, *, sender: bytes, receiver: bytes) -> bytes:
        """The bytes to send; `sender` and `receiver` are identity keys (32 bytes)."""
        body = _encode(
            "SignalMessage",
            ratchet_key=with_type(self.ratchet_key),
            counter=self.counter,
            previous_counter=self.previous_counter,
            ciphertext=self.ciphertext,
        )
        return body + _mac(mac_key, sender, receiver, body)


@dataclass(frozen=True)
class ReceivedSignalMessage(SignalMessage):
    """A `SignalMessage` as it came in, with the bytes that its MAC covers."""

    body: bytes = field(repr=False)
    mac: bytes = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> ReceivedSignalMessage:
        body, tag = data[:-MAC_SIZE], data[-MAC_SIZE:]
        message = _decode("SignalMessage", body)
        ratchet_key = without_type(message.ratchet_key)
        return cls(ratchet_key, message.counter, message.previous_counter, message.ciphertext, body, tag)

    def check(self, mac_key: bytes, *, sender: bytes, receiver: bytes) -> None:
        if not hmac.compare_digest(_mac(mac_key, sender, receiver, self.body), self.mac):
            raise SignalError("The message's MAC is wrong.")


def _mac(key: bytes, sender: bytes, receiver: bytes, body: bytes) -> bytes:
    return kdf.mac(key, with_type(sender) + with_type(receiver) + body)[:MAC_SIZE]


@dataclass(frozen=True)
class PreKeySignalMessage:
    """The first message of a session ("pkmsg"): what the receiver needs for its half of X3DH, and a "msg" inside."""

    registration_id: int
    prekey_id: int | None
    signed_prekey_id: int
    base_key: bytes
    identity: bytes
    message: bytes = field(repr=False)

    def serialize(self) -> bytes:
        # An absent prekey id is left out, not written as 0.
        prekey = {} if self.prekey_id is None else {"prekey_id": self.prekey_id}
        return _encode(
            "PreKeySignalMessage",
            registration_id=self.registration_id,
            signed_prekey_id=self.signed_prekey_id,
            base_key=with_type(self.base_key),
            identity=with_type(self.identity),
            message=self.message,
            **prekey,
        )

    @classmethod
    def parse(cls, data: bytes) -> PreKeySignalMessage:
        message = _decode("PreKeySignalMessage", data, optional="prekey_id")
        return cls(
            message.registration_id,
            # Some libraries write an absent id as 0; nobody gives that number to a key.
            message.prekey_id or None,
            message.signed_prekey_id,
            without_type(message.base_key),
            without_type(message.identity),
            message.message,
        )


@dataclass(frozen=True)
class SenderKeyMessage:
    """One message to a group ("skmsg"), signed by its sender for this group."""

    key_id: int
    iteration: int
    ciphertext: bytes = field(repr=False)

    def seal(self, signing: KeyPair) -> bytes:
        body = _encode("SenderKeyMessage", key_id=self.key_id, iteration=self.iteration, ciphertext=self.ciphertext)
        return body + signing.sign(body)


@dataclass(frozen=True)
class ReceivedSenderKeyMessage(SenderKeyMessage):
    """A `SenderKeyMessage` as it came in, with the bytes that its signature covers."""

    body: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> ReceivedSenderKeyMessage:
        body, signature = data[:-SIGNATURE_SIZE], data[-SIGNATURE_SIZE:]
        message = _decode("SenderKeyMessage", body)
        return cls(message.key_id, message.iteration, message.ciphertext, body, signature)

    def check(self, signing_public: bytes) -> None:
        if not signature_is_valid(signing_public, self.body, self.signature):
            raise SignalError("The group message's signature is wrong.")


@dataclass(frozen=True)
class SenderKeyDistributionMessage:
    """What lets a member read a sender's group messages from `iteration` on; travels inside a pairwise message."""

    key_id: int
    iteration: int
    chain_key: bytes = field(repr=False)
    signing_key: bytes

    def serialize(self) -> bytes:
        return _encode(
            "SenderKeyDistributionMessage",
            key_id=self.key_id,
            iteration=self.iteration,
            chain_key=self.chain_key,
            signing_key=with_type(self.signing_key),
        )

    @classmethod
    def parse(cls, data: bytes) -> SenderKeyDistributionMessage:
        message = _decode("SenderKeyDistributionMessage", data)
        if len(message.chain_key) != KEY_SIZE:
            raise SignalError("SenderKeyDistributionMessage: a chain key of the wrong size.")
        signing_key = without_type(message.signing_key)
        return cls(message.key_id, message.iteration, message.chain_key, signing_key)
