"""A host dies with its disk, and the vault lacks the last messages: the next host loses none of those that follow."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from sessions_app.hosting import keeper, lease
from sessions_app.hosting.keeper import Keeper
from sessions_app.lifecycle import Status
from sessions_app.models import Message, WhatsAppSession
from simulator import Simulator
from tests.protocol.hosts import eventually, pair, running_host, wait_for_status

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA, COI = "5511987650001", "5511987650002", "5511987650003"
BEHIND = 20


class Town:
    """Ana's session `shop`, her peers Bia and Coi, a group of the three, and a host that has died with its disk: the vault lacks the last
    messages that it sent, `BEHIND` to Bia and as many to the group."""

    def __init__(self, sim: Simulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ana, self.bia, self.coi = (sim.phone(number, name=number[-1]) for number in (ANA, BIA, COI))
        self.group = ana.create_group("Shop", [BIA, COI])
        self.session = WhatsAppSession.objects.create(session_id="shop", name="Shop")
        with running_host(folder) as host:
            pair(self.session, ana)
            self.say("hello")
            self.bia.send_text(ANA, "hello yourself")
            eventually(lambda: Message.objects.filter(text="hello yourself").exists(), "an answer")
            with monkeypatch.context() as patch:
                patch.setattr(Keeper, "flush", lambda self: 0)
                self.say(*(f"lost to the vault {n}" for n in range(BEHIND)))
                host.crash()
        shutil.rmtree(folder)
        lease.end_leases_of(host.supervisor.host)

    def send(self, *texts: str) -> None:
        """To Bia, and to the group."""
        for text in texts:
            self.session.send_text(BIA, text, by="tester")
        for text in texts:
            self.session.send_text(self.group, f"all: {text}", by="tester")

    def say(self, *texts: str) -> None:
        """`send`, and wait until everybody has read it."""
        self.send(*texts)
        for text in texts:
            self.bia.wait_for_text(text, timeout=20)
            for peer in (self.bia, self.coi):
                peer.wait_for_text(f"all: {text}", timeout=20)

    @property
    def unread(self) -> list[str | None]:
        """What reached a peer and could not be read."""
        return [line.error for line in (*self.bia.inbox, *self.coi.inbox) if line.text is None]


def retries(sim: Simulator) -> int:
    return sum(
        e.direction == "in" and e.node.tag == "receipt" and e.node.get("type") == "retry" for e in sim.transcript
    )


@pytest.mark.parametrize("recent", [True, False], ids=["just died", "an old copy of the database"])
def test_no_message_is_lost_after_a_takeover_with_a_vault_that_is_behind(sim, tmp_path, monkeypatch, recent):
    town = Town(sim, tmp_path / "one", monkeypatch)
    town.bia.send_text(ANA, "while nobody was there")
    before = retries(sim)
    if not recent:
        monkeypatch.setattr(keeper, "RECENT", timedelta(days=-1))

    with running_host(tmp_path / "two"):
        wait_for_status(town.session, Status.CONNECTED)
        town.say(*(f"after {n}" for n in range(BEHIND)))
        eventually(lambda: Message.objects.filter(text="while nobody was there").exists(), "what was sent meanwhile")

    assert (retries(sim) == before) is recent
    assert town.unread == []


def test_without_the_cure_as_many_sends_vanish_at_the_peers_as_the_vault_is_behind(sim, tmp_path, monkeypatch):
    """What the test above is about: numbers that were used already make a peer drop the message, and call it delivered."""
    town = Town(sim, tmp_path / "one", monkeypatch)
    monkeypatch.setattr(Keeper, "_renew_signal_sessions", lambda self, live: "left as they are")

    with running_host(tmp_path / "two"):
        wait_for_status(town.session, Status.CONNECTED)
        vanished = [f"after {n}" for n in range(BEHIND)]
        town.send(*vanished)
        town.say("the first that arrives")

    sent = Message.objects.filter(text__in=[*vanished, *(f"all: {text}" for text in vanished)])
    assert sent.count() == 2 * BEHIND
    assert {message.status for message in sent} <= {"sent", "delivered"}
    assert not {line.text for line in (*town.bia.inbox, *town.coi.inbox)} & {message.text for message in sent}
