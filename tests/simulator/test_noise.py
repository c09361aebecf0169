"""The handshake: both roles against each other, and what each refuses."""

from __future__ import annotations

import time

import pytest

from simulator.curve import KeyPair, signature_is_valid
from simulator.framing import INTRO
from simulator.noise import ClientHandshake, NoiseError, ServerHandshake, ServerKeys, check_certificate_chain
from simulator.proto import CertChain, HandshakeMessage

KEYS = ServerKeys.generate()


def shake(
    root: bytes = KEYS.root.public, prologue: bytes = INTRO
) -> tuple[ServerHandshake, ClientHandshake, KeyPair, bytes]:
    """A handshake up to the server's answer."""
    mine = KeyPair.generate()
    server, client = ServerHandshake(INTRO, KEYS), ClientHandshake(prologue, mine, root)
    return server, client, mine, server.answer(client.hello())


def test_both_sides_end_with_the_same_keys_and_the_clients_payload() -> None:
    server, client, mine, answer = shake()
    last, client_reads, client_writes = client.finish(answer, b"payload")
    static, payload, server_reads, server_writes = server.finish(last)
    assert (static, payload) == (mine.public, b"payload")
    for text in (b"one", b"two"):
        assert server_reads.decrypt(client_writes.encrypt(text)) == text
        assert client_reads.decrypt(server_writes.encrypt(text)) == text


def test_a_client_refuses_a_server_that_its_root_did_not_sign() -> None:
    _, client, _, answer = shake(root=KeyPair.generate().public)
    with pytest.raises(NoiseError, match="intermediate certificate's signature"):
        client.finish(answer, b"")


def test_another_prologue_fails() -> None:
    _, client, _, answer = shake(prologue=b"WA\x06\x02")
    with pytest.raises(NoiseError):
        client.finish(answer, b"")


def test_a_replayed_or_changed_frame_does_not_decrypt() -> None:
    server, client, _, answer = shake()
    last, _, writes = client.finish(answer, b"")
    *_, reads, _ = server.finish(last)
    wire = writes.encrypt(b"one")
    with pytest.raises(NoiseError):
        reads.decrypt(bytes([wire[0] ^ 1]) + wire[1:])
    with pytest.raises(NoiseError):
        reads.decrypt(wire)


@pytest.mark.parametrize("cut", [0, 1, 10, 35])
def test_a_truncated_hello_is_refused(cut: int) -> None:
    _, client, _, _ = shake()
    with pytest.raises(NoiseError):
        ServerHandshake(INTRO, KEYS).answer(client.hello()[:cut])


def test_a_truncated_finish_is_refused() -> None:
    server, client, _, answer = shake()
    last, _, _ = client.finish(answer, b"payload")
    message = HandshakeMessage.FromString(last)
    message.clientFinish.payload = message.clientFinish.payload[:-1]
    with pytest.raises(NoiseError):
        server.finish(message.SerializeToString())


def test_a_certificate_out_of_its_time_or_for_another_key_is_refused() -> None:
    chain = KEYS.certificate_chain()
    good = {"root": KEYS.root.public, "static": KEYS.leaf.public}
    check_certificate_chain(chain, **good)
    with pytest.raises(NoiseError, match="not valid now"):
        check_certificate_chain(chain, **good, now=time.time() - 10 * 86400)
    with pytest.raises(NoiseError, match="another key"):
        check_certificate_chain(chain, root=KEYS.root.public, static=KeyPair.generate().public)
    changed = CertChain.FromString(chain)
    changed.leaf.details += b"\x08\x01"
    with pytest.raises(NoiseError, match="leaf certificate's signature"):
        check_certificate_chain(changed.SerializeToString(), **good)


def test_a_signature_is_for_its_message_and_its_key_alone() -> None:
    pair = KeyPair.generate()
    signature = pair.sign(b"message")
    assert signature_is_valid(pair.public, b"message", signature)
    assert not signature_is_valid(pair.public, b"another", signature)
    assert not signature_is_valid(KeyPair.generate().public, b"message", signature)
    assert not signature_is_valid(pair.public, b"message", signature[:-1])
