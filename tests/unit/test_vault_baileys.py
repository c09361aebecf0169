"""Baileys auth files → the vault's keys and values."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions_app.vault import baileys, creds, keys
from sessions_app.vault.baileys import BadFiles

SCHEMA = keys.Schema(("CREATE TABLE whatsmeow_version (version INTEGER)",), ()).encode()
JID, LID = "5511987650001:7@s.whatsapp.net", "200000000000001:7@lid"

FORMS = {
    "buffer": lambda data: {"type": "Buffer", "data": base64.b64encode(data).decode()},
    "base64": lambda data: base64.b64encode(data).decode(),
    "list": lambda data: {"type": "Buffer", "data": list(data)},
    "indexed": lambda data: {str(index): byte for index, byte in enumerate(data)},
}


def pattern(seed: int, length: int = 32) -> bytes:
    return bytes((seed * 31 + index) % 256 for index in range(length))


def credentials(written: Any = FORMS["buffer"], **over: Any) -> dict[str, Any]:
    """`creds.json` as Baileys writes it, with buffers in one of their forms."""
    pair = lambda seed: {"private": written(pattern(seed)), "public": written(pattern(seed + 100))}  # noqa: E731
    return {
        "noiseKey": pair(1),
        "pairingEphemeralKeyPair": pair(2),
        "signedIdentityKey": pair(3),
        "signedPreKey": {"keyPair": pair(4), "signature": written(pattern(5, 64)), "keyId": 1},
        "registrationId": 142,
        "advSecretKey": base64.b64encode(pattern(6)).decode(),
        "nextPreKeyId": 13,
        "firstUnuploadedPreKeyId": 12,
        "account": {
            "details": written(pattern(7, 21)),
            "accountSignatureKey": written(pattern(8)),
            "accountSignature": written(pattern(9, 64)),
            "deviceSignature": written(pattern(10, 64)),
        },
        "me": {"id": JID, "lid": LID, "name": "Ana 🦊"},
        "platform": "android",
        "registered": False,
    } | over


def files(content: dict[str, Any] | None = None, **more: Any) -> dict[str, str]:
    found = {"creds.json": json.dumps(content or credentials())}
    return found | {name: json.dumps(value) for name, value in more.items()}


def rows(snapshot: Any, key: str) -> list[keys.Row]:
    return keys.decode(snapshot.values[key])[1]


# --- what is carried over --------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_the_device_is_carried_over_from_every_form_of_a_buffer(form: str) -> None:
    snapshot = baileys.to_snapshot(files(credentials(FORMS[form])), SCHEMA)

    assert creds.to_devices(snapshot.creds or {}) == [
        {
            "jid": JID,
            "lid": LID,
            "registration_id": 142,
            "noise_key": pattern(1),
            "identity_key": pattern(3),
            "signed_pre_key": pattern(4),
            "signed_pre_key_id": 1,
            "signed_pre_key_sig": pattern(5, 64),
            "adv_key": pattern(6),
            "adv_details": pattern(7, 21),
            "adv_account_sig": pattern(9, 64),
            "adv_account_sig_key": pattern(8),
            "adv_device_sig": pattern(10, 64),
            "platform": "android",
            "push_name": "Ana 🦊",
        }
    ]
    assert baileys.own_number(snapshot) == ("5511987650001", JID)
    assert snapshot.values == {keys.SCHEMA_KEY: SCHEMA}


@given(
    noise=st.binary(min_size=32, max_size=32),
    registration=st.integers(0, 2**32 - 1),
    details=st.binary(min_size=1, max_size=60),
    name=st.text(),
    form=st.sampled_from(sorted(FORMS)),
)
def test_any_device_is_carried_over_unchanged(
    noise: bytes, registration: int, details: bytes, name: str, form: str
) -> None:
    content = credentials(FORMS[form], registrationId=registration, me={"id": JID, "name": name})
    content["noiseKey"]["private"] = FORMS[form](noise)
    content["account"]["details"] = FORMS[form](details)

    [device] = creds.to_devices(baileys.to_snapshot(files(content), SCHEMA).creds or {})

    assert (device["noise_key"], device["registration_id"], device["adv_details"]) == (noise, registration, details)
    assert (device["push_name"], device["lid"]) == (name, None)


def test_a_name_that_is_no_text_can_be_stored_all_the_same() -> None:
    # Half a surrogate pair, as JSON can carry it.
    text = json.dumps(credentials()).replace("\\ud83e\\udd8a", "\\ud83e")
    [device] = creds.to_devices(baileys.to_snapshot({"creds.json": text}, SCHEMA).creds or {})
    assert device["push_name"] == "Ana ?"


def test_the_device_number_stands_in_a_lid_without_one() -> None:
    content = credentials(me={"id": JID, "lid": "200000000000001@lid"})
    assert creds.to_devices(baileys.to_snapshot(files(content), SCHEMA).creds or {})[0]["lid"] == LID


@given(
    st.dictionaries(st.integers(0, 2**24 - 1), st.binary(min_size=32, max_size=32), max_size=20), st.integers(0, 2**24)
)
def test_every_prekey_is_carried_over_with_whether_it_was_uploaded(prekeys: dict[int, bytes], uploaded: int) -> None:
    found = {f"pre-key-{number}.json": {"private": FORMS["buffer"](key)} for number, key in prekeys.items()}
    snapshot = baileys.to_snapshot(files(credentials(firstUnuploadedPreKeyId=uploaded), **found), SCHEMA)

    assert len(snapshot.values) == len(prekeys) + 1
    for number, key in prekeys.items():
        [row] = rows(snapshot, f"pre-key-{number}")
        assert row == {"jid": JID, "key_id": number, "key": key, "uploaded": int(number < uploaded)}


def test_app_state_keys_come_with_their_fingerprint() -> None:
    # The name is base64 of the key's id, with "__" for its slashes.
    content = {
        "keyData": base64.b64encode(pattern(11)).decode(),
        "fingerprint": {"rawId": 300, "currentIndex": 0, "deviceIndexes": [0, 300]},
        "timestamp": "1795423390630",
    }
    snapshot = baileys.to_snapshot(files(**{"app-state-sync-key-AAD__+w==.json": content}), SCHEMA)

    [row] = rows(snapshot, "app-state-sync-key-0000fffb")
    assert row == {
        "jid": JID,
        "key_id": bytes.fromhex("0000fffb"),
        "key_data": pattern(11),
        "timestamp": 1795423390630,
        "fingerprint": bytes.fromhex("08ac0210001a0300ac02"),
    }


def test_pairs_of_number_and_lid_are_carried_over() -> None:
    found = {
        "lid-mapping-5511987650002.json": "200000000007920",
        "lid-mapping-200000000007920_reverse.json": "5511987650002",
    }
    snapshot = baileys.to_snapshot(files(**found), SCHEMA)
    assert rows(snapshot, "lid-mapping-200000000007920") == [{"lid": "200000000007920", "pn": "5511987650002"}]
    assert len(snapshot.values) == 2


def test_what_the_other_library_keeps_in_its_own_form_is_left_behind() -> None:
    found = {
        "session-200000000007920_1.0.json": {"type": "Buffer", "data": "AAAA"},
        "sender-key-12@g.us--1_1--0.json": {"type": "Buffer", "data": "AAAA"},
        "device-list-5511987650002.json": ["0"],
        "pre-key-3.json": None,
    }
    assert baileys.to_snapshot(files(**found), SCHEMA).values == {keys.SCHEMA_KEY: SCHEMA}


def test_names_without_their_ending_are_known_too() -> None:
    found = {
        name.removesuffix(".json"): text
        for name, text in files(**{"pre-key-1.json": {"private": FORMS["buffer"](pattern(1))}}).items()
    }
    assert "pre-key-1" in baileys.to_snapshot(found, SCHEMA).values


# --- what is refused ------------------------------------------------------------------------


def broken(*path: str, value: Any) -> dict[str, Any]:
    content = credentials()
    parent = content
    for member in path[:-1]:
        parent = parent[member]
    parent[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (broken("me", value=None), "never paired"),
        (broken("account", value=None), "never paired"),
        (broken("me", "id", value="5511987650001@s.whatsapp.net"), "no linked device"),
        (broken("noiseKey", "private", value=FORMS["buffer"](b"short")), "creds.json"),
        (broken("noiseKey", "private", value="&&&"), "creds.json"),
        (broken("signedPreKey", "keyId", value=2**24), "creds.json"),
        (broken("registrationId", value=-1), "creds.json"),
        (broken("signedPreKey", value=None), "creds.json"),
        (["not", "an", "object"], "creds.json"),
    ],
)
def test_broken_credentials_are_refused_with_a_sentence(content: Any, said: str) -> None:
    with pytest.raises(BadFiles, match=said):
        baileys.to_snapshot(files(content), SCHEMA)


def test_a_folder_of_something_else_is_refused() -> None:
    with pytest.raises(BadFiles, match=r"There is no creds\.json"):
        baileys.to_snapshot({"package.json": "{}"}, SCHEMA)


def test_a_refusal_quotes_no_content() -> None:
    secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
    for name, text in (("creds.json", f'{{"noiseKey": "{secret}"'), ("pre-key-1.json", f'{{"private": "{secret}"}}')):
        with pytest.raises(BadFiles) as refusal:
            baileys.to_snapshot(files() | {name: text}, SCHEMA)
        assert secret not in str(refusal.value)
        assert refusal.value.__suppress_context__


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_PATHS = [("noiseKey",), ("noiseKey", "private"), ("account",), ("me",), ("me", "id"), ("me", "lid"), ("advSecretKey",),
          ("signedPreKey", "keyId"), ("firstUnuploadedPreKeyId",), ("platform",)]  # fmt: skip


@given(st.sampled_from(_PATHS), json_values)
def test_no_content_of_a_member_leads_to_another_error(path: tuple[str, ...], value: Any) -> None:
    try:
        snapshot = baileys.to_snapshot(files(broken(*path, value=value)), SCHEMA)
    except BadFiles:
        return
    assert creds.to_devices(snapshot.creds or {})


@given(
    st.sampled_from(
        ["pre-key-1.json", "app-state-sync-key-AAAA.json", "app-state-sync-key-?.json", "lid-mapping-1.json"]
    ),
    json_values,
)
def test_no_content_of_another_file_leads_to_another_error(name: str, value: Any) -> None:
    try:
        baileys.to_snapshot(files(**{name: value}), SCHEMA)
    except BadFiles:
        return


@given(st.dictionaries(st.text(max_size=12) | st.just("creds.json"), st.text(max_size=30), max_size=4))
def test_no_folder_of_texts_leads_to_another_error(found: dict[str, str]) -> None:
    with pytest.raises(BadFiles):
        baileys.to_snapshot(found, SCHEMA)
