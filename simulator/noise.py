"""The Noise_XX_25519_AESGCM_SHA256 handshake with WhatsApp's certificate chain, in both roles, and the ciphers after it; no I/O."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from google.protobuf.message import DecodeError

from simulator.curve import KeyPair, signature_is_valid
from simulator.proto import CertChain, CertDetails, HandshakeMessage

PATTERN = b"Noise_XX_25519_AESGCM_SHA256\x00\x00\x00\x00"
CERTIFICATE_LIFE = 10 * 365 * 86400
INTERMEDIATE_SERIAL = 1


class NoiseError(Exception):
    """The other side's handshake message, certificate or ciphertext is wrong."""


class Cipher:
    """One direction of an established connection: AES-GCM with a message counter as the nonce."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._counter = 0

    def encrypt(self, plaintext: bytes) -> bytes:
        return self._aead.encrypt(self._nonce(), plaintext, None)

    def decrypt(self, ciphertext: bytes) -> bytes:
        try:
            return self._aead.decrypt(self._nonce(), ciphertext, None)
        except (InvalidTag, ValueError) as error:
            raise NoiseError("a frame does not decrypt") from error

    def _nonce(self) -> bytes:
        nonce = self._counter.to_bytes(12, "big")
        self._counter += 1
        return nonce


class SymmetricState:
    """The running hash, chaining key and cipher of a handshake (noiseprotocol.org, 5.2)."""

    def __init__(self, prologue: bytes) -> None:
        self._hash = self._salt = PATTERN
        self._cipher_key = PATTERN
        self._counter = 0
        self.authenticate(prologue)

    def authenticate(self, data: bytes) -> None:
        self._hash = sha256(self._hash + data).digest()

    def mix(self, secret: bytes) -> None:
        self._salt, self._cipher_key = self._expand(secret)
        self._counter = 0

    def encrypt(self, plaintext: bytes) -> bytes:
        ciphertext = AESGCM(self._cipher_key).encrypt(self._nonce(), plaintext, self._hash)
        self.authenticate(ciphertext)
        return ciphertext

    def decrypt(self, ciphertext: bytes) -> bytes:
        try:
            plaintext = AESGCM(self._cipher_key).decrypt(self._nonce(), ciphertext, self._hash)
        except (InvalidTag, ValueError) as error:
            raise NoiseError("a handshake field does not decrypt") from error
        self.authenticate(ciphertext)
        return plaintext

    def split(self) -> tuple[Cipher, Cipher]:
        """The ciphers for client to server, and for server to client."""
        first, second = self._expand(b"")
        return Cipher(first), Cipher(second)

    def _expand(self, secret: bytes) -> tuple[bytes, bytes]:
        both = HKDF(algorithm=SHA256(), length=64, salt=self._salt, info=b"").derive(secret)
        return both[:32], both[32:]

    def _nonce(self) -> bytes:
        nonce = self._counter.to_bytes(12, "big")
        self._counter += 1
        return nonce


@dataclass(frozen=True)
class ServerKeys:
    """The private keys of a server: root signs intermediate, intermediate signs leaf, leaf is the server's Noise static key."""

    root: KeyPair
    intermediate: KeyPair
    leaf: KeyPair

    @classmethod
    def generate(cls) -> ServerKeys:
        return cls(KeyPair.generate(), KeyPair.generate(), KeyPair.generate())

    def certificate_chain(self, *, now: float | None = None) -> bytes:
        """A serialized CertChain that is valid from a day before `now` (seconds since 1970) on."""
        start = int(time.time() if now is None else now) - 86400
        times = {"notBefore": start, "notAfter": start + CERTIFICATE_LIFE}
        middle = CertDetails(serial=INTERMEDIATE_SERIAL, issuerSerial=0, key=self.intermediate.public, **times)
        leaf = CertDetails(serial=2, issuerSerial=INTERMEDIATE_SERIAL, key=self.leaf.public, **times)
        chain = CertChain()
        for certificate, details, issuer in (
            (chain.intermediate, middle, self.root),
            (chain.leaf, leaf, self.intermediate),
        ):
            certificate.details = details.SerializeToString()
            certificate.signature = issuer.sign(certificate.details)
        return bytes(chain.SerializeToString())


def check_certificate_chain(chain_bytes: bytes, *, root: bytes, static: bytes, now: float | None = None) -> None:
    """Raise NoiseError unless `root` (32 bytes) vouches for the Noise static key `static`."""
    moment = time.time() if now is None else now
    chain = _parse(CertChain, chain_bytes)
    issuer, serial = root, 0
    for name, certificate in (("intermediate", chain.intermediate), ("leaf", chain.leaf)):
        if not signature_is_valid(issuer, certificate.details, certificate.signature):
            raise NoiseError(f"the {name} certificate's signature is wrong")
        details = _parse(CertDetails, certificate.details)
        if details.issuerSerial != serial:
            raise NoiseError(f"the {name} certificate names another issuer")
        if not details.notBefore <= moment <= details.notAfter:
            raise NoiseError(f"the {name} certificate is not valid now")
        issuer, serial = details.key, details.serial
    if issuer != static:
        raise NoiseError("the leaf certificate is for another key")


class ServerHandshake:
    """The responder: `answer` the client hello, then `finish` with the client's last message."""

    def __init__(self, prologue: bytes, keys: ServerKeys) -> None:
        self._state = SymmetricState(prologue)
        self._keys = keys
        self._ephemeral = KeyPair.generate()

    def answer(self, client_hello: bytes) -> bytes:
        hello = _parse(HandshakeMessage, client_hello).clientHello
        if len(hello.ephemeral) != 32:
            raise NoiseError("the client hello has no ephemeral key")
        state = self._state
        state.authenticate(hello.ephemeral)
        state.authenticate(self._ephemeral.public)
        state.mix(_agree(self._ephemeral, hello.ephemeral))
        message = HandshakeMessage()
        message.serverHello.ephemeral = self._ephemeral.public
        message.serverHello.static = state.encrypt(self._keys.leaf.public)
        state.mix(_agree(self._keys.leaf, hello.ephemeral))
        message.serverHello.payload = state.encrypt(self._keys.certificate_chain())
        return bytes(message.SerializeToString())

    def finish(self, client_finish: bytes) -> tuple[bytes, bytes, Cipher, Cipher]:
        """(client's static key, its payload, cipher to read with, cipher to write with)."""
        final = _parse(HandshakeMessage, client_finish).clientFinish
        static = self._state.decrypt(final.static)
        self._state.mix(_agree(self._ephemeral, static))
        payload = self._state.decrypt(final.payload)
        reading, writing = self._state.split()
        return static, payload, reading, writing


class ClientHandshake:
    """The initiator: send `hello`, then `finish` with the server's answer; checks the server against `root`."""

    def __init__(self, prologue: bytes, static: KeyPair, root: bytes) -> None:
        self._state = SymmetricState(prologue)
        self._static = static
        self._root = root
        self._ephemeral = KeyPair.generate()

    def hello(self) -> bytes:
        self._state.authenticate(self._ephemeral.public)
        message = HandshakeMessage()
        message.clientHello.ephemeral = self._ephemeral.public
        return bytes(message.SerializeToString())

    def finish(self, server_hello: bytes, payload: bytes) -> tuple[bytes, Cipher, Cipher]:
        """(last message to send, cipher to read with, cipher to write with)."""
        answer = _parse(HandshakeMessage, server_hello).serverHello
        state = self._state
        state.authenticate(answer.ephemeral)
        state.mix(_agree(self._ephemeral, answer.ephemeral))
        static = state.decrypt(answer.static)
        state.mix(_agree(self._ephemeral, static))
        check_certificate_chain(state.decrypt(answer.payload), root=self._root, static=static)
        message = HandshakeMessage()
        message.clientFinish.static = state.encrypt(self._static.public)
        state.mix(_agree(self._static, answer.ephemeral))
        message.clientFinish.payload = state.encrypt(payload)
        writing, reading = state.split()
        return bytes(message.SerializeToString()), reading, writing


def _agree(mine: KeyPair, theirs: bytes) -> bytes:
    if len(theirs) != 32:
        raise NoiseError("a public key is not 32 bytes long")
    try:
        return mine.agree(theirs)
    except ValueError as error:
        raise NoiseError(str(error)) from error


def _parse(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise NoiseError("a handshake message is not what it should be") from error
