"""Key rotation: everything moves to the first key, nothing newer is overwritten, and an interruption costs nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import models

from sessions_app import webhooks
from sessions_app.lifecycle import Status
from sessions_app.models import AuthBlob, Host, PairingRound, VaultCheck, Webhook, WhatsAppSession
from sessions_app.vault import creds, crypto, crypto_check, foreign, rotation
from tests.rows import make_host, make_round, make_session

pytestmark = pytest.mark.django_db

NEW_KEY = "YW5vdGhlci1rZXktYW5vdGhlci1rZXktYW5vdGhlci0="
CREDS = {
    "noiseKey": {"private": {"type": "Buffer", "data": "cHJpdmF0ZQ=="}},
    "advSecretKey": "c2VjcmV0",
    "me": {"id": "5511999999999:3@s.whatsapp.net"},
    "whatsmeow": {"hidden": "c2VjcmV0", "business_name": "Shop"},
}
#: noiseKey.private, advSecretKey and whatsmeow.hidden.
SECRETS = 3


def fill() -> WhatsAppSession:
    """A session with a value in every sealed column, and a webhook and a Baileys state beside it."""
    session = make_session(Status.CONNECTED, session_id="shop", creds=creds.seal(CREDS, "shop"))
    for number in range(7):
        put(session, f"key-{number}", f"value {number}".encode())
    session.seal_proxy("http://user:word@127.0.0.1:1")
    session.save(update_fields=["proxy_url"])
    make_round(session, sealed_pairing_code=crypto.seal(b"ABCD-1234", "shop", "pairing-code"))
    webhooks.make("https://example.org/in", by="ana")
    foreign.replace("Ana", "outside", {"creds.json": "{}", "app-state.json": "[]"})
    crypto_check.verify_or_exit()
    return session


#: Blobs, proxy, two codes, webhook, two files, and the members of the credentials.
FILLED = 7 + 1 + 2 + 1 + 2 + SECRETS


def put(session: WhatsAppSession, key: str, value: bytes) -> None:
    sealed = crypto.seal(value, session.session_id, key)
    AuthBlob.objects.update_or_create(session=session, data_key=key, defaults={"data_value": sealed})


def read_all(session: WhatsAppSession) -> list[Any]:
    session = WhatsAppSession.objects.get(pk=session.pk)
    round_ = PairingRound.objects.get(session=session)
    blobs = AuthBlob.objects.filter(session=session).order_by("data_key")
    return [
        creds.unseal(session.creds, "shop"),
        [crypto.unseal(bytes(blob.data_value), "shop", blob.data_key) for blob in blobs],
        crypto.unseal(bytes(session.proxy_url), "shop", "proxy-url"),
        round_.code,
        round_.pairing_code,
        Webhook.objects.get().secret,
        foreign.read("Ana", "outside")[1],
    ]


def put_new_key_in_front(settings: Any) -> tuple[str, str]:
    """The ids of the old key and of the new one, which is first now."""
    old = crypto.key_ids()[0]
    settings.OXY_ENCRYPTION_KEYS = [NEW_KEY, *settings.OXY_ENCRYPTION_KEYS]
    crypto_check.verify_or_exit()
    return old, crypto.key_ids()[0]


def test_everything_moves_to_the_first_key_and_reads_the_same_without_the_old_one(settings: Any) -> None:
    session = fill()
    before = read_all(session)
    old, new = put_new_key_in_front(settings)
    assert rotation.census() == {old: FILLED}

    result = rotation.rotate()

    assert (result.moved, result.retired, result.complete) == (FILLED, [old], True)
    assert rotation.census() == {new: FILLED}
    settings.OXY_ENCRYPTION_KEYS = [NEW_KEY]
    crypto_check.verify_or_exit()
    assert read_all(session) == before
    assert [row.key_id for row in VaultCheck.objects.all()] == [new]


def test_a_rotation_that_was_interrupted_goes_on_where_it_was(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session = fill()
    before = read_all(session)
    put_new_key_in_front(settings)
    monkeypatch.setattr(rotation, "BATCH", 2)

    def interrupt(moved: int) -> None:
        if moved >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotation.rotate(interrupt)
    assert read_all(session) == before

    assert rotation.rotate().moved == FILLED - 4
    assert read_all(session) == before


def test_a_value_that_became_newer_meanwhile_is_not_overwritten(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session = fill()
    put_new_key_in_front(settings)
    unseal, written = crypto.unseal, []

    def unseal_while_a_host_writes(sealed: bytes, session_id: str, name: str) -> bytes:
        if name == "key-3" and not written:
            written.append(True)
            put(session, "key-3", b"newer")
        return unseal(sealed, session_id, name)

    monkeypatch.setattr(crypto, "unseal", unseal_while_a_host_writes)
    result = rotation.rotate()

    assert result.moved == FILLED - 1
    assert result.complete
    blob = AuthBlob.objects.get(data_key="key-3")
    assert unseal(bytes(blob.data_value), "shop", "key-3") == b"newer"


def test_what_no_key_opens_is_named_and_keeps_the_old_keys(settings: Any) -> None:
    session = fill()
    old, __ = put_new_key_in_front(settings)
    AuthBlob.objects.filter(data_key="key-1").update(data_value=crypto.seal(b"x", "another", "key-1"))
    AuthBlob.objects.filter(data_key="key-2").update(
        data_value=bytes([1])
        + b"\0\0\0\7"
        + bytes(AuthBlob.objects.get(session=session, data_key="key-2").data_value)[5:]
    )

    said = io.StringIO()
    with pytest.raises(CommandError, match="No key opens shop key-2") as caught:
        call_command("rotate_keys", stdout=said)

    assert "keep all old keys" in str(caught.value)
    assert VaultCheck.objects.filter(key_id=old).exists()
    assert rotation.census()[old] == 0


def test_an_old_key_is_kept_while_a_worker_still_seals_with_it(settings: Any) -> None:
    fill()
    old, new = put_new_key_in_front(settings)
    host = make_host(name="worker-old", key_id=old, stopping=True)

    with pytest.raises(CommandError, match="worker-old"):
        call_command("rotate_keys", stdout=io.StringIO())
    assert VaultCheck.objects.filter(key_id=old).exists()

    Host.objects.filter(pk=host.pk).update(key_id=new)
    said = io.StringIO()
    call_command("rotate_keys", stdout=said)
    assert f"Key {old} encrypts nothing any more" in said.getvalue()


def test_a_dry_run_counts_and_changes_nothing(settings: Any) -> None:
    fill()
    old, __ = put_new_key_in_front(settings)
    said = io.StringIO()

    call_command("rotate_keys", "--dry-run", stdout=said)

    assert said.getvalue().split() == [old, "older", "key", str(FILLED), "values"]
    assert rotation.census() == {old: FILLED}


def test_every_sealed_column_is_rotated() -> None:
    sealed = {
        (model, field.name)
        for model in apps.get_app_config("sessions_app").get_models()
        for field in model._meta.get_fields()
        if isinstance(field, models.BinaryField)
    }

    assert sealed - {(VaultCheck, "sealed")} == {(column.model, column.name) for column in rotation.COLUMNS}
