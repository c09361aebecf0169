"""A trigger that keeps the library from overwriting a Signal session with one that it had read before another change.

To encrypt or decrypt, the library reads a session, works on it and writes it back, and it takes no lock (whatsmeow `send.go`,
`message.go`, `retry.go`). When two of these overlap on one session, the second write takes back what the first one did. If that
was a step of the sender chain, the next message goes out under a number that was used already: the peer takes it for a copy,
confirms it, and shows nothing. Decrypting spoils, too: where two people begin to write to each other at the same time, each has
two states of one session for a while, and the library, trying one after the other, leaves those that do not fit moved on by a
foreign key (libsignal `SessionCipher.go`, `DecryptWithRecord`). So each write is compared with the row that it replaces, while
SQLite holds the lock. One use changes one state, the one that comes first in what is written:

* An encryption whose number was used meanwhile is refused before its message has left, and is done again from the new row.
* An encryption that a decryption has overtaken moves the sender chain, and nothing else; a decryption that an encryption has
  overtaken moves everything else.
* A sender chain that a decryption replaces may still be in use by an encryption: its last number stays known for a while.
* All other states are those of the row, each of them once: nothing that is written changes or forgets them.
* Only a decryption or a new state decides which state is written with next.

Between reading and writing a session the library also writes the peer's identity, which waits for the disk, although it is the one
that stands there. That is dropped: it makes overlaps rarer.

A session is JSON text in the library's own form. What has another form is let through.
"""

# ruff: noqa: S608 - all of it is put together from what stands here

from __future__ import annotations

TABLE, IDENTITIES = "whatsmeow_sessions", "whatsmeow_identity_keys"
#: Table → the columns that it must have.
NEEDS = {TABLE: ("our_jid", "their_id", "session"), IDENTITIES: ("identity",)}
#: The error of a refused write; the engine knows it by these words.
REFUSED = "stale signal session"
#: The last numbers of sender chains that were replaced.
PAST_CHAINS = (
    "CREATE TABLE IF NOT EXISTS oxy_past_chains (seq INTEGER PRIMARY KEY AUTOINCREMENT, chain TEXT, sent INTEGER)"
)
#: How many of those are kept: far more than are replaced while one message is being encrypted.
KEPT_CHAINS = 256
#: How many states the library keeps of a session, beside the one that it writes with.
KEPT_STATES = 40

#: The state of a session that is written with, and the one that was used where a session is written.
_FIRST = "$.SessionState"


def triggers() -> dict[str, str]:
    """Name → statement. Most changes are plain, and judging the others costs ten times as much."""
    verdict, plain = _verdict(), f"({_plainly_sent()} OR {_plainly_heard()})"
    forget = f"DELETE FROM oxy_past_chains WHERE seq <= (SELECT max(seq) FROM oxy_past_chains) - {KEPT_CHAINS}"
    replaced = (
        f"INSERT INTO oxy_past_chains (chain, sent) VALUES ({_CHAIN_OF_OLD}, {_sent(_json('OLD'), _FIRST)})",
        forget,
    )
    judged = (
        f"SELECT RAISE(ABORT, '{REFUSED}') FROM ({verdict}) WHERE verdict = 'refused'",
        "INSERT INTO oxy_past_chains (chain, sent)"
        f" SELECT row_chain, row_sent FROM ({verdict}) WHERE verdict = 'ratcheted'",
        forget,
        f"UPDATE {TABLE} SET session = CAST(merged AS BLOB) FROM ({_merged(verdict)})"
        " WHERE our_jid = NEW.our_jid AND their_id = NEW.their_id AND merged <> CAST(session AS TEXT)",
        # Last, for it changes the verdict.
        f"UPDATE oxy_past_chains SET sent = found.sent FROM ({verdict}) AS found"
        " WHERE oxy_past_chains.chain = found.chain AND verdict = 'sent on a past chain'",
    )
    update = f"AFTER UPDATE OF session ON {TABLE} WHEN"
    known = f"{_known_form('OLD')} AND {_known_form('NEW')}"
    return {
        "oxy_known_identity": f"CREATE TRIGGER oxy_known_identity BEFORE UPDATE OF identity ON {IDENTITIES}"
        " WHEN OLD.identity = NEW.identity BEGIN SELECT RAISE(IGNORE); END",
        "oxy_ratchet": f"CREATE TRIGGER oxy_ratchet {update} {known} AND NOT {plain} BEGIN {'; '.join(judged)}; END",
        "oxy_ratchet_past": f"CREATE TRIGGER oxy_ratchet_past {update} {_CHAIN_OF_OLD} <> {_CHAIN_OF_NEW} AND {known}"
        f" AND {plain} BEGIN {'; '.join(replaced)}; END",
    }


def _plainly_sent() -> str:
    """Nothing but the sender chain has moved, and forwards."""
    old, new = (f"json_remove({_json(row)}, '{_FIRST}.SenderChain.ChainKey')" for row in ("OLD", "NEW"))
    return f"({_sent(_json('NEW'), _FIRST)} > {_sent(_json('OLD'), _FIRST)} AND {old} = {new})"


def _plainly_heard() -> str:
    """The first state has heard more on chains that it had, or has a sender chain that was never seen; nothing else has changed."""
    heard, sent, base = (
        (f"{count(_json('NEW'), _FIRST)}", f"{count(_json('OLD'), _FIRST)}") for count in (_heard, _sent, _base)
    )
    previous = [f"json_extract({_json(row)}, '$.PreviousStates')" for row in ("OLD", "NEW")]
    never_seen = f"NOT EXISTS (SELECT 1 FROM oxy_past_chains WHERE chain = {_CHAIN_OF_NEW})"
    return (
        f"({base[0]} = {base[1]} AND {previous[0]} = {previous[1]} AND CASE WHEN {_CHAIN_OF_OLD} = {_CHAIN_OF_NEW}"
        f" THEN {sent[0]} = {sent[1]} AND {heard[0]} > {heard[1]} ELSE {never_seen} END)"
    )


def _verdict() -> str:
    """One row: the state that was used, as it is `written` and as the `row` has it, what matters of both, and the verdict.

    Messages sent are counted on a chain. Messages heard are counted on all chains that are kept, so only while the sender chain
    stays the same, for a decryption that replaces it may drop an old one.
    """
    written = f"json_extract({_json('NEW')}, '$.SessionState')"
    base = f"json_extract({_json('NEW')}, '$.SessionState.SenderBaseKey')"
    known = f"SELECT state FROM ({_states('OLD')}) WHERE base = {base}"
    facts = ", ".join(f"{_chain(s)} AS {n}chain, {_sent(s)} AS {n}sent, {_heard(s)} AS {n}heard" for s, n in _SIDES)
    return f"""
        SELECT *, CASE
            WHEN in_row IS NULL THEN 'new'
            WHEN chain = row_chain THEN CASE
                WHEN sent > row_sent THEN 'sent'
                WHEN {_all_but_sender("written")} = {_all_but_sender("in_row")} OR heard < row_heard THEN 'refused'
                WHEN sent = row_sent THEN 'heard'
                WHEN heard > row_heard THEN 'heard late'
                ELSE 'refused' END
            WHEN past IS NULL THEN 'ratcheted'
            WHEN sent > past THEN 'sent on a past chain'
            ELSE 'refused' END AS verdict
        FROM (
            SELECT *, {facts}, (SELECT sent FROM oxy_past_chains WHERE chain = {_chain("written")}) AS past
            FROM (SELECT {written} AS written, {base} AS base, ({known}) AS in_row)
        )"""


def _merged(verdict: str) -> str:
    """One row: the session as it has to be, as text."""
    sender = "'$.SenderChain.ChainKey'"
    used = f"""CASE verdict
        WHEN 'sent' THEN json_set(in_row, {sender}, json_extract(written, {sender}))
        WHEN 'heard late' THEN json_set(written, {sender}, json_extract(in_row, {sender}))
        WHEN 'sent on a past chain' THEN in_row
        ELSE written END"""
    stays = "verdict IN ('sent', 'sent on a past chain')"
    first = f"json_extract({_json('OLD')}, '$.SessionState.SenderBaseKey')"
    states = f"""
        SELECT base, state, min(place) AS place FROM (
            SELECT base, state, place FROM ({_states("OLD")})
            UNION ALL SELECT base, state, place + 1000 FROM ({_states("NEW")})
        ) GROUP BY base"""
    previous = f"""
        SELECT json_group_array(json(state)) FROM (
            SELECT iif(base = used_base, used, state) AS state FROM ({states})
            WHERE base <> first_base ORDER BY place LIMIT {KEPT_STATES}
        )"""
    current = f"iif(first_base = used_base, used, json_extract({_json('OLD')}, '$.SessionState'))"
    return f"""
        SELECT json_set({_json("NEW")}, '$.SessionState', json({current}), '$.PreviousStates', json(({previous}))) AS merged
        FROM (SELECT base AS used_base, {used} AS used, iif({stays}, {first}, base) AS first_base FROM ({verdict}))
        """


_SIDES = (("written", ""), ("in_row", "row_"))


def _json(row: str) -> str:
    """The session as JSON text, or NULL where it is none."""
    text = f"CAST({row}.session AS TEXT)"
    return f"CASE WHEN json_valid({text}) THEN {text} END"


def _known_form(row: str) -> str:
    return f"{_base(_json(row), _FIRST)} IS NOT NULL AND {_chain(_json(row), _FIRST)} IS NOT NULL"


def _states(row: str) -> str:
    """The states of a session, each once, the one in use first."""
    return f"""
        SELECT base, state, min(place) AS place FROM (
            SELECT {_base("state")} AS base, state, place FROM (
                SELECT json_extract({_json(row)}, '$.SessionState') AS state, 0 AS place
                UNION ALL SELECT value, key + 1 FROM json_each({_json(row)}, '$.PreviousStates')
            )
        ) GROUP BY base"""


def _base(state: str, path: str = "$") -> str:
    """What a state is known by from its beginning on."""
    return f"json_extract({state}, '{path}.SenderBaseKey')"


def _chain(state: str, path: str = "$") -> str:
    """The public key of the chain that we send on."""
    return f"json_extract({state}, '{path}.SenderChain.SenderRatchetKeyPublic')"


def _sent(state: str, path: str = "$") -> str:
    """How many messages were sent on it."""
    return f"json_extract({state}, '{path}.SenderChain.ChainKey.Index')"


def _heard(state: str, path: str = "$") -> str:
    """How many messages were received: the steps of all chains, without the keys that are kept for messages on their way."""
    count = "json_extract(value, '$.ChainKey.Index') - json_array_length(value, '$.MessageKeys')"
    return f"(SELECT total({count}) FROM json_each({state}, '{path}.ReceiverChains'))"


def _all_but_sender(state: str) -> str:
    return f"json_remove({state}, '$.SenderChain.ChainKey')"


_CHAIN_OF_OLD, _CHAIN_OF_NEW = _chain(_json("OLD"), _FIRST), _chain(_json("NEW"), _FIRST)
