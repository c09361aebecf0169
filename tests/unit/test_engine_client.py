"""What an engine works out without the library: addresses, sentences, and what may have gone out in spite of an error."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessions_app.engine.client import Client, sentence, without_device
from sessions_app.engine.events import ClientStopped, StartClient
from sessions_app.engine.library import REFUSED, redact, store_name
from sessions_app.engine.sender import address, judge_send_error
from sessions_app.vault import ratchet


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("5511987650001", ("5511987650001", "s.whatsapp.net")),
        ("+55 (11) 98765-0001", ("5511987650001", "s.whatsapp.net")),
        ("5511987650001@s.whatsapp.net", ("5511987650001", "s.whatsapp.net")),
        ("5511987650001:7@s.whatsapp.net", ("5511987650001", "s.whatsapp.net")),
        ("2000@lid", ("2000", "lid")),
        ("1203-99@g.us", ("1203-99", "g.us")),
    ],
)
def test_the_recipient_is_a_number_or_a_jid(to: str, expected: tuple[str, str]) -> None:
    assert address(to) == expected


@pytest.mark.parametrize("to", ["", "Bob", "@g.us", "12@", "12a"])
def test_any_other_recipient_is_refused(to: str) -> None:
    with pytest.raises(ValueError, match="neither a phone number nor a JID"):
        address(to)


@pytest.mark.parametrize(
    ("error", "tried", "in_doubt"),
    [
        ("failed to get device list: failed to send usync query: websocket not connected", False, False),
        ("failed to send message node: websocket not connected", False, False),
        ("failed to get device list: info query timed out", False, False),
        ("failed to save cached sessions: stale signal session", False, False),
        ("server returned error 479", True, False),
        ("can't send message to unknown server nowhere", True, False),
        ("failed to get group members: that group does not exist", True, False),
        ("timed out waiting for message send response", True, True),
        ("websocket not connected", True, True),
        ("failed to send message node: failed to write: broken pipe", True, True),
        ("message send interrupted by websocket disconnection", True, True),
        ("something new", True, True),
    ],
)
def test_a_send_is_in_doubt_unless_it_surely_stayed_here(error: str, tried: bool, in_doubt: bool) -> None:
    assert judge_send_error(error) == (tried, in_doubt)


def test_sentences_tell_the_network_from_the_disk() -> None:
    assert sentence("dial tcp 127.0.0.1:9: connection refused") == (
        "WhatsApp could not be reached: dial tcp 127.0.0.1:9: connection refused.",
        "whatsapp",
    )
    assert sentence("failed to upgrade database: disk I/O error") == (
        "The live store could not be opened: failed to upgrade database: disk I/O error.",
        "store",
    )


def test_texts_of_the_library_lose_what_could_be_secret() -> None:
    key = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
    text = redact(f"proxy http://user:secret@10.0.0.1:3128 said {key}\nabout <message from='x'>body</message>")
    assert text == "proxy http://…@10.0.0.1:3128 said … about <…>"


def test_the_name_of_a_live_store_keeps_strange_paths_whole() -> None:
    name = store_name("/data/a b/50%?#/store.db").decode()
    assert name.startswith("/data/a%20b/50%25%3F%23/store.db?_foreign_keys=on&_journal_mode=WAL")


def test_an_address_loses_its_device() -> None:
    assert without_device("77:4@lid") == "77@lid"
    assert without_device("77.1:4@s.whatsapp.net") == "77@s.whatsapp.net"
    assert without_device("1203-1@g.us") == "1203-1@g.us"


def test_engine_and_live_store_agree_on_how_a_session_is_refused() -> None:
    assert REFUSED == ratchet.REFUSED


class Wire:
    """Stands for the library, and for the pipe: it notes what is asked of it, and never connects."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @contextlib.contextmanager
    def moving(self) -> Iterator[None]:
        yield

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: self.asked.append(name)


def test_a_client_that_is_stopped_before_its_turn_never_dials(tmp_path: Path) -> None:
    """Clients are started one after the other; meanwhile another host may have taken the session."""
    wire, ended = Wire(), queue.SimpleQueue[ClientStopped]()
    command = StartClient(
        session="shop", epoch=1, path=str(tmp_path / "store.db"), spool=str(tmp_path / "spool"), lease_seconds=60
    )
    client = Client(wire, command, wire, lambda _, last_word: ended.put(last_word))  # type: ignore[arg-type]

    client.stop()
    client.start()

    assert ended.get(timeout=30).error == ""
    assert "run" not in wire.asked


def test_a_message_whose_keys_were_not_stored_is_not_acknowledged_before_the_socket_is_closed(tmp_path: Path) -> None:
    """The library acknowledges it when the handler returns."""
    closing, close = threading.Event(), threading.Event()

    class Slow(Wire):
        def disconnect(self, uuid: str) -> None:
            closing.set()
            assert close.wait(30)

    wire = Slow()
    command = StartClient(
        session="shop", epoch=1, path=str(tmp_path / "store.db"), spool=str(tmp_path / "spool"), lease_seconds=60
    )
    client = Client(wire, command, wire, lambda _, last_word: None)  # type: ignore[arg-type]
    library = threading.Thread(target=client._on_not_stored, args=("3A11",))
    library.start()
    assert closing.wait(30)

    library.join(0.2)
    assert library.is_alive()
    close.set()
    library.join(30)
    assert not library.is_alive()
    assert client.closed
