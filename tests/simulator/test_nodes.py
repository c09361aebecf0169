"""Binary XML, both ways, on literal bytes and on anything."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.nodes import DOUBLE, SERVER, SINGLE, Jid, Node, NodeError, decode, encode

# Stanzas of a real neonize 0.5.2, as its Go library wrote them, recorded behind the decryption of this simulator.
RECORDED = [
    (
        "00f8091b150908ff091795422511b20338a411faff875511987650001f0304ec6e",
        Node(
            "ack",
            {
                "class": "notification",
                "id": "1795422511.20338-4",
                "to": Jid("5511987650001", "s.whatsapp.net"),
                "type": "account_sync",
            },
        ),
    ),
    (
        "00f8070708fb0a3a144b9396dfbeef59e811faff88200000000000001f7604ec25",
        Node("receipt", {"id": "3A144B9396DFBEEF59E8", "to": Jid("200000000000001", "lid"), "type": "sender"}),
    ),
    (
        "00f802fc026962f801f803fc0f756e69666965645f73657373696f6e08ff0430512105",
        Node("ib", {}, [Node("unified_session", {"id": "30512105"})]),
    ),
    (
        "00f80a1908ff8461b79a4f16ec18045a11fa0003f801f801ec01",
        Node("iq", {"id": "61.79-4", "xmlns": "passive", "type": "set", "to": SERVER}, [Node("active")]),
    ),
]

names = st.sampled_from([token for token in SINGLE[3:] if token] + [token for table in DOUBLE for token in table])
texts = st.text(min_size=1, max_size=40) | names | st.from_regex(r"[0-9.\-]{1,130}", fullmatch=True)
users = st.from_regex(r"[0-9]{1,20}", fullmatch=True)
jids = st.builds(Jid, users, st.sampled_from(["s.whatsapp.net", "lid"]), st.integers(0, 255))
jids |= st.builds(Jid, users, st.just("g.us")) | st.just(SERVER)
attributes = st.dictionaries(texts, texts | jids, max_size=4)
nodes = st.recursive(
    st.builds(Node, texts, attributes, st.none() | st.binary(max_size=400)),
    lambda children: st.builds(Node, texts, attributes, st.lists(children, max_size=4)),
    max_leaves=8,
)


@pytest.mark.parametrize(("wire", "node"), RECORDED)
def test_the_real_clients_stanzas_are_read_and_written_alike(wire: str, node: Node) -> None:
    assert decode(bytes.fromhex(wire)) == node
    assert encode(node).hex() == wire


def test_a_device_is_written_with_its_domain_and_number() -> None:
    # whatsmeow binary/encoder.go, writeJID: AD_JID, domain (LID: 1), device, packed user.
    assert encode(Node("ack", {"to": Jid("200000000000001", "lid", 3)})).hex() == "00f8031b11f70103ff88200000000000001f"


@given(nodes)
def test_every_stanza_survives_the_wire(node: Node) -> None:
    assert decode(encode(node)) == node


@given(nodes, st.data())
def test_every_truncation_is_an_error_of_ours(node: Node, data: st.DataObject) -> None:
    wire = encode(node)
    with pytest.raises(NodeError):
        decode(wire[: data.draw(st.integers(0, len(wire) - 1))])


@given(st.binary(max_size=200))
def test_noise_is_a_stanza_or_an_error_of_ours(junk: bytes) -> None:
    with contextlib.suppress(NodeError):
        decode(junk)


def test_bytes_behind_a_stanza_are_refused() -> None:
    with pytest.raises(NodeError, match="1 bytes are left over"):
        decode(encode(Node("iq")) + b"\x00")


def test_a_compressed_stanza_is_read() -> None:
    plain = encode(Node("iq", {"type": "get"}, b"x" * 500))
    assert decode(b"\x02" + zlib.compress(plain[1:])) == decode(plain)


def test_a_long_body_keeps_its_length() -> None:
    for size in (255, 256, (1 << 20) - 1, 1 << 20):
        assert len(decode(encode(Node("enc", {}, bytes(size)))).data) == size


@pytest.mark.parametrize(
    ("text", "jid"),
    [
        ("5511987650001@s.whatsapp.net", Jid("5511987650001", "s.whatsapp.net")),
        ("5511987650001:3@s.whatsapp.net", Jid("5511987650001", "s.whatsapp.net", 3)),
        ("200000000000001:3@lid", Jid("200000000000001", "lid", 3)),
        ("s.whatsapp.net", SERVER),
    ],
)
def test_an_address_reads_as_it_is_written(text: str, jid: Jid) -> None:
    assert (Jid.parse(text), str(jid)) == (jid, text)
