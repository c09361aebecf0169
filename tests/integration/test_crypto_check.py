"""A wrong encryption key ends the process at its start, and changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection

from sessions_app.models import VaultCheck
from sessions_app.vault import crypto, crypto_check

pytestmark = pytest.mark.django_db

OTHER_KEY = "YW5vdGhlci1rZXktYW5vdGhlci1rZXktYW5vdGhlci0="


def checks() -> list[tuple[str, bytes]]:
    return [(row.key_id, bytes(row.sealed)) for row in VaultCheck.objects.order_by("pk")]


def test_the_first_start_writes_a_check_and_the_next_ones_nothing() -> None:
    crypto_check.verify_or_exit()
    first = checks()
    crypto_check.verify_or_exit()

    assert [key_id for key_id, _ in first] == crypto.key_ids()
    assert checks() == first


def test_another_key_ends_the_process_with_one_sentence_and_writes_nothing(settings: Any) -> None:
    crypto_check.verify_or_exit()
    before, right = checks(), crypto.key_ids()[0]
    settings.OXY_ENCRYPTION_KEYS = [OTHER_KEY]

    with pytest.raises(SystemExit) as caught:
        crypto_check.verify_or_exit()

    assert right in str(caught.value.code)
    assert OTHER_KEY not in str(caught.value.code)
    assert "\n" not in str(caught.value.code)
    assert checks() == before


def test_a_key_added_in_front_gets_a_check_of_its_own(settings: Any) -> None:
    old = settings.OXY_ENCRYPTION_KEYS
    crypto_check.verify_or_exit()
    settings.OXY_ENCRYPTION_KEYS = [OTHER_KEY, *old]
    crypto_check.verify_or_exit()

    assert len(checks()) == 2
    settings.OXY_ENCRYPTION_KEYS = old
    with pytest.raises(SystemExit):
        crypto_check.verify_or_exit()


def test_something_that_is_no_key_ends_the_process(settings: Any) -> None:
    settings.OXY_ENCRYPTION_KEYS = ["c2hvcnQ="]

    with pytest.raises(SystemExit, match="not a key"):
        crypto_check.verify_or_exit()


def test_a_damaged_check_ends_the_process() -> None:
    crypto_check.verify_or_exit()
    VaultCheck.objects.update(sealed=b"?")

    with pytest.raises(SystemExit):
        crypto_check.verify_or_exit()


def test_a_database_that_cannot_be_reached_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: Any) -> Any:
        raise OperationalError("could not connect to server: password=secret")

    with connection.execute_wrapper(fail):
        crypto_check.verify_or_exit()

    assert "could not be checked" in caplog.text
    assert "secret" not in caplog.text
    assert checks() == []
