"""Baileys auth files → what the vault keeps of a session: pure, and tested against the real library.

The files are those of `useMultiFileAuthState` (Baileys 6 and 7): `creds.json`, and `CATEGORY-ID.json` with `/` written as `__` and
`:` as `-`. Buffers are `{"type": "Buffer", "data": base64}`, or plain base64 where protobuf wrote them.

Carried over are the device, its one-time prekeys, the keys to the app state and the known pairs of number and LID. Signal
sessions and sender keys are left behind: the two libraries keep them in forms of their own, and both sides make new ones at the
first message without losing one (docs/baileys.md). So is the app state, which is fetched afresh with its keys.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sessions_app.vault import creds, keys
from sessions_app.vault.live_store import Snapshot

CREDS = "creds.json"

_PRE_KEY = re.compile(r"pre-key-(\d{1,8})")
_APP_STATE_KEY = re.compile(r"app-state-sync-key-(.+)")
_LID = re.compile(r"lid-mapping-(\d+)")
_JID = re.compile(r"(\d+)(?:[.]\d+)?:(\d+)@(?:s\.whatsapp\.net|c\.us)")


class BadFiles(ValueError):
    """Files that no session can be made of; the text is for people and quotes no content."""


def to_snapshot(files: Mapping[str, str], schema: bytes) -> Snapshot:
    """The session that the files hold, for a live store of this schema. Raises `BadFiles`."""
    found = {name.removesuffix(".json"): text for name, text in files.items()}
    device = _read(found, "creds", _device)
    jid = str(device["jid"])
    uploaded = _read(found, "creds", lambda content: int(content.get("firstUnuploadedPreKeyId", 2**24)))
    rows = [
        *_rows(found, _PRE_KEY, "whatsmeow_pre_keys", lambda id_, key: _pre_key(jid, int(id_), key, uploaded)),
        *_rows(found, _APP_STATE_KEY, "whatsmeow_app_state_sync_keys", lambda id_, key: _app_state_key(jid, id_, key)),
        *_rows(found, _LID, "whatsmeow_lid_map", lambda number, lid: {"lid": str(int(lid)), "pn": number}),
    ]
    values = {keys.SCHEMA_KEY: schema}
    for table, row in rows:
        form = keys.FORMS[table]
        values[form.name(tuple(row[column] for column in form.columns))] = keys.encode(table, [row])
    return Snapshot(creds.from_devices([device]), values)


def own_number(snapshot: Snapshot) -> tuple[str, str]:
    """The phone number and the JID of a session that `to_snapshot()` has made."""
    jid = str((snapshot.creds or {})["me"]["id"])
    return jid.partition(":")[0], jid


def _rows(
    files: Mapping[str, str], pattern: re.Pattern[str], table: str, make: Callable[[str, Any], keys.Row]
) -> Iterator[tuple[str, keys.Row]]:
    """A row for each file whose name fits; an entry that was deleted (null) has none."""
    for name in sorted(files):
        if (match := pattern.fullmatch(name)) and files[name].strip() != "null":
            yield table, _read(files, name, lambda content, id_=match[1]: make(id_, content))  # type: ignore[misc]


def _read(files: Mapping[str, str], name: str, make: Callable[[Any], Any]) -> Any:
    """What `make` finds in a file's JSON; raises `BadFiles` with the file's name."""
    if name not in files:
        raise BadFiles(f"There is no {name}.json: this is not the auth state of a Baileys client.")
    try:
        return make(json.loads(files[name]))
    except BadFiles:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BadFiles(f"{name}.json does not hold what Baileys writes there.") from None


def _device(content: dict[str, Any]) -> keys.Row:
    """The row of `whatsmeow_device`."""
    me, account = content.get("me"), content.get("account")
    if not me or not account:
        raise BadFiles("No phone is linked to this state: it was never paired, or has been logged out.")
    signed = content["signedPreKey"]
    jid, lid = _own_addresses(me)
    return {
        "jid": jid,
        "lid": lid,
        "registration_id": _number(content["registrationId"], 2**32),
        "noise_key": _bytes(content["noiseKey"]["private"], 32),
        "identity_key": _bytes(content["signedIdentityKey"]["private"], 32),
        "signed_pre_key": _bytes(signed["keyPair"]["private"], 32),
        "signed_pre_key_id": _number(signed["keyId"], 2**24),
        "signed_pre_key_sig": _bytes(signed["signature"], 64),
        "adv_key": _bytes(content["advSecretKey"]),
        "adv_details": _bytes(account["details"]),
        "adv_account_sig": _bytes(account["accountSignature"], 64),
        "adv_account_sig_key": _bytes(account["accountSignatureKey"], 32),
        "adv_device_sig": _bytes(account["deviceSignature"], 64),
        "platform": _text(content.get("platform")),
        "push_name": _text(me.get("name")),
    }


def _own_addresses(me: dict[str, Any]) -> tuple[str, str | None]:
    """JID and LID with the device in both; an old state has no LID, and the library learns it at login."""
    match = _JID.fullmatch(str(me["id"]))
    if not match:
        raise BadFiles("creds.json names no linked device.")
    number, device = match.groups()
    lid = re.match(r"\d+", str(me.get("lid") or ""))
    return f"{number}:{device}@s.whatsapp.net", f"{lid[0]}:{device}@lid" if lid else None


def _pre_key(jid: str, key_id: int, content: dict[str, Any], uploaded: int) -> keys.Row:
    return {
        "jid": jid,
        "key_id": _number(key_id, 2**24),
        "key": _bytes(content["private"], 32),
        "uploaded": int(key_id < uploaded),
    }


def _app_state_key(jid: str, key_id: str, content: dict[str, Any]) -> keys.Row:
    return {
        "jid": jid,
        "key_id": base64.b64decode(key_id.replace("__", "/"), validate=True),
        "key_data": _bytes(content["keyData"]),
        "timestamp": int(content.get("timestamp") or 0),
        "fingerprint": _fingerprint(content.get("fingerprint") or {}),
    }


def _fingerprint(content: dict[str, Any]) -> bytes:
    """protobuf `AppStateSyncKeyFingerprint` (waE2E): rawID = 1, currentIndex = 2, deviceIndexes = 3, packed; absent stays absent."""
    data = b""
    for number, name in ((1, "rawId"), (2, "currentIndex")):
        if content.get(name) is not None:
            data += bytes([number << 3]) + _varint(int(content[name]))
    if indexes := b"".join(_varint(int(index)) for index in content.get("deviceIndexes") or []):
        data += b"\x1a" + _varint(len(indexes)) + indexes
    return data


def _varint(number: int) -> bytes:
    if not 0 <= number < 2**32:
        raise ValueError("not an unsigned number of 32 bits")
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def _text(value: Any) -> str:
    """JSON can carry half a surrogate pair, which is no text anywhere else."""
    return str(value or "").encode(errors="replace").decode()


def _number(value: Any, limit: int) -> int:
    number = int(value)
    if not 0 <= number < limit:
        raise ValueError("a number out of range")
    return number


def _bytes(value: Any, length: int | None = None) -> bytes:
    """A buffer in one of the forms that Baileys has written over the years."""
    if isinstance(value, dict):
        value = value["data"] if value.get("type") == "Buffer" else [value[str(index)] for index in range(len(value))]
    data = bytes(value) if isinstance(value, list) else base64.b64decode(value, validate=True)
    if length is not None and len(data) != length:
        raise ValueError("a key of the wrong length")
    return data
