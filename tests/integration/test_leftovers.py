"""What a host that has gone left in its spools is recorded, whoever has the session by now."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessions_app.engine import events as ev
from sessions_app.engine.spool import SpoolReader, SpoolWriter
from sessions_app.hosting import lease, leftovers
from sessions_app.models import Host, Message, WhatsAppSession
from sessions_app.vault.live_store import LiveStore

pytestmark = pytest.mark.django_db


@pytest.fixture
def session() -> WhatsAppSession:
    return WhatsAppSession.objects.create(session_id="shop", name="Shop", owner="ana", desired="running")


@pytest.fixture
def here() -> Host:
    return Host.objects.create(name="here", pid=1, machine="one", session_path="/data")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """A spool in which a message and a receipt wait, with a connection's news between them."""
    path = tmp_path / "ana_shop" / "spool"
    writer = SpoolWriter(path)
    base = {"session": "shop", "epoch": 1, "at": 1.0}
    writer.append(
        ev.MessageReceived(**base, message_id="A1", chat="55@s.whatsapp.net", sender="55@s.whatsapp.net", text="hi")
    )
    writer.append(ev.Disconnected(**base))
    writer.append(ev.ReceiptReceived(**base, chat="55@s.whatsapp.net", sender="55@s.whatsapp.net", message_ids=("B1",)))
    writer.close()
    return path


def texts() -> list[str]:
    return list(Message.objects.filter(direction="in").values_list("text", flat=True))


def test_a_message_on_this_disk_is_recorded_although_another_host_has_the_session(tmp_path, session, here, spool):
    there = Host.objects.create(name="there", pid=1, machine="two", session_path="/data")
    lease.acquire(session, there)
    Message.objects.create(session=session, direction="out", status="sent", message_id="B1", chat="55@s.whatsapp.net")

    leftovers.take_all(tmp_path, here, [])
    leftovers.take_all(tmp_path, here, [])

    assert texts() == ["hi"]
    assert Message.objects.get(message_id="B1").status == "delivered"
    assert not SpoolReader(spool).pending()


def test_what_the_other_host_was_given_too_is_recorded_once(tmp_path, session, here, spool):
    Message.objects.create(
        session=session,
        direction="in",
        status="received",
        message_id="A1",
        chat="55@s.whatsapp.net",
        sender="55@s.whatsapp.net",
        text="hi",
    )
    leftovers.take_all(tmp_path, here, [])
    assert texts() == ["hi"]


def test_the_spool_of_a_session_that_runs_here_is_left_to_its_runner(tmp_path, session, here, spool):
    leftovers.take_all(tmp_path, here, [session.pk])
    assert texts() == []


def test_the_spool_of_a_neighbour_on_the_same_disk_is_left_to_it(tmp_path, session, here, spool):
    lease.acquire(session, Host.objects.create(name="neighbour", pid=2, machine="one", session_path="/data"))
    leftovers.take_all(tmp_path, here, [])
    assert texts() == []


def test_a_spool_of_a_session_that_was_deleted_is_passed_over(tmp_path, session, here, spool):
    session.delete()
    leftovers.take_all(tmp_path, here, [])
    assert SpoolReader(spool).pending()


@pytest.mark.parametrize(("row", "expected"), [("of this session", ["hi"]), ("of another", [])])
def test_a_session_that_was_made_anew_under_an_old_id_gets_nothing_of_the_old_one(
    tmp_path, session, here, spool, row, expected
):
    live = LiveStore.create(spool.parent / "store.db")
    live.install_journal(row=session.pk if row == "of this session" else session.pk + 1)
    live.close()

    leftovers.take_all(tmp_path, here, [])

    assert texts() == expected
    assert not SpoolReader(spool).pending()


def test_a_spool_that_cannot_be_read_keeps_no_other_waiting(tmp_path, session, here, spool):
    broken = tmp_path / "a" / "spool"
    broken.mkdir(parents=True)
    (broken / "0000000001.spool").mkdir()
    leftovers.take_all(tmp_path, here, [])
    assert texts() == ["hi"]
