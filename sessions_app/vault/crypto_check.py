"""Whether the encryption keys in use are the ones that the database was written with."""

from __future__ import annotations


def verify_or_exit() -> None:
    """Placeholder until the vault lands."""
