"""Whether the encryption keys in use are the ones that the database was written with."""

from __future__ import annotations

import logging
import sys

from django.db import Error, connection

from sessions_app.models import VaultCheck
from sessions_app.vault import crypto

log = logging.getLogger(__name__)

_KNOWN_TEXT = b"oxy"
#: Stands for a session's id and for a key's name in what the check seals.
_BOUND_TO = ("vault-check", "vault-check")


def verify_or_exit() -> None:
    """End the process with a sentence where a key that the database was written with is missing, or no key is one.

    Each key that ever sealed has a row that only it opens; a key that is new gets its own. Without this, a wrong key would be
    found session by session, and new credentials be written that the right key does not open. A database that cannot be
    reached, or has no tables yet, is a warning alone: the process may be early, and what cannot be read will say so.
    """
    try:
        missing = _missing_keys()
        if not missing:
            _write_check()
    except crypto.BadKey as error:
        sys.exit(f"oxy: {error}")
    except Error as error:
        log.warning("The encryption keys could not be checked against the database: %s", type(error).__name__)
        return
    finally:
        # The caller may be about to fork, and a connection must not live in two processes.
        if not connection.in_atomic_block:
            connection.close()
    if missing:
        sys.exit(
            "oxy: The stored sessions were encrypted with a key that is not in OXY_ENCRYPTION_KEYS "
            f"(key id {', '.join(missing)}). Add that key; nothing was changed."
        )


def _missing_keys() -> list[str]:
    """The ids of the check rows that no key opens."""
    return sorted(row.key_id for row in VaultCheck.objects.all() if not _opens(bytes(row.sealed)))


def _opens(sealed: bytes) -> bool:
    try:
        return crypto.unseal(sealed, *_BOUND_TO) == _KNOWN_TEXT
    except crypto.Unreadable:
        return False


def _write_check() -> None:
    """The row of the key that seals from now on; two processes that start at once write the same one."""
    key_id = crypto.key_ids()[0]
    if not VaultCheck.objects.filter(key_id=key_id).exists():
        check = VaultCheck(key_id=key_id, sealed=crypto.seal(_KNOWN_TEXT, *_BOUND_TO))
        VaultCheck.objects.bulk_create([check], ignore_conflicts=True)
