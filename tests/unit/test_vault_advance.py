"""A stored Signal session is moved on by whole steps of the chain, and by nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from sessions_app.vault.advance import STEPS, advance


def chain(key: bytes, index: int) -> dict[str, object]:
    return {"SenderRatchetKeyPublic": "Bd15", "ChainKey": {"Key": base64.b64encode(key).decode(), "Index": index}}


def steps(key: bytes, count: int) -> bytes:
    return key if not count else steps(hmac.new(key, b"\2", hashlib.sha256).digest(), count - 1)


def test_every_sender_chain_is_moved_on_and_the_rest_is_as_it_was():
    state = {"RootKey": "R800", "ReceiverChains": [chain(b"r" * 32, 7)], "SenderChain": chain(b"s" * 32, 5)}
    previous = {**state, "SenderChain": chain(b"p" * 32, 0)}
    found = json.loads(advance(json.dumps({"SessionState": state, "PreviousStates": [previous]}).encode()) or b"")
    assert found == {
        "SessionState": {**state, "SenderChain": chain(steps(b"s" * 32, STEPS), 5 + STEPS)},
        "PreviousStates": [{**previous, "SenderChain": chain(steps(b"p" * 32, STEPS), STEPS)}],
    }


def test_a_session_on_which_nothing_can_be_sent_yet_is_left_as_it_is():
    record = b'{"SessionState":{"SenderChain":null},"PreviousStates":null}'
    assert json.loads(advance(record) or b"") == json.loads(record)


@pytest.mark.parametrize(
    "record", [b"", b"\x0a\x21", b"[]", b'{"SessionState":{"SenderChain":{"ChainKey":{"Key":"?"}}}}']
)
def test_another_form_is_not_guessed_at(record: bytes):
    assert advance(record) is None
