"""Conversations with Signal libraries that are not ours, recorded once (vectors/record.py) and held again here.

With the key pairs drawn then, our side must write byte for byte what the other library read, and read what it wrote.
"""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from simulator.curve import KeyPair, signature_is_valid
from simulator.signal import DuplicateMessage, NoSenderKey, PreKeyBundle, SignalError, SignalState

VECTORS = Path(__file__).parent / "vectors"
THEM, GROUP = "theirs", "group@g.us"
LIBRARIES = ("libsignal", "libsignal-client", "go")

both_groups = pytest.mark.parametrize("name", ["baileys-group", "go-group"])


def vector(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return found


def conversations() -> list[Any]:
    return [
        pytest.param(talk, id=f"{library}-{talk['name']}")
        for library in LIBRARIES
        for talk in vector(library)["conversations"]
    ]


def state_of(recorded: dict[str, Any]) -> SignalState:
    return SignalState.from_json(json.dumps(recorded["ours"]))


def bundle_of(fields: dict[str, Any]) -> PreKeyBundle:
    read: dict[str, Any] = {key: b64decode(value) if isinstance(value, str) else value for key, value in fields.items()}
    return PreKeyBundle(**read)


@pytest.mark.parametrize("talk", conversations())
def test_a_recorded_conversation_is_held_again(talk: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ours = state_of(talk)
    drawn = [KeyPair.from_private(b64decode(private)) for private in talk["drawn"]]
    monkeypatch.setattr(KeyPair, "generate", lambda: drawn.pop(0))

    for step in talk["steps"]:
        if step["do"] == "start":
            ours.start_session(THEM, bundle_of(step["bundle"]))
            continue
        plaintext, ciphertext = b64decode(step["plaintext"]), b64decode(step["ciphertext"])
        if step["do"] == "write":
            assert ours.encrypt(THEM, plaintext) == (step["type"], ciphertext)
        else:
            assert ours.decrypt(THEM, step["type"], ciphertext) == plaintext
            with pytest.raises(DuplicateMessage):
                ours.decrypt(THEM, step["type"], ciphertext)

    assert drawn == []


@pytest.mark.parametrize("talk", conversations())
def test_a_recorded_message_is_refused_by_anybody_else(talk: dict[str, Any]) -> None:
    received = [step for step in talk["steps"] if step["do"] == "read"]
    stranger = SignalState.generate(3)

    for step in received:
        with pytest.raises(SignalError):
            stranger.decrypt(THEM, step["type"], b64decode(step["ciphertext"]))


def test_every_message_type_was_recorded_in_both_directions() -> None:
    for library in LIBRARIES:
        steps = [step for talk in vector(library)["conversations"] for step in talk["steps"] if step["do"] != "start"]
        kinds = {(step["do"], step["type"]) for step in steps}
        assert kinds == {("read", "pkmsg"), ("read", "msg"), ("write", "pkmsg"), ("write", "msg")}


@both_groups
def test_group_messages_that_the_other_library_wrote_are_read(name: str) -> None:
    recorded = vector(name)
    ours = state_of(recorded)
    ours.process_distribution(GROUP, THEM, b64decode(recorded["their_distribution"]))

    for message in reversed(recorded["received"]):
        assert ours.decrypt_group(GROUP, THEM, b64decode(message["ciphertext"])) == b64decode(message["plaintext"])


@both_groups
def test_who_gets_the_sender_key_late_reads_from_there_on(name: str) -> None:
    recorded = vector(name)
    ours = state_of(recorded)
    ours.process_distribution(GROUP, THEM, b64decode(recorded["their_late_distribution"]))

    assert ours.decrypt_group(GROUP, THEM, b64decode(recorded["received_late"]["ciphertext"])) == b"late"
    with pytest.raises(DuplicateMessage):
        ours.decrypt_group(GROUP, THEM, b64decode(recorded["received"][0]["ciphertext"]))


@both_groups
def test_group_messages_that_the_other_library_read_are_written_again(name: str) -> None:
    recorded = vector(name)
    ours, reader = state_of(recorded), SignalState.generate(0)
    assert ours.create_distribution(GROUP, "ours") == b64decode(recorded["our_distribution"])
    reader.process_distribution(GROUP, "ours", b64decode(recorded["our_distribution"]))

    for message in recorded["written"]:
        plaintext, ciphertext = b64decode(message["plaintext"]), b64decode(message["ciphertext"])
        again = ours.encrypt_group(GROUP, "ours", plaintext)
        # The last 64 bytes are the signature, which is another one every time.
        assert again[:-64] == ciphertext[:-64]
        assert reader.decrypt_group(GROUP, "ours", ciphertext) == plaintext


@both_groups
def test_a_group_that_nobody_told_us_about_can_not_be_read(name: str) -> None:
    recorded = vector(name)

    with pytest.raises(NoSenderKey):
        state_of(recorded).decrypt_group(GROUP, THEM, b64decode(recorded["received"][0]["ciphertext"]))


def test_signatures_of_both_signs_are_accepted() -> None:
    """Old libsignals sign with keys of either sign and tell which in the highest bit; half of all keys set it."""
    bundles = [
        step["bundle"]
        for library in LIBRARIES
        for talk in vector(library)["conversations"]
        for step in talk["steps"]
        if step["do"] == "start"
    ]
    signatures = [bundle_of(bundle) for bundle in bundles]

    signs = {bundle.signed_prekey_signature[-1] >> 7 for bundle in signatures}
    assert signs == {0, 1}
    for bundle in signatures:
        signed = b"\x05" + bundle.signed_prekey
        flipped = bundle.signed_prekey_signature[:-1] + bytes([bundle.signed_prekey_signature[-1] ^ 0x80])
        assert signature_is_valid(bundle.identity, signed, bundle.signed_prekey_signature)
        assert not signature_is_valid(bundle.identity, signed, flipped)
