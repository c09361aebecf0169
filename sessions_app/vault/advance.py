"""Moves the sender chain of a stored Signal session on, past every message that may have been sent since it was stored.

A session that is older than the last message sent on it would use that message's number and key again, and the peer drops what comes
under a known number in silence. The keys of a chain follow from each other (Signal's double ratchet: each is the HMAC-SHA256 of the
byte 2 under the one before), so the chain can be moved on without the peer: it derives what was left out when the next message
comes, up to a limit of 2000 (libsignal's own is 25,000).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

#: More than a session sends to one peer in the time that a vault can be behind, and far below the limit.
STEPS = 200


def advance(record: bytes) -> bytes | None:
    """The session, in the library's own JSON form, with all its sender chains moved on; None where it has another form."""
    try:
        session = json.loads(record)
        for state in [session["SessionState"], *(session["PreviousStates"] or [])]:
            if chain := state["SenderChain"]:
                _move_on(chain["ChainKey"])
    except (ValueError, KeyError, TypeError):
        return None
    return json.dumps(session, separators=(",", ":")).encode()


def _move_on(chain_key: dict[str, Any]) -> None:
    key = base64.b64decode(chain_key["Key"], validate=True)
    for _ in range(STEPS):
        key = hmac.digest(key, b"\x02", hashlib.sha256)
    chain_key["Key"] = base64.b64encode(key).decode()
    chain_key["Index"] += STEPS
