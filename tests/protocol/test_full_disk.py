"""A disk that takes nothing any more: the session lets go of its socket, says why, and loses no message."""

from __future__ import annotations

import resource

import pytest

from sessions_app.lifecycle import Status
from sessions_app.models import Message, PairingRound, SessionEvent, WhatsAppSession
from tests.protocol.hosts import RunningHost, eventually, pair, wait_for_status

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA = "5511987650001", "5511987650002"


def fill_disk(host: RunningHost, *, full: bool) -> None:
    """No file of the engines can grow; the system refuses it with an error, as it does on a full disk."""
    for engine in host.supervisor.engines.all:
        _, most = resource.prlimit(engine.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(engine.pid, resource.RLIMIT_FSIZE, (0 if full else most, most))


def test_a_full_disk_is_said_and_what_came_meanwhile_is_there_afterwards(sim, host):
    bia = sim.phone(BIA, name="Bia")
    session = pair(WhatsAppSession.objects.create(session_id="shop", name="Shop"), sim.phone(ANA, name="Ana"))
    bia.send_text(ANA, "before")
    eventually(lambda: Message.objects.filter(text="before").exists(), "a first message")

    fill_disk(host, full=True)
    bia.send_text(ANA, "meanwhile")
    wait_for_status(session, Status.WAITING, "disk-full")
    fill_disk(host, full=False)

    wait_for_status(session, Status.CONNECTED)
    eventually(lambda: Message.objects.filter(text="meanwhile").exists(), "the message")
    bia.send_text(ANA, "after")
    eventually(lambda: Message.objects.filter(text="after").exists(), "a last message")
    texts = list(Message.objects.order_by("pk").values_list("text", flat=True))
    assert texts == ["before", "meanwhile", "after"]
    assert SessionEvent.objects.filter(session=session, reason="disk-full").exists()
    assert PairingRound.objects.count() == 1
