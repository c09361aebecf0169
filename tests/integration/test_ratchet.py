"""Two overlapping uses of one Signal session: neither takes back what the other did, and none spoils what it did not use."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from sessions_app.vault import keys, ratchet
from sessions_app.vault.live_store import LiveStore
from tests.integration.library import OWN_JID

pytest_plugins = ["tests.integration.live_stores"]
PEER = "200000000007920_1:1"


def state(base: str = "one", *, sent: int, heard: int, waiting: int = 0, chain: str = "Bd15") -> dict[str, Any]:
    """A state in the library's form, as far as it matters here; `waiting` messages are still to come between others."""
    index, gaps = heard + waiting, [{"Index": number} for number in range(waiting)]
    return {
        "ReceiverChains": [
            {"SenderRatchetKeyPublic": "Bf/N", "ChainKey": {"Key": "RU7v", "Index": 2}, "MessageKeys": []},
            {
                "SenderRatchetKeyPublic": "BbgL",
                "ChainKey": {"Key": f"k{index}", "Index": index},
                "MessageKeys": gaps,
            },
        ],
        "SenderBaseKey": base,
        "SenderChain": {"SenderRatchetKeyPublic": chain, "ChainKey": {"Key": f"s{sent}", "Index": sent}},
    }


def session(current: dict[str, Any], *previous: dict[str, Any]) -> bytes:
    return json.dumps({"SessionState": current, "PreviousStates": previous}, separators=(",", ":")).encode()


def record(**counts: Any) -> bytes:
    return session(state(**counts))


@pytest.fixture
def library(linked_store: LiveStore) -> Iterator[sqlite3.Connection]:
    """The file as the library has it open, with a session on which 5 were sent and 7 heard."""
    with closing(sqlite3.connect(linked_store.path, isolation_level=None)) as connection:
        put(connection, record(sent=5, heard=7))
        yield connection


def put(connection: sqlite3.Connection, record: object) -> None:
    connection.execute(
        "INSERT INTO whatsmeow_sessions (our_jid, their_id, session) VALUES (?, ?, ?)"
        " ON CONFLICT (our_jid, their_id) DO UPDATE SET session = excluded.session",
        (OWN_JID, PEER, record),
    )


def refuses(connection: sqlite3.Connection, record: object) -> bool:
    before = stored(connection)
    with pytest.raises(sqlite3.IntegrityError, match=ratchet.REFUSED):
        put(connection, record)
    return stored(connection) == before


def stored(connection: sqlite3.Connection) -> Any:
    return connection.execute("SELECT session FROM whatsmeow_sessions WHERE their_id = ?", (PEER,)).fetchone()[0]


# --- numbers ------------------------------------------------------------------


def test_two_messages_are_not_encrypted_under_one_number(library):
    put(library, record(sent=6, heard=7))
    assert refuses(library, record(sent=6, heard=7))


def test_an_encryption_that_two_others_have_overtaken_is_refused(library):
    put(library, record(sent=6, heard=7))
    put(library, record(sent=7, heard=7))
    assert refuses(library, record(sent=6, heard=7))


def test_an_encryption_is_refused_that_would_take_back_another_and_what_was_heard_since(library):
    put(library, record(sent=6, heard=7))
    put(library, record(sent=6, heard=8))
    assert refuses(library, record(sent=6, heard=7))


def test_an_encryption_is_refused_although_a_message_that_came_late_was_heard_since(library):
    put(library, record(sent=5, heard=8, waiting=1))
    put(library, record(sent=6, heard=8, waiting=1))
    put(library, record(sent=6, heard=9))
    assert refuses(library, record(sent=6, heard=8, waiting=1))


def test_a_number_is_not_used_twice_on_a_chain_that_an_answer_has_replaced(library):
    put(library, record(sent=0, heard=8, chain="after the answer"))
    put(library, record(sent=6, heard=7))
    assert stored(library) == record(sent=0, heard=8, chain="after the answer")
    assert refuses(library, record(sent=6, heard=7))


def test_a_number_is_not_used_twice_in_a_state_that_another_has_replaced(library):
    put(library, session(state("two", sent=1, heard=0, chain="x"), state(sent=5, heard=7)))
    put(library, record(sent=6, heard=7))
    assert refuses(library, record(sent=6, heard=7))


def test_chains_that_were_replaced_long_ago_are_forgotten(library):
    for number in range(ratchet.KEPT_CHAINS + 20):
        put(library, record(sent=0, heard=8 + number, chain=f"chain {number}"))
    (kept,) = library.execute("SELECT count(*) FROM oxy_past_chains").fetchone()
    assert kept == ratchet.KEPT_CHAINS


# --- what overlaps --------------------------------------------------------------


def test_a_decryption_that_a_message_of_ours_has_overtaken_keeps_both(library):
    put(library, record(sent=6, heard=7))
    put(library, record(sent=5, heard=8))
    assert stored(library) == record(sent=6, heard=8)


def test_the_decryption_of_a_message_that_came_late_is_kept_too(library):
    put(library, record(sent=5, heard=8, waiting=1))
    put(library, record(sent=6, heard=8, waiting=1))
    put(library, record(sent=5, heard=9))
    assert stored(library) == record(sent=6, heard=9)


def test_an_encryption_that_a_message_to_us_has_overtaken_keeps_both(library):
    put(library, record(sent=5, heard=8))
    put(library, record(sent=6, heard=7))
    assert stored(library) == record(sent=6, heard=8)


def test_an_encryption_does_not_take_back_an_answer(library):
    put(library, record(sent=0, heard=8, chain="after the answer"))
    put(library, record(sent=1, heard=8, chain="after the answer"))
    put(library, record(sent=6, heard=7))
    assert stored(library) == record(sent=1, heard=8, chain="after the answer")


# --- states ---------------------------------------------------------------------


def test_an_encryption_goes_on_with_the_state_that_a_message_brought_meanwhile(library):
    theirs = state("two", sent=0, heard=1, chain="x")
    put(library, session(theirs, state(sent=5, heard=7)))
    put(library, record(sent=6, heard=7))
    assert stored(library) == session(theirs, state(sent=6, heard=7))


def test_a_state_is_not_forgotten_by_whoever_made_a_new_one_meanwhile(library):
    put(library, session(state("two", sent=1, heard=0, chain="x"), state(sent=5, heard=7)))
    put(library, session(state("three", sent=0, heard=1, chain="y"), state(sent=5, heard=7)))
    states = state("two", sent=1, heard=0, chain="x"), state(sent=5, heard=7)
    assert stored(library) == session(state("three", sent=0, heard=1, chain="y"), *states)


def test_trying_a_state_in_vain_does_not_spoil_it(library):
    mine, theirs = state(sent=6, heard=7), state("two", sent=0, heard=1, chain="x")
    put(library, session(mine, theirs))
    spoilt = state(sent=0, heard=7, chain="of a foreign key")
    put(library, session(state("two", sent=0, heard=2, chain="x"), spoilt))
    assert stored(library) == session(state("two", sent=0, heard=2, chain="x"), mine)


def test_a_state_is_kept_once_and_as_it_was_last(library):
    older = state(sent=4, heard=7)
    put(library, session(state("two", sent=0, heard=1, chain="x"), state(sent=5, heard=7), older))
    assert stored(library) == session(state("two", sent=0, heard=1, chain="x"), state(sent=5, heard=7))


def test_no_more_states_are_kept_than_the_library_keeps(library):
    for number in range(ratchet.KEPT_STATES + 5):
        put(library, session(state(f"state {number}", sent=1, heard=0, chain=f"chain {number}")))
    previous = json.loads(stored(library))["PreviousStates"]
    assert len(previous) == ratchet.KEPT_STATES
    assert previous[0]["SenderBaseKey"] == f"state {ratchet.KEPT_STATES + 3}"


# --- identities -----------------------------------------------------------------


def test_an_identity_that_stands_there_already_is_not_written_again(linked_store, library):
    def put_identity(identity: bytes) -> None:
        library.execute(
            "INSERT INTO whatsmeow_identity_keys (our_jid, their_id, identity) VALUES (?, ?, ?)"
            " ON CONFLICT (our_jid, their_id) DO UPDATE SET identity = excluded.identity",
            (OWN_JID, PEER, identity),
        )

    put_identity(b"1" * 32)
    linked_store.clear_journal(linked_store.read_changes().upto)
    before = linked_store.data_version()
    put_identity(b"1" * 32)
    assert linked_store.data_version() == before
    put_identity(b"2" * 32)
    assert len(linked_store.read_changes().values) == 1


# --- the rest -------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        record(sent=6, heard=7),
        record(sent=5, heard=8),
        record(sent=5, heard=8, waiting=3),
        record(sent=0, heard=8, chain="a step of the ratchet"),
        b"not json",
        b"{}",
        b'{"SessionState": {}}',
        None,
    ],
    ids=["sent", "received", "skipped", "ratchet", "another form", "an empty form", "an empty state", "nothing"],
)
def test_every_ordinary_change_is_let_through(library, changed):
    put(library, changed)
    assert stored(library) == changed


def test_a_session_stays_bytes(library):
    put(library, record(sent=6, heard=7))
    put(library, record(sent=5, heard=8))
    assert isinstance(stored(library), bytes)


def test_what_was_kept_is_written_through(linked_store, library):
    put(library, record(sent=6, heard=7))
    linked_store.clear_journal(linked_store.read_changes().upto)
    put(library, record(sent=5, heard=8))
    (value,) = linked_store.read_changes().values.values()
    assert value is not None and keys.decode(value)[1][0]["session"] == stored(library)
