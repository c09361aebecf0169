"""The vault for outside Baileys services: files as they are, sealed each on its own, changed all or nothing.

A file is a name and a text, and comes back byte for byte. Nothing here reads what a text says. A sealed value is bound to
`foreign/OWNER/SESSION_ID`, which no native session can be called, and to the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db import transaction
from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import Length
from django.utils import timezone
from django.utils.translation import gettext as _

from sessions_app.models import ForeignFile, ForeignState
from sessions_app.vault import crypto

#: What one state can hold. An account with thousands of contacts has a file of some kilobytes for each of their devices.
MAX_FILES = 50_000
MAX_BYTES = 64 * 2**20
MAX_NAME = 255

_SESSION_ID = re.compile(r"[^\x00-\x1f\x7f/\\\s]{1,128}")
_NAME = re.compile(r"[^.\x00-\x1f\x7f/\\][^\x00-\x1f\x7f/\\]*")
_DELETE_AT_ONCE = 500


class NoState(Exception):
    """Nothing is stored under this id for this owner."""


class Changed(Exception):
    """What is stored is not what the caller last saw: somebody else has written. Nothing was written."""


class Refused(ValueError):
    """A state that cannot be stored as it is; the text is for people and quotes no content. Nothing was written."""


def replace(owner: str, session_id: str, files: Mapping[str, str], seen: datetime | None = None) -> ForeignState:
    """Store the whole state: files that are not named any more are gone. Raises `Refused`.

    With `seen`, the `updated_at` that the caller last saw, only over that; raises `Changed`, and `NoState` where nothing is stored.
    """
    if not files:
        raise Refused(_("There are no files in it. An empty backup would erase the stored one: delete that instead."))
    _check(session_id, files)
    with transaction.atomic():
        state = _locked(owner, session_id, seen) if seen else _made(owner, session_id)
        known = _known(state)
        _delete(state, known.keys() - files.keys())
        # Services send everything every few minutes, and little of it has changed.
        _write(state, _seal(owner, session_id, {name: text for name, text in files.items() if known.get(name) != text}))
        return _counted(state)


def update(
    owner: str, session_id: str, changes: Mapping[str, str | None], seen: datetime | None = None
) -> ForeignState:
    """Store the files that changed; None takes one away. Raises `Refused`, `NoState`, and `Changed` as `replace()` does."""
    _check(session_id, changes)
    sealed = _seal(owner, session_id, {name: text for name, text in changes.items() if text is not None})
    with transaction.atomic():
        state = _locked(owner, session_id, seen)
        _delete(state, changes.keys() - sealed.keys())
        _write(state, sealed)
        return _counted(state)


def read(owner: str, session_id: str) -> tuple[ForeignState, dict[str, str]]:
    """The whole state as of one moment. Raises `NoState`, and `crypto.Unreadable` rather than leave a file out."""
    with transaction.atomic():
        state = stored(owner, session_id).select_for_update().first()
        if state is None:
            raise NoState
        rows = list(state.files.order_by("name").values_list("name", "sealed"))
    place = place_of(owner, session_id)
    files = {name: crypto.unseal(bytes(sealed), place, name).decode() for name, sealed in rows}
    return state, files


def delete(owner: str, session_id: str) -> None:
    """Forget a state. Raises `NoState`."""
    with transaction.atomic():
        state = stored(owner, session_id).select_for_update().first()
        if state is None:
            raise NoState
        state.delete()


def stored(owner: str, session_id: str | None = None) -> QuerySet[ForeignState]:
    """The states of an owner, or the one with this id."""
    states = ForeignState.objects.filter(owner=owner)
    if session_id is None:
        return states
    # PostgreSQL refuses a NUL even in a question.
    return states.filter(session_id=session_id) if is_session_id(session_id) else states.none()


def is_session_id(text: str) -> bool:
    """Whether a state can be called so."""
    return _SESSION_ID.fullmatch(text) is not None


def _check(session_id: str, names: Iterable[str]) -> None:
    if not is_session_id(session_id):
        raise Refused(_("That session id cannot be used: 1 to 128 characters without spaces and slashes."))
    for name in names:
        if len(name) > MAX_NAME:
            raise Refused(_("A file name is longer than %(most)d characters.") % {"most": MAX_NAME})
        if not _NAME.fullmatch(name):
            raise Refused(
                _("The file name %(name)s cannot be used: no slashes, no control characters, no dot in front.")
                % {"name": ascii(name)}
            )


def _seal(owner: str, session_id: str, files: Mapping[str, str]) -> dict[str, bytes]:
    place = place_of(owner, session_id)
    return {name: crypto.seal(text.encode(), place, name) for name, text in files.items()}


def place_of(owner: str, session_id: str) -> str:
    """What the sealed files of a state are bound to."""
    # A session id has no slash, so the last one always parts owner and id.
    return f"foreign/{owner}/{session_id}"


def _known(state: ForeignState) -> dict[str, str | None]:
    """What is stored, by name; None for what cannot be opened."""
    place = place_of(state.owner, state.session_id)
    return {name: _try_unseal(bytes(sealed), place, name) for name, sealed in state.files.values_list("name", "sealed")}


def _try_unseal(sealed: bytes, place: str, name: str) -> str | None:
    try:
        return crypto.unseal(sealed, place, name).decode()
    except crypto.Unreadable:
        return None


def _made(owner: str, session_id: str) -> ForeignState:
    """The state's row, new or not; locked, so that of two backups at one time the later one is stored as a whole."""
    return ForeignState.objects.update_or_create(
        owner=owner, session_id=session_id, defaults={"updated_at": timezone.now()}
    )[0]


def _locked(owner: str, session_id: str, seen: datetime | None) -> ForeignState:
    """The state's row, locked by the UPDATE that decides whether it is still the one that was seen."""
    state = stored(owner, session_id)
    if not (state.filter(updated_at=seen) if seen else state).update(updated_at=timezone.now()):
        raise Changed if state.exists() else NoState
    return state.get()


def _write(state: ForeignState, sealed: Mapping[str, bytes]) -> None:
    ForeignFile.objects.bulk_create(
        [
            ForeignFile(state=state, name=name, sealed=value, updated_at=state.updated_at)
            for name, value in sealed.items()
        ],
        update_conflicts=True,
        unique_fields=["state", "name"],
        update_fields=["sealed", "updated_at"],
        batch_size=1000,
    )


def _delete(state: ForeignState, gone: set[str]) -> None:
    names = sorted(gone)
    for start in range(0, len(names), _DELETE_AT_ONCE):
        state.files.filter(name__in=names[start : start + _DELETE_AT_ONCE]).delete()


def _counted(state: ForeignState) -> ForeignState:
    """Note in the row what is stored now; raises `Refused`, which undoes the transaction, where a state may not hold that much."""
    found = state.files.aggregate(count=Count("pk"), size=Sum(Length("sealed")))
    state.file_count, state.size = found["count"], found["size"] or 0
    if state.file_count > MAX_FILES or state.size > MAX_BYTES:
        raise Refused(
            _("A state can hold %(files)d files and %(megabytes)d MB at most.")
            % {"files": MAX_FILES, "megabytes": MAX_BYTES // 2**20}
        )
    state.save(update_fields=["file_count", "size"])
    return state
