"""Two overlapping uses of one Signal session: neither takes back what the other did."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from sessions_app.vault import keys, ratchet
from sessions_app.vault.live_store import LiveStore
from tests.integration.library import OWN_JID

pytest_plugins = ["tests.integration.live_stores"]
PEER = "200000000007920_1:1"


def record(*, sent: int, heard: int, chain: str = "Bd15", **more: object) -> bytes:
    """A session in the library's form, as far as it matters here."""
    state = {
        "ReceiverChains": [
            {"SenderRatchetKeyPublic": "Bf/N", "ChainKey": {"Key": "RU7v", "Index": 2}, "MessageKeys": []},
            {"SenderRatchetKeyPublic": "BbgL", "ChainKey": {"Key": f"k{heard}", "Index": heard}, "MessageKeys": []},
        ],
        "SenderChain": {"SenderRatchetKeyPublic": chain, "ChainKey": {"Key": f"s{sent}", "Index": sent}},
        **more,
    }
    return json.dumps({"SessionState": state, "PreviousStates": []}, separators=(",", ":")).encode()


@pytest.fixture
def library(linked_store: LiveStore) -> Iterator[sqlite3.Connection]:
    """The file as the library has it open, with a session on which 5 were sent and 7 heard."""
    with closing(sqlite3.connect(linked_store.path, isolation_level=None)) as connection:
        put(connection, record(sent=5, heard=7))
        yield connection


def put(connection: sqlite3.Connection, session: object) -> None:
    connection.execute(
        "INSERT INTO whatsmeow_sessions (our_jid, their_id, session) VALUES (?, ?, ?)"
        " ON CONFLICT (our_jid, their_id) DO UPDATE SET session = excluded.session",
        (OWN_JID, PEER, session),
    )


def stored(connection: sqlite3.Connection) -> object:
    return connection.execute("SELECT session FROM whatsmeow_sessions WHERE their_id = ?", (PEER,)).fetchone()[0]


def test_two_messages_are_not_encrypted_under_one_number(library):
    put(library, record(sent=6, heard=7))
    with pytest.raises(sqlite3.IntegrityError, match=ratchet.REFUSED):
        put(library, record(sent=6, heard=7))
    assert stored(library) == record(sent=6, heard=7)


def test_an_encryption_that_two_others_have_overtaken_is_refused(library):
    put(library, record(sent=6, heard=7))
    put(library, record(sent=7, heard=7))
    with pytest.raises(sqlite3.IntegrityError, match=ratchet.REFUSED):
        put(library, record(sent=6, heard=7))


def test_an_encryption_is_refused_that_would_take_back_another_and_what_was_heard_since(library):
    put(library, record(sent=6, heard=7))
    put(library, record(sent=6, heard=8))
    with pytest.raises(sqlite3.IntegrityError, match=ratchet.REFUSED):
        put(library, record(sent=6, heard=7))


def test_a_decryption_that_a_message_of_ours_has_overtaken_keeps_both(library):
    put(library, record(sent=6, heard=7))
    put(library, record(sent=5, heard=8))
    assert json.loads(stored(library)) == json.loads(record(sent=6, heard=8))
    assert isinstance(stored(library), bytes)


@pytest.mark.parametrize(
    "session",
    [
        record(sent=6, heard=7),
        record(sent=5, heard=8),
        record(sent=0, heard=8, chain="a step of the ratchet"),
        record(sent=0, heard=0, chain="a new session"),
        b"not json",
        b"{}",
        None,
    ],
    ids=["sent", "received", "ratchet", "new session", "another form", "an empty form", "nothing"],
)
def test_every_ordinary_change_is_let_through(library, session):
    put(library, session)
    assert stored(library) == session
    put(library, record(sent=6, heard=9))
    assert stored(library) == record(sent=6, heard=9)


def test_a_session_that_another_replaces_can_still_be_read_with(library):
    first, second = (
        record(sent=5, heard=7, SenderBaseKey="one"),
        record(sent=1, heard=0, chain="x", SenderBaseKey="two"),
    )
    put(library, first)
    put(library, second)
    found = json.loads(stored(library))
    assert found["SessionState"] == json.loads(second)["SessionState"]
    assert found["PreviousStates"] == [json.loads(first)["SessionState"]]


def test_a_session_that_the_library_itself_put_aside_is_not_kept_twice(library):
    first = json.loads(record(sent=5, heard=7, SenderBaseKey="one"))
    second = json.loads(record(sent=1, heard=0, chain="x", SenderBaseKey="two"))
    put(library, json.dumps(first).encode())
    put(library, json.dumps({**second, "PreviousStates": [first["SessionState"]]}).encode())
    assert len(json.loads(stored(library))["PreviousStates"]) == 1


def test_what_was_kept_is_written_through(linked_store, library):
    put(library, record(sent=6, heard=7))
    linked_store.clear_journal(linked_store.read_changes().upto)
    put(library, record(sent=5, heard=8))
    (value,) = linked_store.read_changes().values.values()
    assert value is not None and keys.decode(value)[1][0]["session"] == stored(library)
