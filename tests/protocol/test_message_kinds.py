"""Messages of every kind over HTTP, with a real host and the simulator: what is sent arrives as what it is, on phones and elsewhere."""

from __future__ import annotations

import logging
import shutil
from typing import Any

import pytest

from sessions_app import fetching
from sessions_app.api import waiting
from sessions_app.hosting.keeper import FILES_NAME
from sessions_app.models import MessageFile, Question
from tests.api import ApiClient
from tests.protocol.hosts import eventually, running_host
from tests.protocol.test_api import ANA, BIA, api, forms, message, pair_by_qr
from tests.receivers import receiver
from tests.samples import MP4, OGG, PDF, PNG, b64

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["api"]


@pytest.fixture(autouse=True)
def no_rate_limit(settings: Any) -> None:
    settings.OXY_RATE_LIMIT = 0  # a test looks more often than a program should


# --- kinds of messages -------------------------------------------------------------------


def send(api: ApiClient, name: str, **body: Any) -> str:
    answer = api.post(f"/api/sessions/{name}/messages", body)
    assert answer.status_code == 202, answer.json()
    return str(answer.json()["id"])


def newest(api: ApiClient, name: str, kind: str) -> dict[str, Any]:
    """The newest message of this type that came in."""

    def look() -> dict[str, Any] | None:
        items = api.get(f"/api/sessions/{name}/messages?direction=in").json()["items"]
        return next((item for item in items if item["type"] == kind), None)

    return eventually(look, f"a {kind} at {name}")


def test_a_reply_quotes_and_a_reaction_names_its_message_on_the_phone_and_in_another_session(sim, host, api):
    ana, bia = sim.phone(ANA, name="Ana"), sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", ana)
    pair_by_qr(api, "bakery", bia)
    asked = bia.send_text(ANA, "are you open?")
    question = newest(api, "shop", "text")

    answer = send(api, "shop", to=BIA, text="until nine", reply_to=question["id"])
    send(api, "shop", to=BIA, reaction={"message": question["id"], "emoji": "👍"})
    message(api, "shop", answer, "delivered", "read")

    line = bia.wait_for_text("until nine")
    assert line.content == {"quotes": asked, "of": f"{BIA}@s.whatsapp.net", "quoted": "are you open?"}
    thumb = bia.wait_for(lambda line: line.kind == "reaction")
    assert (thumb.text, thumb.content["reacts_to"], thumb.content["from_me"]) == ("👍", asked, False)
    told = newest(api, "bakery", "reaction")
    original = api.get("/api/sessions/bakery/messages?direction=out").json()["items"][0]
    assert (told["text"], told["about"], original["text"]) == ("👍", original["id"], "are you open?")
    assert newest(api, "bakery", "text")["about"] == original["id"]


def test_a_reaction_can_be_taken_back_and_reactions_and_replies_come_in(sim, host, api):
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    first = send(api, "shop", to=BIA, text="one")
    # It is still on its way: what is about it waits for it.
    send(api, "shop", to=BIA, reaction={"message": first, "emoji": "❤️"})
    send(api, "shop", to=BIA, reaction={"message": first, "emoji": ""})
    line = bia.wait_for_text("one")
    bia.wait_for(lambda line: line.kind == "reaction" and line.text == "")

    assert [(x.text, x.content["reacts_to"], x.content["from_me"]) for x in bia.inbox if x.kind == "reaction"] == [
        ("❤️", line.id, True),
        ("", line.id, True),
    ]
    bia.react(line.id, "🎉")
    assert newest(api, "shop", "reaction") | {"created_at": "", "id": ""} == {
        "id": "", "direction": "in", "chat": f"{BIA}@s.whatsapp.net", "sender": f"{BIA}@s.whatsapp.net", "text": "🎉",
        "type": "reaction", "status": "received", "reason": "", "created_at": "", "about": first,
    }  # fmt: skip
    bia.reply(line.id, "two")
    assert newest(api, "shop", "text")["about"] == first


def test_a_member_of_a_group_is_answered_and_reacted_to(sim, host, api):
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    group = bia.create_group("Neighbours", [ANA])
    asked = bia.send_text(group, "who is there?")
    question = newest(api, "shop", "text")

    send(api, "shop", to=group, text="me", reply_to=question["id"])
    send(api, "shop", to=group, reaction={"message": question["id"], "emoji": "👋"})

    assert bia.wait_for_text("me").content["quotes"] == asked
    thumb = bia.wait_for(lambda line: line.kind == "reaction")
    assert (thumb.content["reacts_to"], thumb.content["of"]) == (asked, f"{BIA}@s.whatsapp.net")


def test_a_place_and_a_contact_arrive_as_such(sim, host, api):
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    pair_by_qr(api, "bakery", bia)

    send(
        api, "shop", to=BIA, location={"latitude": -23.5614, "longitude": -46.6559, "name": "Shop", "address": "Av. 1"}
    )
    send(api, "shop", to=BIA, contact={"name": "Cara; de Pau", "phone": "+55 11 98765-0003"})

    place = bia.wait_for(lambda line: line.kind == "location")
    assert (place.text, place.content) == ("Shop", {"latitude": -23.5614, "longitude": -46.6559, "address": "Av. 1"})
    card = bia.wait_for(lambda line: line.kind == "contact")
    assert card.text == "Cara; de Pau"
    assert card.content["vcard"].splitlines()[2:5] == [
        "N:;Cara\\; de Pau;;;",
        "FN:Cara\\; de Pau",
        "TEL;type=CELL;waid=5511987650003:+5511987650003",
    ]
    assert newest(api, "bakery", "location")["content"] == {
        "latitude": -23.5614,
        "longitude": -46.6559,
        "address": "Av. 1",
    }
    assert newest(api, "bakery", "contact")["content"] == {"phone": "5511987650003"}
    bia.send_location(ANA, 1.5, -2.5, "Here")
    here = newest(api, "shop", "location")
    assert (here["text"], here["content"]) == ("Here", {"latitude": 1.5, "longitude": -2.5, "address": ""})


def test_messages_of_all_kinds_arrive_in_the_order_in_which_they_were_sent(sim, host, api):
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    first = send(api, "shop", to=BIA, text="0")
    send(api, "shop", to=BIA, reaction={"message": first, "emoji": "1"})
    send(api, "shop", to=BIA, location={"latitude": 2, "longitude": 2, "name": "2"})
    send(api, "shop", to=BIA, text="3", reply_to=first)
    send(api, "shop", to=BIA, contact={"name": "4", "phone": BIA})
    send(api, "shop", to=BIA, text="5")

    bia.wait_for_text("5", timeout=30)

    assert [line.text for line in bia.inbox] == ["0", "1", "2", "3", "4", "5"]


# --- files ------------------------------------------------------------------------------


def test_files_of_all_kinds_arrive_whole_and_in_their_turn(sim, host, api):
    ana, bia = sim.phone(ANA, name="Ana"), sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", ana)
    pair_by_qr(api, "bakery", bia)
    large = PDF + bytes(range(256)) * 4096
    send(api, "shop", to=BIA, text="first")
    send(api, "shop", to=BIA, image={"data": b64(PNG)}, text="a bike")
    send(api, "shop", to=BIA, document={"data": b64(large), "filename": "menu.pdf"}, text="the menu")
    send(api, "shop", to=BIA, audio={"data": b64(OGG), "voice": True})
    send(api, "shop", to=BIA, video={"data": b64(MP4)})
    last = send(api, "shop", to=BIA, text="last")
    bia.wait_for_text("last", timeout=30)

    lines = bia.inbox
    assert [line.kind for line in lines] == ["text", "image", "document", "audio", "video", "text"]
    assert [line.text for line in lines] == ["first", "a bike", "the menu", "", "", "last"]
    assert [bia.open_file(line) for line in lines[1:5]] == [PNG, large, OGG, MP4]
    assert [line.content["mimetype"] for line in lines[1:5]] == [
        "image/png", "application/pdf", "audio/ogg; codecs=opus", "video/mp4"
    ]  # fmt: skip
    assert (lines[2].content["fileName"], lines[3].content["ptt"]) == ("menu.pdf", True)
    message(api, "shop", last, "delivered", "read")
    assert not MessageFile.objects.exists()
    told = newest(api, "bakery", "document")
    assert told["content"] == {"mimetype": "application/pdf", "size": len(large), "filename": "menu.pdf"}


def test_a_file_at_an_address_is_fetched_and_sent_before_what_was_sent_after_it(sim, host, api, settings):
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = True
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    with receiver() as shelf:
        shelf.reply = lambda call: (200, PNG, {})
        send(api, "shop", to=BIA, image={"url": shelf.url})
        send(api, "shop", to=BIA, text="after it")
        assert fetching.fetch(MessageFile.objects.get().pk)
    bia.wait_for_text("after it")
    assert [line.kind for line in bia.inbox] == ["image", "text"]
    assert bia.open_file(bia.inbox[0]) == PNG


def test_a_queued_file_survives_a_host_that_dies_with_its_disk(sim, tmp_path, api):
    bia = sim.phone(BIA, name="Bia")
    with running_host(tmp_path / "one"):
        pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    code = send(api, "shop", to=BIA, image={"data": b64(PNG)})
    shutil.rmtree(tmp_path / "one")
    with running_host(tmp_path / "two"):
        assert bia.open_file(bia.wait_for(lambda line: line.kind == "image", 30)) == PNG
        message(api, "shop", code, "sent", "delivered", "read")


def test_a_file_that_whatsapp_does_not_take_ends_its_message_and_holds_nobody_up(sim, host, api):
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    sim.faults.media_refused()
    code = send(api, "shop", to=BIA, image={"data": b64(PNG)})
    send(api, "shop", to=BIA, text="after it")
    assert message(api, "shop", code, "failed")["reason"] == "file-not-taken"
    bia.wait_for_text("after it", timeout=30)
    assert [line.kind for line in bia.inbox] == ["text"]


def test_no_answer_and_no_log_holds_what_opens_a_file(sim, host, api, settings, tmp_path, caplog, capfd):
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = True
    caplog.set_level(logging.DEBUG)
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    bia.send_file(ANA, "image", PNG, "image/png")
    photo = newest(api, "shop", "image")
    assert api.get(f"/api/sessions/shop/messages/{photo['id']}/media").content == PNG
    with receiver() as shelf:
        shelf.reply = lambda call: (200, PNG, {})
        secret = f"{shelf.url}?signature=a-private-word"
        code = send(api, "shop", to=BIA, image={"url": secret})
        assert fetching.fetch(MessageFile.objects.get().pk)
    sent = bia.wait_for(lambda line: line.kind == "image" and line.direction == "in")
    message(api, "shop", code, "delivered", "read")

    received = next(line for line in bia.lines if line.direction == "out")
    keys = [bytes.fromhex(line.content["mediaKey"]) for line in (sent, received)]
    answers = [api.get(f"/api/sessions{part}").content.decode() for part in ("/shop/messages", "/shop/events")]
    said = capfd.readouterr()
    assert "lease_acquired" in caplog.text
    for output in (caplog.text, said.out, said.err, *answers):
        assert not [form for key in keys for form in forms(key) if form in output]
        assert "a-private-word" not in output
    assert not list((tmp_path / "stores" / "shop" / FILES_NAME).iterdir())


# --- questions --------------------------------------------------------------------------


def test_a_file_that_came_in_can_be_downloaded_until_whatsapp_forgets_it(sim, host, api):
    bia = sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    large = PDF + bytes(range(256)) * 4096
    bia.send_file(ANA, "image", PNG, "image/png", "our shop")
    bia.send_file(ANA, "document", large, "application/pdf", name="menu.pdf")
    photo, menu = newest(api, "shop", "image"), newest(api, "shop", "document")
    assert (photo["text"], photo["content"]) == ("our shop", {"mimetype": "image/png", "size": len(PNG)})

    answer = api.get(f"/api/sessions/shop/messages/{photo['id']}/media")
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (200, PNG, "image/png")
    answer = api.get(f"/api/sessions/shop/messages/{menu['id']}/media")
    assert (answer.content, answer["Content-Disposition"]) == (large, 'attachment; filename="menu.pdf"')

    sim.faults.media_lost()
    answer = api.get(f"/api/sessions/shop/messages/{photo['id']}/media")
    assert (answer.status_code, answer.json()["code"]) == (410, "file-gone")
    assert not Question.objects.exists()


def test_a_number_is_looked_up(sim, host, api):
    sim.phone(BIA, name="Bia")
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    there = api.get(f"/api/sessions/shop/numbers/+{BIA}")
    assert (there.status_code, there.json()) == (200, {"phone": BIA, "exists": True, "jid": f"{BIA}@s.whatsapp.net"})
    nobody = api.get("/api/sessions/shop/numbers/5511987659999")
    assert nobody.json() == {"phone": "5511987659999", "exists": False, "jid": ""}


def test_the_groups_of_an_account_are_listed_and_can_be_written_to(sim, host, api):
    ana, bia, cara = sim.phone(ANA, name="Ana"), sim.phone(BIA, name="Bia"), sim.phone("5511987650003", name="Cara")
    pair_by_qr(api, "shop", ana)
    assert api.get("/api/sessions/shop/groups").json() == {"items": [], "count": 0}
    neighbours = bia.create_group("neighbours", [ANA, cara.number])
    builders = ana.create_group("Builders", [BIA])
    bia.create_group("without Ana", [cara.number])

    groups = api.get("/api/sessions/shop/groups").json()

    assert groups == {
        "items": [
            {"jid": builders, "name": "Builders", "participants": 2},
            {"jid": neighbours, "name": "neighbours", "participants": 3},
        ],
        "count": 2,
    }
    send(api, "shop", to=groups["items"][1]["jid"], image={"data": b64(PNG)}, text="look")
    for phone in (bia, cara):
        line = phone.wait_for(lambda line: line.kind == "image")
        assert (line.text, phone.open_file(line)) == ("look", PNG)


def test_whatsapp_that_says_nothing_keeps_nobody_waiting(sim, host, api, monkeypatch):
    pair_by_qr(api, "shop", sim.phone(ANA, name="Ana"))
    monkeypatch.setattr(waiting, "PATIENCE", 1.0)
    sim.faults.deaf()
    answer = api.get("/api/sessions/shop/groups")
    assert (answer.status_code, answer.json()["code"]) == (504, "whatsapp-did-not-answer")
