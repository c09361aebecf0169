"""A host dies with its disk, and the vault lacks the last messages: the next host loses none of those that follow."""

from __future__ import annotations

import shutil
from datetime import timedelta

import pytest

from sessions_app.hosting import keeper, lease
from sessions_app.hosting.keeper import Keeper
from sessions_app.lifecycle import Status
from sessions_app.models import Message, WhatsAppSession
from simulator import Handset, Simulator
from tests.protocol.hosts import eventually, pair, running_host, wait_for_status

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA, COI = "5511987650001", "5511987650002", "5511987650003"
BEHIND = 20


def say(session: WhatsAppSession, to: str, peers: list[Handset], *texts: str) -> None:
    """Send, and wait until every peer has read it."""
    for text in texts:
        session.send_text(to, text, by="tester")
    for peer in peers:
        for text in texts:
            peer.wait_for_text(text, timeout=20)


def retries(sim: Simulator) -> int:
    return sum(
        e.direction == "in" and e.node.tag == "receipt" and e.node.get("type") == "retry" for e in sim.transcript
    )


@pytest.mark.parametrize("recent", [True, False], ids=["just died", "an old copy of the database"])
def test_no_message_is_lost_after_a_takeover_with_a_vault_that_is_behind(sim, tmp_path, monkeypatch, recent):
    ana, bia, coi = (sim.phone(number, name=number[-1]) for number in (ANA, BIA, COI))
    group = ana.create_group("Shop", [BIA, COI])
    session = WhatsAppSession.objects.create(session_id="shop", name="Shop")
    with running_host(tmp_path / "one") as first:
        pair(session, ana)
        say(session, BIA, [bia], "hello")
        say(session, group, [bia, coi], "hello all")
        bia.send_text(ANA, "hello yourself")
        eventually(lambda: Message.objects.filter(text="hello yourself").exists(), "an answer")
        with monkeypatch.context() as patch:
            patch.setattr(Keeper, "flush", lambda self: 0)
            say(session, BIA, [bia], *(f"lost to the vault {n}" for n in range(BEHIND)))
            say(session, group, [bia, coi], *(f"lost to the vault, all {n}" for n in range(BEHIND)))
            first.crash()
    shutil.rmtree(tmp_path / "one")
    bia.send_text(ANA, "while nobody was there")
    before = retries(sim)
    lease.end_leases_of(first.supervisor.host)
    if not recent:
        monkeypatch.setattr(keeper, "RECENT", timedelta(days=-1))

    with running_host(tmp_path / "two"):
        wait_for_status(session, Status.CONNECTED)
        say(session, BIA, [bia], *(f"after {n}" for n in range(BEHIND)))
        say(session, group, [bia, coi], *(f"after, all {n}" for n in range(BEHIND)))
        eventually(lambda: Message.objects.filter(text="while nobody was there").exists(), "what was sent meanwhile")

    assert (retries(sim) == before) is recent
    assert [line.error for line in (*bia.inbox, *coi.inbox) if line.text is None] == []
