"""A disk that takes nothing any more: the session lets go of its socket, says why, and loses no message."""

from __future__ import annotations

import os
import resource

import pytest

from sessions_app.hosting.keeper import SPOOL_NAME
from sessions_app.lifecycle import Status
from sessions_app.models import Message, PairingRound, SessionEvent, WhatsAppSession
from simulator import Simulator
from tests.protocol.hosts import RunningHost, eventually, pair, wait_for_status

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA = "5511987650001", "5511987650002"
MIB = 1 << 20


def limit_files(host: RunningHost, size: int | None) -> None:
    """No file of the engines can grow beyond a size (bytes); the system refuses it with an error, as it does on a full disk."""
    for engine in host.supervisor.engines.all:
        _, most = resource.prlimit(engine.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (most if size is None else size, most))


def answers(sim: Simulator, message_id: str) -> list[str]:
    """The stanzas by which clients took note of a message."""
    nodes = [entry.node for entry in sim.transcript if entry.direction == "in"]
    return [node.tag for node in nodes if node.attrs.get("id") == message_id]


@pytest.fixture
def session(sim: Simulator, host: RunningHost) -> WhatsAppSession:
    """Linked, with a first message in."""
    paired = pair(WhatsAppSession.objects.create(session_id="shop", name="Shop"), sim.phone(ANA, name="Ana"))
    sim.phone(BIA, name="Bia").send_text(ANA, "before")
    eventually(lambda: Message.objects.filter(text="before").exists(), "a first message")
    return paired


def wait_for_the_rest(sim: Simulator, session: WhatsAppSession) -> None:
    """Until a message has come behind the one that came meanwhile; then each is there once, in order, and nobody had to scan."""
    wait_for_status(session, Status.CONNECTED)
    eventually(lambda: Message.objects.filter(text="meanwhile").exists(), "the message")
    sim.phone(BIA).send_text(ANA, "after")
    eventually(lambda: Message.objects.filter(text="after").exists(), "a last message")
    assert list(Message.objects.order_by("pk").values_list("text", flat=True)) == ["before", "meanwhile", "after"]
    assert SessionEvent.objects.filter(session=session, reason="disk-full").exists()
    assert PairingRound.objects.count() == 1


def test_a_message_whose_keys_found_no_room_is_left_to_whatsapp_and_comes_again(sim, host, session):
    limit_files(host, 0)
    meanwhile = sim.phone(BIA).send_text(ANA, "meanwhile")
    wait_for_status(session, Status.WAITING, "disk-full")

    assert answers(sim, meanwhile) == []
    assert not Message.objects.filter(message_id=meanwhile).exists()
    limit_files(host, None)
    wait_for_the_rest(sim, session)


def test_a_message_that_only_the_spool_has_no_room_for_is_handed_over_before_the_disk_has_any(sim, host, session):
    """SQLite writes over what it had; a spool only grows. By the time that the disk says no, the receipt may be out."""
    newest = max((host.supervisor.session_path.place(session) / SPOOL_NAME).glob("*.spool"))
    os.truncate(newest, 8 * MIB)
    limit_files(host, 4 * MIB)

    meanwhile = sim.phone(BIA).send_text(ANA, "meanwhile")
    wait_for_status(session, Status.WAITING, "disk-full")

    assert Message.objects.get(message_id=meanwhile).text == "meanwhile"
    limit_files(host, None)
    wait_for_the_rest(sim, session)
