"""The vault in the database: `creds` and blobs of a session, sealed, written only under the lease's epoch.

Every write begins, in its transaction, with an UPDATE of the session row that matches the epoch: it both proves the lease
and keeps any other writer out until the end. Errors of the database itself are raised as they are: they say nothing about the
content, and the caller must not take them for an empty vault.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import Count, Sum
from django.db.models.functions import Length
from django.utils import timezone
from django.utils.translation import gettext as _

from sessions_app.models import AuthBlob, WhatsAppSession
from sessions_app.vault import creds, crypto, keys
from sessions_app.vault.live_store import Changes, Snapshot

#: What stands for the credentials in a list of keys.
CREDS = "creds"
_DELETE_AT_ONCE = 500


class LeaseLost(Exception):
    """The epoch has passed: another host may have the session. Nothing was written."""


class DeviceDeleted(Exception):
    """The library has deleted the account from the live store; that is never mirrored. `clear()` does it on purpose."""


class NoCredentials(Exception):
    """The vault has no credentials, and the changes bring none: keys alone would be unreadable. Nothing was written."""


@dataclass(frozen=True)
class Found:
    snapshot: Snapshot


@dataclass(frozen=True)
class Absent:
    """There is nothing: no phone was linked yet, or the vault was cleared on purpose."""


@dataclass(frozen=True)
class Unreadable:
    """There is something that cannot be used; `sentence` says what, without quoting it. Never to be replaced by itself."""

    sentence: str


@dataclass(frozen=True)
class Difference:
    """What sets the vault apart from a live store, as sorted keys (`creds` for the credentials): `missing` in the vault,
    `different`, `extra` in the vault."""

    missing: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.missing) + len(self.different) + len(self.extra)


def load(session: WhatsAppSession) -> Found | Absent | Unreadable:
    """What the vault holds for a session, read afresh from the database."""
    stored = WhatsAppSession.objects.values_list("creds", flat=True).get(pk=session.pk)
    sealed = _read_blobs(session)
    if stored is None:
        return Unreadable(_("The vault holds keys, but no credentials.")) if sealed else Absent()
    if keys.SCHEMA_KEY not in sealed:
        return Unreadable(_("The vault holds credentials, but not the schema that goes with them."))
    try:
        clear = creds.unseal(stored, session.session_id)
        values = {key: crypto.unseal(value, session.session_id, key) for key, value in sealed.items()}
    except crypto.Unreadable as error:
        return Unreadable(_("The vault cannot be read: %(what)s.") % {"what": error})
    return Found(Snapshot(clear, values))


def save(session: WhatsAppSession, epoch: int, changes: Changes) -> None:
    """Write changes through, all or nothing. Raises `LeaseLost`, `DeviceDeleted`, `NoCredentials`."""
    if changes.device_deleted:
        raise DeviceDeleted(session.session_id)
    if not changes:
        return
    with transaction.atomic():
        _touch(session, epoch, changes.creds)
        _write(session, {key: value for key, value in changes.values.items() if value is not None})
        gone = {key for key, value in changes.values.items() if value is None}
        if changes.complete:
            gone |= _names(session) - changes.values.keys()
        _delete(session, gone)


def save_snapshot(session: WhatsAppSession, epoch: int, snapshot: Snapshot) -> Difference:
    """Make the vault what the snapshot is: writes what differs, removes keys that are gone, and returns both.

    Raises `LeaseLost`, `NoCredentials`.
    """
    with transaction.atomic():
        if not _fenced(session, epoch).update(vault_epoch=epoch):
            raise LeaseLost(session.session_id)
        if snapshot.creds is None:
            raise NoCredentials(session.session_id)
        difference = compare(session, snapshot)
        if CREDS in (*difference.missing, *difference.different):
            _fenced(session, epoch).update(creds=creds.seal(snapshot.creds, session.session_id))
        written = (key for key in (*difference.missing, *difference.different) if key != CREDS)
        _write(session, {key: snapshot.values[key] for key in written})
        _delete(session, difference.extra)
    return difference


def compare(session: WhatsAppSession, snapshot: Snapshot) -> Difference:
    """How the vault differs from a snapshot. Writes nothing; a value that cannot be read counts as different.

    Changes that wait in the journal show up here, too: save them first.
    """
    vault: dict[str, Any] = {key: _try_unseal(session, key, value) for key, value in _read_blobs(session).items()}
    live: dict[str, Any] = dict(snapshot.values)
    stored = WhatsAppSession.objects.values_list("creds", flat=True).get(pk=session.pk)
    if stored is not None:
        vault[CREDS] = _try_unseal_creds(session, stored)
    if snapshot.creds is not None:
        live[CREDS] = snapshot.creds
    return Difference(
        missing=sorted(live.keys() - vault.keys()),
        different=sorted(key for key in live.keys() & vault.keys() if live[key] != vault[key]),
        extra=sorted(vault.keys() - live.keys()),
    )


def clear(session: WhatsAppSession, epoch: int) -> None:
    """Forget credentials and keys, on purpose: after a logout. Raises `LeaseLost`."""
    with transaction.atomic():
        if not _fenced(session, epoch).update(creds=None, vault_epoch=epoch):
            raise LeaseLost(session.session_id)
        AuthBlob.objects.filter(session=session).delete()


def size(session: WhatsAppSession) -> tuple[int, int]:
    """How many keys the vault holds for a session, and how many bytes they take, sealed; credentials not counted."""
    found = AuthBlob.objects.filter(session=session).aggregate(keys=Count("pk"), bytes=Sum(Length("data_value")))
    return found["keys"], found["bytes"] or 0


def _fenced(session: WhatsAppSession, epoch: int) -> Any:
    return WhatsAppSession.objects.filter(pk=session.pk, lease_epoch=epoch)


def _touch(session: WhatsAppSession, epoch: int, new: creds.Creds | None) -> None:
    """Prove the lease, and write the credentials where there are new ones."""
    if new is not None:
        written = _fenced(session, epoch).update(creds=creds.seal(new, session.session_id), vault_epoch=epoch)
    else:
        written = _fenced(session, epoch).filter(creds__isnull=False).update(vault_epoch=epoch)
    if not written:
        raise NoCredentials(session.session_id) if _fenced(session, epoch).exists() else LeaseLost(session.session_id)


def _write(session: WhatsAppSession, values: Mapping[str, bytes]) -> None:
    now = timezone.now()
    AuthBlob.objects.bulk_create(
        [
            AuthBlob(
                session=session, data_key=key, data_value=crypto.seal(value, session.session_id, key), updated_at=now
            )
            for key, value in values.items()
        ],
        update_conflicts=True,
        unique_fields=["session", "data_key"],
        update_fields=["data_value", "updated_at"],
    )


def _delete(session: WhatsAppSession, gone: Iterable[str]) -> None:
    names = sorted(gone)
    for start in range(0, len(names), _DELETE_AT_ONCE):
        AuthBlob.objects.filter(session=session, data_key__in=names[start : start + _DELETE_AT_ONCE]).delete()


def _names(session: WhatsAppSession) -> set[str]:
    return set(AuthBlob.objects.filter(session=session).values_list("data_key", flat=True))


def _read_blobs(session: WhatsAppSession) -> dict[str, bytes]:
    blobs = AuthBlob.objects.filter(session=session).values_list("data_key", "data_value")
    return {key: bytes(value) for key, value in blobs}


def _try_unseal(session: WhatsAppSession, key: str, value: bytes) -> bytes | None:
    try:
        return crypto.unseal(value, session.session_id, key)
    except crypto.Unreadable:
        return None


def _try_unseal_creds(session: WhatsAppSession, stored: Any) -> creds.Creds | None:
    try:
        return creds.unseal(stored, session.session_id)
    except crypto.Unreadable:
        return None
