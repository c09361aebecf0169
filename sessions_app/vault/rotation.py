"""Moving what is stored from retired encryption keys to the first one, while everything runs.

The sealed values themselves say what is left to do: each begins with its key's id. So a run that was killed is simply run again.
Nothing newer is ever overwritten. A host's write to a vault begins with a lock on its session row; the rotation takes the same lock
for each small batch, and beyond that every UPDATE matches the old bytes: a value that changed meanwhile was sealed afresh anyway.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db import models, transaction
from django.db.models import BinaryField, Count, F
from django.db.models.functions import Now, Substr

from sessions_app.models import (
    AuthBlob,
    ForeignFile,
    ForeignState,
    Host,
    MessageFile,
    PairingRound,
    Question,
    ReceivedFile,
    VaultCheck,
    Webhook,
    WhatsAppSession,
)
from sessions_app.querysets import HOST_TTL
from sessions_app.vault import creds, crypto, foreign

#: Values that are sealed again under one lock: a host that wants to write waits for so many, a few dozen milliseconds.
BATCH = 100
#: Times that everything is looked through before it is said that somebody still seals with an old key.
PASSES = 3

Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A column of sealed bytes: what its values are bound to, and the row whose lock its writers hold, where they hold one."""

    model: type[models.Model]
    name: str
    needs: tuple[str, ...]
    bound_to: Callable[[Row], tuple[str, str]]
    lock: tuple[type[models.Model], str] | None = None

    @property
    def rows(self) -> models.QuerySet[Any]:
        """Those with a value, with `sealed_with`: the id of the key, 4 bytes."""
        manager: Any = self.model._default_manager
        present = manager.order_by().filter(**{f"{self.name}__isnull": False})
        key_id = Substr(F(self.name), 2, crypto.KEY_ID, output_field=BinaryField())
        found: models.QuerySet[Any] = present.annotate(sealed_with=key_id)
        return found


COLUMNS = (
    Column(
        AuthBlob,
        "data_value",
        ("session_id", "session__session_id", "data_key"),
        lambda row: (row["session__session_id"], row["data_key"]),
        (WhatsAppSession, "session_id"),
    ),
    Column(
        ForeignFile,
        "sealed",
        ("state_id", "state__owner", "state__session_id", "name"),
        lambda row: (foreign.place_of(row["state__owner"], row["state__session_id"]), row["name"]),
        (ForeignState, "state_id"),
    ),
    Column(Webhook, "sealed_secret", ("code",), lambda row: (f"webhook:{row['code']}", "secret")),
    Column(WhatsAppSession, "proxy_url", ("session_id",), lambda row: (row["session_id"], "proxy-url")),
    Column(
        MessageFile,
        "sealed",
        ("message__session__session_id",),
        lambda row: (row["message__session__session_id"], "file"),
    ),
    Column(
        MessageFile,
        "sealed_url",
        ("message__session__session_id",),
        lambda row: (row["message__session__session_id"], "file-url"),
    ),
    Column(
        ReceivedFile,
        "sealed",
        ("message__session__session_id",),
        lambda row: (row["message__session__session_id"], "received-file"),
    ),
    Column(Question, "sealed", ("session__session_id",), lambda row: (row["session__session_id"], "asked-file")),
    Column(
        PairingRound,
        "sealed_code",
        ("session__session_id",),
        lambda row: (row["session__session_id"], "qr-code"),
    ),
    Column(
        PairingRound,
        "sealed_pairing_code",
        ("session__session_id",),
        lambda row: (row["session__session_id"], "pairing-code"),
    ),
)


@dataclass
class Result:
    """What a rotation did: values sealed again, the names of what could not be opened, values still under other keys, hosts that
    still seal with another key, and the ids of the keys that nothing needs any more."""

    moved: int = 0
    unreadable: list[str] = field(default_factory=list)
    left: int = 0
    behind: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not (self.unreadable or self.left or self.behind)


def census() -> Counter[str]:
    """How many values each key seals, by key id in hex."""
    counts: Counter[str] = Counter()
    for column in COLUMNS:
        for row in column.rows.values("sealed_with").annotate(n=Count("pk")):
            counts[bytes(row["sealed_with"]).hex()] += row["n"]
    for __, stored in _stored_creds():
        counts.update(key_id for key_id in _key_ids(stored))
    return counts


def open_some(count: int = 20) -> list[str]:
    """Open the newest values of each column, as whoever needs them does; the names of those that cannot be opened."""
    broken: list[str] = []
    for column in COLUMNS:
        for row in column.rows.order_by("-pk").values("pk", column.name, *column.needs)[:count]:
            bound_to = column.bound_to(row)
            try:
                crypto.unseal(bytes(row[column.name]), *bound_to)
            except crypto.Unreadable:
                broken.append(f"{bound_to[0]} {bound_to[1]}")
    return broken


def rotate(progress: Callable[[int], None] = lambda moved: None) -> Result:
    """Seal everything with the first key; `progress` is told how many values were moved so far. Safe to interrupt and to repeat."""
    result = Result()
    for __ in range(PASSES):
        result.unreadable.clear()
        for column in COLUMNS:
            for moved in _rotate_column(column, result):
                result.moved += moved
                progress(result.moved)
        result.moved += _rotate_creds(result)
        progress(result.moved)
        result.left = _left()
        if result.left <= len(result.unreadable):
            break
    result.behind = _hosts_behind()
    if result.complete:
        result.retired = _retire()
    return result


def _left() -> int:
    counts = census()
    counts.pop(crypto.key_ids()[0], None)
    return counts.total()


def _rotate_column(column: Column, result: Result) -> Iterator[int]:
    """Batch by batch; how many of each were moved."""
    first, last = bytes.fromhex(crypto.key_ids()[0]), 0
    while True:
        old = column.rows.filter(pk__gt=last).exclude(sealed_with=first).order_by("pk")
        batch = list(old.values("pk", column.name, *column.needs)[:BATCH])
        if not batch:
            return
        last = batch[-1]["pk"]
        yield _rotate_batch(column, batch, result)


def _rotate_batch(column: Column, batch: list[Row], result: Result) -> int:
    moved = 0
    if column.lock is None:
        return sum(_rotate_value(column, row, result) for row in batch)
    model, owner = column.lock
    for pk in sorted({row[owner] for row in batch}):
        with transaction.atomic():
            _lock(model, pk)
            moved += sum(_rotate_value(column, row, result) for row in batch if row[owner] == pk)
    return moved


def _lock(model: type[models.Model], pk: int) -> None:
    manager: Any = model._default_manager
    manager.order_by().select_for_update(no_key=True).filter(pk=pk).values_list("pk").first()


def _rotate_value(column: Column, row: Row, result: Result) -> int:
    """1 where it was moved; 0 where it cannot be opened, is gone, or is newer than what was read."""
    manager: Any = column.model._default_manager
    old, bound_to = bytes(row[column.name]), column.bound_to(row)
    try:
        new = crypto.seal(crypto.unseal(old, *bound_to), *bound_to)
    except crypto.Unreadable:
        result.unreadable.append(f"{bound_to[0]} {bound_to[1]}")
        return 0
    return int(manager.filter(pk=row["pk"], **{column.name: old}).update(**{column.name: new}))


# --- credentials: several sealed members in one JSON ---------------------------


def _rotate_creds(result: Result) -> int:
    return sum(_rotate_creds_of(pk, result) for pk, stored in _stored_creds() if _is_old(stored))


def _rotate_creds_of(pk: int, result: Result) -> int:
    """Read and written under the row's lock, because databases disagree on when two JSON documents are equal."""
    with transaction.atomic():
        row = WhatsAppSession.objects.select_for_update(no_key=True).order_by().filter(pk=pk).first()
        if row is None or row.creds is None or not _is_old(row.creds):
            return 0
        moved = sum(key_id != crypto.key_ids()[0] for key_id in _key_ids(row.creds))
        try:
            new = creds.seal(creds.unseal(row.creds, row.session_id), row.session_id)
        except crypto.Unreadable:
            result.unreadable.extend([f"{row.session_id} creds"] * moved)
            return 0
        WhatsAppSession.objects.filter(pk=pk).update(creds=new)
    return moved


def _stored_creds() -> list[tuple[int, Any]]:
    stored = WhatsAppSession.objects.filter(creds__isnull=False).order_by("pk").values_list("pk", "creds")
    return list(stored)


def _is_old(stored: Any) -> bool:
    return any(key_id != crypto.key_ids()[0] for key_id in _key_ids(stored))


def _key_ids(value: Any) -> Iterator[str]:
    """The key id of every sealed member, at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _key_ids(item)
    elif isinstance(value, dict) and value.get("type") == "Sealed":
        yield base64.b64decode(value.get("data", ""))[1 : 1 + crypto.KEY_ID].hex()
    elif isinstance(value, dict):
        for item in value.values():
            yield from _key_ids(item)


# --- the end ---------------------------------------------------------------------


def _hosts_behind() -> list[str]:
    """Running hosts that were started with another first key, and go on sealing with it."""
    # One that is stopping is still writing.
    beating = Host.objects.filter(beat_at__gt=Now() - HOST_TTL).exclude(key_id=crypto.key_ids()[0])
    return list(beating.order_by("name").values_list("name", flat=True))


def _retire() -> list[str]:
    """Remove the check rows of keys that seal nothing any more, so that a start without them is not refused."""
    old = VaultCheck.objects.exclude(key_id=crypto.key_ids()[0])
    names = sorted(old.values_list("key_id", flat=True))
    old.delete()
    return names
