"""The device row and the creds JSON: the shape of Baileys, lossless, secrets sealed."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sessions_app.vault import creds, crypto, keys
from tests.integration.library import OWN_JID, OWN_LID, buffer, device, secret
from tests.unit.test_vault_keys import VALUE, same, sorted_row

COLUMN = st.one_of(st.sampled_from([*creds.MEMBERS, *creds.OPEN_COLUMNS, "companion_meta_nonce"]), st.text())
DEVICE = st.dictionaries(COLUMN, VALUE)


def test_creds_have_the_shape_that_users_of_baileys_know() -> None:
    found = creds.from_devices([device()])

    assert found["me"] == {"id": OWN_JID, "lid": OWN_LID, "name": "Ana ünïcødé 🦊"}
    assert found["noiseKey"]["private"] == buffer(secret("noise"))
    public = X25519PrivateKey.from_private_bytes(secret("noise")).public_key().public_bytes_raw()
    assert found["noiseKey"]["public"] == buffer(public)
    assert found["signedPreKey"].keys() == {"keyPair", "signature", "keyId"}
    assert found["account"].keys() == {"details", "accountSignature", "accountSignatureKey", "deviceSignature"}
    assert isinstance(found["advSecretKey"], str)
    assert found["registrationId"] == 4_294_967_295
    assert found["platform"] == "android"


@given(st.lists(DEVICE, min_size=1, max_size=3))
def test_device_rows_of_any_content_come_back_as_they_were(devices: list[keys.Row]) -> None:
    stored = json.loads(json.dumps(creds.from_devices(devices)))

    assert same(list(map(sorted_row, creds.to_devices(stored))), list(map(sorted_row, devices)))


@given(DEVICE)
def test_sealed_creds_come_back_as_they_were(row: keys.Row) -> None:
    found = creds.from_devices([row])

    assert creds.unseal(creds.seal(found, "s1"), "s1") == found


def test_no_secret_is_readable_in_sealed_creds() -> None:
    row = device() | {"companion_meta_nonce": "nonce-text", "added_later": b"later-secret"}
    text = json.dumps(creds.seal(creds.from_devices([row, device("4900000000000:1@s.whatsapp.net")]), "s1"))

    for name in ("noise", "identity", "signed", "adv"):
        assert buffer(secret(name))["data"] not in text
    assert "nonce-text" not in text
    assert buffer(b"later-secret")["data"] not in text
    assert buffer(secret("account", 64))["data"] in text  # signatures are public


@pytest.mark.parametrize(
    ("name", "shown"), [("Ana", "Ana"), (None, ""), ("a\0b", "a\ufffdb"), ("a\udcff", "a\ufffd"), (b"blob", "")]
)
def test_the_own_name_can_be_shown_whatever_it_holds(name: keys.Value, shown: str) -> None:
    assert creds.own_name(creds.from_devices([device() | {"push_name": name}])) == shown


def test_creds_of_another_session_do_not_open() -> None:
    sealed = creds.seal(creds.from_devices([device()]), "s1")

    with pytest.raises(crypto.Unreadable, match=r"creds\.noiseKey\.private"):
        creds.unseal(sealed, "s2")


def test_a_member_moved_to_another_place_does_not_open() -> None:
    sealed = creds.seal(creds.from_devices([device()]), "s1")
    sealed["noiseKey"]["private"] = sealed["signedIdentityKey"]["private"]

    with pytest.raises(crypto.Unreadable):
        creds.unseal(sealed, "s1")


@pytest.mark.parametrize(
    "stored", [[], "text", 5, {"noiseKey": {"private": "clear"}}, {"whatsmeow": 1}, {"advSecretKey": None}]
)
def test_stored_creds_of_another_form_are_unreadable(stored: object) -> None:
    with pytest.raises(crypto.Unreadable):
        creds.unseal(stored, "s1")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"advSecretKey": "?"}, {"registrationId": []}, {"otherDevices": 5}, {"whatsmeow": 5}]
)
def test_creds_that_make_no_device_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(keys.BadValue):
        creds.to_devices(wrong)
