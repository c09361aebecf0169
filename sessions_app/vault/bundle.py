"""A session as one file, to be carried to another installation that has the same encryption key.

The file is JSON: `{"format": "oxy-session", "version": 1, "session_id", "name", "owner", "exported_at", "keys", "sealed"}`. `sealed` is
base64 of `crypto.seal(content, session_id, "bundle")`, and the content is JSON again: `{"creds": {...}, "values": {key: base64}}`, which is
what a live store is rebuilt from. Everything outside `sealed` is for a reader's eyes; only `session_id` takes part in opening it.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from django.utils import timezone
from django.utils.translation import gettext as _

from sessions_app.models import WhatsAppSession
from sessions_app.vault import crypto, store
from sessions_app.vault.live_store import Snapshot

FORMAT, VERSION = "oxy-session", 1
_NAME = "bundle"


class BadBundle(ValueError):
    """A file that holds no session, or one that the keys in use do not open; the text is for people."""


@dataclass(frozen=True)
class Bundle:
    session_id: str
    name: str
    owner: str
    snapshot: Snapshot = field(repr=False)


class NotExportable(Exception):
    """A session that cannot be exported now; the text is for people."""


def export(session: WhatsAppSession) -> tuple[bytes, int]:
    """The file of a session that is stopped, and the number of its keys; raises `NotExportable`."""
    if session.desired == WhatsAppSession.Desired.RUNNING:
        raise NotExportable(_("The session is running. Stop it first: two copies must never run at the same time."))
    found = store.load(session)
    if isinstance(found, store.Unreadable):
        raise NotExportable(found.sentence)
    if isinstance(found, store.Absent):
        raise NotExportable(_("No phone is linked to this session: there is nothing to export."))
    return write(session, found.snapshot), len(found.snapshot.values)


def write(session: WhatsAppSession, snapshot: Snapshot) -> bytes:
    """The file's content."""
    values = {key: base64.b64encode(value).decode() for key, value in snapshot.values.items()}
    content = json.dumps({"creds": snapshot.creds, "values": values}).encode()
    record = {
        "format": FORMAT,
        "version": VERSION,
        "session_id": session.session_id,
        "name": session.name,
        "owner": session.owner,
        "exported_at": timezone.now().isoformat(),
        "keys": len(values),
        "sealed": base64.b64encode(crypto.seal(content, session.session_id, _NAME)).decode(),
    }
    return json.dumps(record, indent=1).encode() + b"\n"


def read(data: bytes) -> Bundle:
    """The inverse of `write()`; raises `BadBundle`."""
    try:
        record = json.loads(data)
        if record["format"] != FORMAT or record["version"] != VERSION:
            raise BadBundle(f"This is not an exported session of version {VERSION}.")
        session_id = str(record["session_id"])
        content = json.loads(crypto.unseal(base64.b64decode(record["sealed"]), session_id, _NAME))
        values = {key: base64.b64decode(value) for key, value in content["values"].items()}
        return Bundle(session_id, str(record["name"]), str(record["owner"]), Snapshot(content["creds"], values))
    except crypto.Unreadable:
        raise BadBundle(
            "The file is damaged, or was written with another encryption key. Add that key to OXY_ENCRYPTION_KEYS."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise error if isinstance(error, BadBundle) else BadBundle("This is not an exported session.") from None
