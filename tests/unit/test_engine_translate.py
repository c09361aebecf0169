"""From the library's protobuf events to ours, with the library's own generated classes."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from typing import Any

import pytest

from sessions_app.engine import events
from sessions_app.engine.translate import Translator, content_of, file_of, jid, kind_and_text, message_about

BASE: dict[str, Any] = {"session": "shop", "epoch": 3, "at": 7.5}


@pytest.fixture(scope="module")
def neonize() -> Iterator[Any]:
    """neonize's protobuf modules alone: importing the package would load the Go library into the test process."""
    spec = importlib.util.find_spec("neonize")
    assert isinstance(spec, ModuleSpec) and spec.submodule_search_locations
    shell = types.ModuleType("neonize")
    shell.__path__ = list(spec.submodule_search_locations)
    before = set(sys.modules)
    sys.modules["neonize"] = shell
    yield importlib.import_module("neonize.proto.Neonize_pb2")
    for name in set(sys.modules) - before:
        if name.startswith("neonize"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def e2e(neonize: Any) -> Any:
    return importlib.import_module("neonize.proto.waE2E.WAWebProtobufsE2E_pb2")


def make_jid(neonize: Any, user: str, server: str = "s.whatsapp.net", device: int = 0) -> Any:
    return neonize.JID(User=user, Server=server, Device=device, RawAgent=0, Integrator=0, IsEmpty=not user)


def make_source(neonize: Any, **more: Any) -> Any:
    fields: dict[str, Any] = {
        "Chat": make_jid(neonize, "1203", "g.us"),
        "Sender": make_jid(neonize, "77", "lid", 4),
        "SenderAlt": make_jid(neonize, "5511987650001", device=4),
        "RecipientAlt": make_jid(neonize, "", ""),
        "BroadcastListOwner": make_jid(neonize, "", ""),
        "IsFromMe": False,
        "IsGroup": True,
    }
    return neonize.MessageSource(**(fields | more))


def make_info(neonize: Any, **more: Any) -> Any:
    fields: dict[str, Any] = {
        "MessageSource": make_source(neonize),
        "ID": "3EB0",
        "ServerID": 0,
        "Type": "text",
        "Pushname": "Ana",
        "Timestamp": 1_795_000_000_999,
        "Category": "",
        "Multicast": False,
        "MediaType": "",
        "Edit": "",
    }
    return neonize.MessageInfo(**(fields | more))


def translate(name: str, proto: Any) -> Any:
    return Translator("shop", 3).event(name, proto, b"raw", 7.5)


def test_a_message_is_translated_with_who_sent_it_and_the_bytes_it_came_in(neonize: Any, e2e: Any) -> None:
    proto = neonize.Message(Info=make_info(neonize), Message=e2e.Message(conversation="Hello"))
    message = translate("Message", proto)
    assert message == events.MessageReceived(
        **BASE,
        message_id="3EB0",
        chat="1203@g.us",
        sender="77@lid",
        sender_alt="5511987650001@s.whatsapp.net",
        push_name="Ana",
        is_group=True,
        timestamp=1_795_000_000,
        kind="conversation",
        text="Hello",
        raw=b"raw",
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"conversation": "a"}, ("conversation", "a")),
        ({"extendedTextMessage": {"text": "b"}}, ("extendedTextMessage", "b")),
        ({"imageMessage": {"caption": "c", "mimetype": "image/png"}}, ("imageMessage", "c")),
        ({"videoMessage": {"caption": "d"}}, ("videoMessage", "d")),
        ({"documentMessage": {"caption": "e"}}, ("documentMessage", "e")),
        ({"audioMessage": {"seconds": 3}}, ("audioMessage", "")),
        ({"reactionMessage": {"text": "👍"}}, ("reactionMessage", "👍")),
        ({"protocolMessage": {}}, ("protocolMessage", "")),
        ({"messageContextInfo": {}, "conversation": "f"}, ("conversation", "f")),
        ({"senderKeyDistributionMessage": {"groupID": "g"}}, ("empty", "")),
        ({}, ("empty", "")),
    ],
)
def test_kind_and_text_of(e2e: Any, fields: dict[str, Any], expected: tuple[str, str]) -> None:
    assert kind_and_text(e2e.Message(**fields)) == expected


@pytest.mark.parametrize(
    ("fields", "about", "content"),
    [
        ({"conversation": "a"}, "", {}),
        ({"extendedTextMessage": {"text": "b", "contextInfo": {"stanzaID": "3EB0"}}}, "3EB0", {}),
        ({"imageMessage": {"caption": "c", "contextInfo": {"stanzaID": "3EB1"}}}, "3EB1", {"mimetype": "", "size": 0}),
        ({"reactionMessage": {"text": "👍", "key": {"ID": "3EB2"}}}, "3EB2", {}),
        (
            {"locationMessage": {"degreesLatitude": 1.5, "degreesLongitude": -2.5, "address": "Av. 1"}},
            "",
            {"latitude": 1.5, "longitude": -2.5, "address": "Av. 1"},
        ),
        ({"locationMessage": {"degreesLatitude": float("nan"), "degreesLongitude": 0}}, "", {}),
        ({"contactMessage": {"vcard": "TEL;type=CELL;waid=5511:+55 11"}}, "", {"phone": "5511"}),
        ({"contactMessage": {"vcard": "BEGIN:VCARD\nTEL:+55 (11) 9-1\nEND:VCARD"}}, "", {"phone": "551191"}),
        ({"contactMessage": {"vcard": "nonsense"}}, "", {"phone": ""}),
        (
            {"documentMessage": {"mimetype": "application/pdf", "fileLength": 7, "fileName": "menu.pdf"}},
            "",
            {"mimetype": "application/pdf", "size": 7, "filename": "menu.pdf"},
        ),
        (
            {"audioMessage": {"mimetype": "audio/ogg", "fileLength": 7, "PTT": True}},
            "",
            {"mimetype": "audio/ogg", "size": 7, "voice": True},
        ),
        ({"senderKeyDistributionMessage": {"groupID": "g"}}, "", {}),
        ({}, "", {}),
    ],
)
def test_what_a_message_is_about_and_carries(e2e: Any, fields: Any, about: str, content: dict[str, Any]) -> None:
    message = e2e.Message(**fields)
    assert (message_about(message), content_of(message)) == (about, content)


def test_what_a_download_takes_is_kept_without_pictures_and_quotes(e2e: Any) -> None:
    hashes = {"mediaKey": b"k" * 32, "fileSHA256": b"a" * 32, "fileEncSHA256": b"b" * 32}
    location = hashes | {"directPath": "/v/1", "fileLength": 7, "mimetype": "image/png"}
    rest = {"caption": "c", "JPEGThumbnail": b"t" * 5000, "contextInfo": {"stanzaID": "3EB0"}}
    kept = file_of(e2e.Message(imageMessage=location | rest))
    assert e2e.Message.FromString(kept) == e2e.Message(imageMessage=location)
    assert file_of(e2e.Message(imageMessage=rest)) == b""
    assert file_of(e2e.Message(conversation="hi")) == b""


def test_a_receipt_is_translated_with_whatsapps_name_for_it(neonize: Any) -> None:
    receipt = neonize.Receipt(
        MessageSource=make_source(neonize), MessageIDs=["A", "B"], Timestamp=12, Type=neonize.Receipt.READ_SELF
    )
    assert translate("Receipt", receipt) == events.ReceiptReceived(
        **BASE, chat="1203@g.us", sender="77@lid", message_ids=("A", "B"), kind="read-self", timestamp=12
    )


def test_pairing_tells_the_device_and_its_platform(neonize: Any) -> None:
    proto = neonize.PairStatus(
        ID=make_jid(neonize, "5511987650001", device=12),
        BusinessName="Shop",
        Platform="android",
        Status=neonize.PairStatus.SUCCESS,
    )
    assert translate("PairStatus", proto) == events.Paired(
        **BASE, jid="5511987650001:12@s.whatsapp.net", platform="android", business_name="Shop"
    )


@pytest.mark.parametrize("on_connect", [True, False])
@pytest.mark.parametrize(("reason", "code"), [("LOGGED_OUT", 401), ("MAIN_DEVICE_GONE", 403), ("UNKNOWN_LOGOUT", 406)])
def test_a_logout_has_whatsapps_number(neonize: Any, on_connect: bool, reason: str, code: int) -> None:
    proto = neonize.LoggedOut(OnConnect=on_connect, Reason=getattr(neonize, reason))
    assert translate("LoggedOut", proto) == events.LoggedOut(**BASE, code=code, on_connect=on_connect)


def test_every_reason_and_every_ban_of_the_binding_has_a_number(neonize: Any) -> None:
    for value in neonize.ConnectFailureReason.values():
        proto = neonize.ConnectFailure(Reason=value, Message="m")
        assert translate("ConnectFailure", proto).code >= 400
    for value in neonize.TemporaryBan.TempBanReason.values():
        assert translate("TemporaryBan", neonize.TemporaryBan(Code=value, Expire=5)).code > 100


def test_an_event_without_a_translation_is_named(neonize: Any) -> None:
    proto = neonize.IdentityChange(JID=make_jid(neonize, "1"), Timestamp=1, Implicit=False)
    assert translate("IdentityChange", proto) == events.UnknownHappened(**BASE, name="IdentityChange")


def test_a_jid_names_its_device_where_it_is_not_the_phone(neonize: Any) -> None:
    assert jid(make_jid(neonize, "5511", device=2)) == "5511:2@s.whatsapp.net"
    assert jid(make_jid(neonize, "5511")) == "5511@s.whatsapp.net"
    assert jid(make_jid(neonize, "", "")) == ""
