"""Triggers that keep the library from overwriting a Signal session with one that it had read before another change.

To encrypt or decrypt, the library reads a session, works on it and writes it back, and it takes no lock (whatsmeow `send.go`,
`message.go`, `retry.go`). When two of these overlap on one session, the second write takes back what the first one did. If that
was a step of the sender chain, the next message goes out under a number that was used already: the peer takes it for a copy,
confirms it, and shows nothing. So each write is compared with the row that it replaces, while SQLite holds the lock:

* An encryption that began from an old row is refused before its message has left, and is done again from the new one.
* A decryption that began from an old row keeps its result, and takes the sender chain from the row.
* A session that another one replaces stays among those that messages can still be read with, as the library means it to.

A session is JSON text in the library's own form. What has another form is let through.
"""

from __future__ import annotations

TABLE, COLUMNS = "whatsmeow_sessions", ("our_jid", "their_id", "session")
#: The error of a refused write; the engine knows it by these words.
REFUSED = "stale signal session"


def triggers() -> dict[str, str]:
    """Name → statement."""
    same_chain = f"{_sender('OLD')} = {_sender('NEW')}"
    overtaken = f"{_sent('NEW')} < {_sent('OLD')}"
    refused = (
        f"OLD.session = NEW.session OR ({overtaken} AND {_heard('NEW')} <= {_heard('OLD')})"
        f" OR ({_sent('NEW')} = {_sent('OLD')} AND {_heard('NEW')} < {_heard('OLD')})"
    )
    state, chain, previous = "'$.SessionState'", "'$.SessionState.SenderChain'", "'$.PreviousStates'"
    kept = f"json_set({_json('NEW')}, {chain}, json_extract({_json('OLD')}, {chain}))"
    known = f"SELECT json_extract(value, '$.SenderBaseKey') FROM json_each({_json('NEW')}, {previous})"  # noqa: S608
    replaced = f"{_base('OLD')} <> {_base('NEW')} AND {_base('OLD')} NOT IN ({known})"
    both = f"json_insert({_json('NEW')}, '$.PreviousStates[#]', json_extract({_json('OLD')}, {state}))"
    return {
        "oxy_ratchet_refuse": f"CREATE TRIGGER oxy_ratchet_refuse BEFORE UPDATE OF session ON {TABLE}"
        f" WHEN {same_chain} BEGIN SELECT RAISE(ABORT, '{REFUSED}') WHERE {refused}; END",
        "oxy_ratchet_keep": f"CREATE TRIGGER oxy_ratchet_keep AFTER UPDATE OF session ON {TABLE}"
        f" WHEN {same_chain} AND {overtaken} BEGIN {_put(kept)}; END",
        "oxy_ratchet_replace": f"CREATE TRIGGER oxy_ratchet_replace AFTER UPDATE OF session ON {TABLE}"
        f" WHEN {replaced} BEGIN {_put(both)}; END",
    }


def _put(text: str) -> str:
    """Store this as the session in place of what was just written."""
    return f"UPDATE {TABLE} SET session = CAST({text} AS BLOB) WHERE our_jid = NEW.our_jid AND their_id = NEW.their_id"  # noqa: S608


def _json(row: str) -> str:
    """The session as JSON text, or NULL where it is none."""
    text = f"CAST({row}.session AS TEXT)"
    return f"CASE WHEN json_valid({text}) THEN {text} END"


def _sender(row: str) -> str:
    """The public key of the chain that we send on."""
    return f"json_extract({_json(row)}, '$.SessionState.SenderChain.SenderRatchetKeyPublic')"


def _base(row: str) -> str:
    """What a session is known by from its beginning on."""
    return f"json_extract({_json(row)}, '$.SessionState.SenderBaseKey')"


def _sent(row: str) -> str:
    """How many messages were sent on it."""
    return f"json_extract({_json(row)}, '$.SessionState.SenderChain.ChainKey.Index')"


def _heard(row: str) -> str:
    """How many messages were received on all chains that are kept."""
    chains = f"json_each({_json(row)}, '$.SessionState.ReceiverChains')"
    return f"(SELECT total(json_extract(value, '$.ChainKey.Index')) FROM {chains})"  # noqa: S608
