"""A row of the live store ↔ a key and a value of the vault: pure, lossless, both ways.

Every row of the library's tables belongs to one `data_key`, a name that a person can read: `pre-key-17`, `session-4912_1:0`,
`contact-4912@s.whatsapp.net`. Our own JID is left out of the names, since a live store holds one account. Rows of a second
account would share a name with the first one's, so a value holds all rows of its name: nothing is ever dropped. A table, or
a column, that a newer library adds needs nothing here; the table's rows are called `row-TABLE,KEY,...`.

The device row is the exception: it becomes the session's `creds` (creds.py).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

#: What SQLite stores. Text that is not UTF-8 is a `str` with surrogate escapes, as `os.fsdecode` makes them.
Value = None | int | float | str | bytes
Row = dict[str, Value]

DEVICE_TABLE = "whatsmeow_device"
VERSION_TABLE = "whatsmeow_version"
#: The vault's key of the live store's own schema.
SCHEMA_KEY = "live-store-schema"
#: The longest name that a blob can have, in characters.
MAX_KEY_LENGTH = 255
#: A primary key with more columns than this makes one value of the whole table.
MAX_KEY_COLUMNS = 8

_UNSAFE = re.compile(r"[\0\udc80-\udcff]")
_TO_ESCAPE = re.compile(r"[%,#]|[^ -~\xa1-\ud7ff\ue000-\U0010ffff]")


class BadValue(ValueError):
    """A value of the vault that does not have the form that `encode()` gives; the text never quotes it."""


@dataclass(frozen=True)
class Form:
    """How the rows of one table are named: `prefix`, then the values of `columns`, separated by commas.

    `kinds` gives the type that each column holds as a rule; a value of another type is marked as such in the name.
    """

    prefix: str
    columns: tuple[str, ...]
    kinds: tuple[type, ...] = ()

    def name(self, values: tuple[Value, ...]) -> str:
        """The `data_key` of the rows whose `columns` hold `values`: at most MAX_KEY_LENGTH characters.

        A longer name is replaced by the prefix, `#` and the name's SHA-256; the value holds the row with its full key.
        """
        kinds = self.kinds or (str,) * len(values)
        name = self.prefix + ",".join(map(_part, values, kinds))
        if len(name) <= MAX_KEY_LENGTH:
            return name
        return f"{self.prefix[:180]}#{hashlib.sha256(name.encode()).hexdigest()}"


FORMS: dict[str, Form] = {
    DEVICE_TABLE: Form("device-", ("jid",), (str,)),
    "whatsmeow_pre_keys": Form("pre-key-", ("key_id",), (int,)),
    "whatsmeow_sessions": Form("session-", ("their_id",), (str,)),
    "whatsmeow_identity_keys": Form("identity-", ("their_id",), (str,)),
    "whatsmeow_sender_keys": Form("sender-key-", ("chat_id", "sender_id"), (str, str)),
    "whatsmeow_app_state_sync_keys": Form("app-state-sync-key-", ("key_id",), (bytes,)),
    "whatsmeow_app_state_version": Form("app-state-sync-version-", ("name",), (str,)),
    "whatsmeow_app_state_mutation_macs": Form("app-state-mac-", ("name", "version", "index_mac"), (str, int, bytes)),
    "whatsmeow_contacts": Form("contact-", ("their_jid",), (str,)),
    "whatsmeow_chat_settings": Form("chat-settings-", ("chat_jid",), (str,)),
    "whatsmeow_message_secrets": Form("message-secret-", ("chat_jid", "sender_jid", "message_id"), (str, str, str)),
    "whatsmeow_privacy_tokens": Form("privacy-token-", ("their_jid",), (str,)),
    "whatsmeow_nct_salt": Form("nct-salt", ()),
    "whatsmeow_lid_map": Form("lid-mapping-", ("lid",), (str,)),
    "whatsmeow_event_buffer": Form("buffered-event-", ("ciphertext_hash",), (bytes,)),
    "whatsmeow_retry_buffer": Form("sent-message-", ("chat_jid", "message_id"), (str, str)),
}


def form_of(table: str, columns: tuple[str, ...], primary_key: tuple[str, ...]) -> Form:
    """The form of a table as it is now; one that is not known, or has lost a column that its name needs, gets the general one."""
    known = FORMS.get(table)
    if known and set(known.columns) <= set(columns):
        return known
    named = primary_key if len(primary_key) <= MAX_KEY_COLUMNS else ()
    return Form(f"row-{_escape(table)}" + ("," if named else ""), named)


def encode(table: str, rows: list[Row]) -> bytes:
    """The value of all rows that share a name: canonical JSON, so that equal rows give equal bytes."""
    listed = [{name: to_json(value) for name, value in row.items()} for row in rows]
    if len(listed) > 1:
        listed.sort(key=_dump)
    return _dump({"table": table, "rows": listed}).encode()


def decode(value: bytes) -> tuple[str, list[Row]]:
    """The inverse of `encode()`: the table and its rows. Raises `BadValue`."""
    try:
        record = json.loads(value)
        rows = [{name: from_json(cell) for name, cell in row.items()} for row in record["rows"]]
        return str(record["table"]), rows
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadValue(f"not rows of a live store: {type(error).__name__}, {len(value)} bytes") from None


@dataclass(frozen=True)
class Schema:
    """The live store's own definition: the statements that make its tables and indexes, and the rows of its version table."""

    statements: tuple[str, ...]
    version: tuple[Row, ...]

    def encode(self) -> bytes:
        version = [{name: to_json(value) for name, value in row.items()} for row in self.version]
        return _dump({"statements": self.statements, "version": version}).encode()

    @classmethod
    def decode(cls, value: bytes) -> Schema:
        """The inverse of `encode()`; raises `BadValue`."""
        try:
            record = json.loads(value)
            version = tuple({name: from_json(cell) for name, cell in row.items()} for row in record["version"])
            return cls(tuple(map(str, record["statements"])), version)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadValue(f"not a schema: {type(error).__name__}, {len(value)} bytes") from None


def to_json(value: Value) -> Any:
    """A value as JSON that every database keeps: bytes as Baileys writes them, and what `jsonb` would change or refuse
    (reals, NUL, text that is not UTF-8) in the same manner."""
    if isinstance(value, bytes):
        return {"type": "Buffer", "data": base64.b64encode(value).decode()}
    if isinstance(value, float):
        return {"type": "Real", "data": repr(value)}
    if isinstance(value, str) and _UNSAFE.search(value):
        return {"type": "Text", "data": base64.b64encode(value.encode(errors="surrogateescape")).decode()}
    return value


def from_json(value: Any) -> Value:
    """The inverse of `to_json()`; raises ValueError, KeyError or TypeError."""
    if value is None or type(value) in (int, str):
        return value  # type: ignore[no-any-return]
    kind, data = value["type"], value["data"]
    if kind == "Real":
        return float(data)
    if kind not in ("Buffer", "Text"):
        raise ValueError(f"a cell of type {kind}")
    content = base64.b64decode(data)
    return content if kind == "Buffer" else content.decode(errors="surrogateescape")


def printable(text: str) -> str:
    """Text that any database takes and any page shows: NUL and bytes that are no UTF-8 become U+FFFD."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


#: Made once: a vault is a thousand short values, and `json.dumps` makes an encoder for each.
_dump = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def _part(value: Value, kind: type) -> str:
    """One value within a name. `%~` cannot begin an escape, so a value of an unusual type meets no other."""
    if type(value) is kind:
        return value.hex() if isinstance(value, bytes) else _escape(str(value))
    if value is None:
        return "%~null"
    if isinstance(value, bytes):
        return f"%~blob{value.hex()}"
    return f"%~{type(value).__name__}{_escape(str(value))}"


def _escape(text: str) -> str:
    return _TO_ESCAPE.sub(_percent, text)


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode(errors="surrogateescape"))
