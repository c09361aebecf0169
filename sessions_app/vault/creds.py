"""The live store's device row ↔ the `creds` JSON, in the shape that users of Baileys know; sealing of its private members.

In memory the JSON holds everything in the clear (`{"type": "Buffer", "data": base64}`). At rest `seal()` has replaced each member
that is a secret by `{"type": "Sealed", "data": base64}`, bound to the session and the member's name. Public halves of key
pairs are derived for the reader's sake; only the private ones are read back. Columns without a member of their own lie under
`whatsmeow`, further devices of the same file (never seen in practice) under `otherDevices`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sessions_app.vault import crypto, keys

Creds = dict[str, Any]

#: Column of `whatsmeow_device` → the member that holds it.
MEMBERS: dict[str, tuple[str, ...]] = {
    "noise_key": ("noiseKey", "private"),
    "identity_key": ("signedIdentityKey", "private"),
    "signed_pre_key": ("signedPreKey", "keyPair", "private"),
    "signed_pre_key_sig": ("signedPreKey", "signature"),
    "signed_pre_key_id": ("signedPreKey", "keyId"),
    "registration_id": ("registrationId",),
    "adv_key": ("advSecretKey",),
    "adv_details": ("account", "details"),
    "adv_account_sig": ("account", "accountSignature"),
    "adv_account_sig_key": ("account", "accountSignatureKey"),
    "adv_device_sig": ("account", "deviceSignature"),
    "jid": ("me", "id"),
    "lid": ("me", "lid"),
    "push_name": ("me", "name"),
    "platform": ("platform",),
}
#: Columns under `whatsmeow` that are no secret; whatever else a newer library adds is sealed.
OPEN_COLUMNS = frozenset({"facebook_uuid", "business_name", "lid_migration_ts"})
_SECRET_MEMBERS = (
    MEMBERS["noise_key"],
    MEMBERS["identity_key"],
    MEMBERS["signed_pre_key"],
    MEMBERS["adv_key"],
    ("otherDevices",),
)


def from_devices(devices: list[keys.Row]) -> Creds:
    """The `creds` of a live store whose device table holds `devices`, at least one; the first is the account."""
    creds = _from_device(devices[0])
    if len(devices) > 1:
        creds["otherDevices"] = [_from_device(device) for device in devices[1:]]
    return creds


def to_devices(creds: Creds) -> list[keys.Row]:
    """The inverse of `from_devices()`; raises `keys.BadValue`."""
    try:
        return [_to_device(creds), *(_to_device(other) for other in creds.get("otherDevices", []))]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise keys.BadValue(f"not the credentials of a device: {type(error).__name__}") from None


def own_name(creds: Creds) -> str:
    """The account's own name, fit to be stored and shown: what is no text in it is replaced."""
    name = keys.from_json(creds.get("me", {}).get("name"))
    return keys.printable(name) if isinstance(name, str) else ""


def seal(creds: Creds, session_id: str) -> Creds:
    """A copy of `creds` for the database, with every secret sealed."""
    return _with_secrets(creds, lambda value, name: _seal(value, session_id, name))


def unseal(creds: Creds, session_id: str) -> Creds:
    """The inverse of `seal()`; raises `crypto.Unreadable`."""
    try:
        return _with_secrets(creds, lambda value, name: _unseal(value, session_id, name))
    except (AttributeError, KeyError, TypeError):
        raise crypto.Unreadable("creds: not of the form in which they are stored") from None


def _from_device(device: keys.Row) -> Creds:
    creds: Creds = {}
    for column, value in device.items():
        path = MEMBERS.get(column)
        if path is None or (column == "adv_key" and not isinstance(value, bytes)):
            creds.setdefault("whatsmeow", {})[column] = keys.to_json(value)
            continue
        # Baileys keeps this one as a plain base64 string.
        written = base64.b64encode(value).decode() if column == "adv_key" else keys.to_json(value)  # type: ignore[arg-type]
        parent = _descend(creds, path)
        parent[path[-1]] = written
        if path[-1] == "private" and isinstance(value, bytes) and len(value) == 32:
            parent["public"] = keys.to_json(X25519PrivateKey.from_private_bytes(value).public_key().public_bytes_raw())
    return creds


def _to_device(creds: Creds) -> keys.Row:
    device = {column: keys.from_json(value) for column, value in creds.get("whatsmeow", {}).items()}
    for column, path in MEMBERS.items():
        if (value := _find(creds, path)) is not _ABSENT:
            device[column] = base64.b64decode(value, validate=True) if column == "adv_key" else keys.from_json(value)
    return device


_ABSENT: Any = object()


def _descend(creds: Creds, path: tuple[str, ...]) -> Creds:
    """The object that holds the last member of `path`; made where it is missing."""
    for member in path[:-1]:
        creds = creds.setdefault(member, {})
    return creds


def _find(creds: Creds, path: tuple[str, ...]) -> Any:
    found: Any = creds
    for member in path:
        if not isinstance(found, dict) or member not in found:
            return _ABSENT
        found = found[member]
    return found


def _secrets(creds: Creds) -> Iterator[tuple[str, ...]]:
    yield from (path for path in _SECRET_MEMBERS if _find(creds, path) is not _ABSENT)
    yield from (("whatsmeow", column) for column in creds.get("whatsmeow", {}) if column not in OPEN_COLUMNS)


def _with_secrets(creds: Creds, change: Callable[[Any, str], Any]) -> Creds:
    copy: Creds = json.loads(json.dumps(creds))
    for path in list(_secrets(copy)):
        parent = _descend(copy, path)
        parent[path[-1]] = change(parent[path[-1]], ".".join(("creds", *path)))
    return copy


def _seal(value: Any, session_id: str, name: str) -> Any:
    sealed = crypto.seal(json.dumps(value).encode(), session_id, name)
    return {"type": "Sealed", "data": base64.b64encode(sealed).decode()}


def _unseal(value: Any, session_id: str, name: str) -> Any:
    try:
        if value["type"] != "Sealed":
            raise ValueError
        sealed = base64.b64decode(value["data"], validate=True)
    except (ValueError, KeyError, TypeError):
        raise crypto.Unreadable(f"{name}: not a sealed value") from None
    return json.loads(crypto.unseal(sealed, session_id, name))
