"""What is handed to the library, made with its own protobuf classes: whole, or refused before Go sees it."""

from __future__ import annotations

from typing import Any

import pytest

from sessions_app.engine.compose import CannotCompose, compose, vcard
from sessions_app.engine.events import SendMessage
from tests.unit.test_engine_translate import e2e, neonize

__all__ = ["e2e", "neonize"]
CHAT, GROUP, OWN = "2000@lid", "1203@g.us", "5511987650001@s.whatsapp.net"
ABOUT = {"message_id": "3EB0", "sender": "5511987650002@s.whatsapp.net", "kind": "text", "text": "open?", "content": {}}


def made(e2e: Any, to: str = CHAT, **fields: Any) -> Any:
    return compose(SendMessage(session="s", ref="1", to=to, **fields), e2e.Message(), to=to, own=OWN)


def test_a_text_is_the_short_form(e2e: Any) -> None:
    assert made(e2e, text="hi") == e2e.Message(conversation="hi")


def test_a_reply_quotes_the_author_and_our_own_words_as_ours(e2e: Any) -> None:
    context = made(e2e, text="yes", about=ABOUT).extendedTextMessage.contextInfo
    assert (context.stanzaID, context.participant) == ("3EB0", ABOUT["sender"])
    assert context.quotedMessage == e2e.Message(conversation="open?")
    assert made(e2e, text="yes", about=ABOUT | {"sender": ""}).extendedTextMessage.contextInfo.participant == OWN


def test_a_place_can_be_quoted_and_one_that_we_know_little_of_is_quoted_as_text(e2e: Any) -> None:
    place = ABOUT | {"kind": "location", "content": {"latitude": 1.0, "longitude": 2.0}}
    assert (
        made(e2e, text="x", about=place).extendedTextMessage.contextInfo.quotedMessage.locationMessage.name == "open?"
    )
    bare = made(e2e, text="x", about=place | {"content": {}}).extendedTextMessage.contextInfo.quotedMessage
    assert bare == e2e.Message(conversation="open?")


@pytest.mark.parametrize(
    ("to", "sender", "from_me", "participant"),
    [(CHAT, ABOUT["sender"], False, ""), (CHAT, "", True, ""), (GROUP, ABOUT["sender"], False, ABOUT["sender"]), (GROUP, "", True, "")],
)  # fmt: skip
def test_a_reaction_names_the_author_in_groups_alone(e2e: Any, to: str, sender: str, from_me: bool, participant: str) -> None:  # fmt: skip
    key = made(e2e, to, kind="reaction", text="👍", about=ABOUT | {"sender": sender}).reactionMessage.key
    assert (key.remoteJID, key.ID, key.fromMe, key.participant) == (to, "3EB0", from_me, participant)


def test_a_card_cannot_be_broken_by_a_name() -> None:
    card = vcard("a;b,c\\d\r\nTEL:1", "5511")
    assert card.splitlines()[2:5] == [
        "N:;a\\;b\\,c\\\\d\\nTEL:1;;;",
        "FN:a\\;b\\,c\\\\d\\nTEL:1",
        "TEL;type=CELL;waid=5511:+5511",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "nonsense"},
        {"kind": "reaction", "text": "x"},
        {"kind": "location", "content": {"latitude": "north", "longitude": 1}},
        {"kind": "contact", "text": "Cara"},
        {"text": "\ud800"},
        {"text": None},
    ],
)
def test_what_fits_no_kind_is_refused(e2e: Any, fields: dict[str, Any]) -> None:
    with pytest.raises(CannotCompose):
        made(e2e, **fields)
