"""A session that is bound to a number, with the real library against the simulator: nobody else's phone stays linked."""

from __future__ import annotations

import threading

import pytest

from sessions_app.hosting import reactions
from sessions_app.lifecycle import Command, Status
from sessions_app.models import AuthBlob, PairingLink, WhatsAppSession
from tests.protocol.hosts import ask, eventually, fresh, running_host, wait_for_code, wait_for_status

pytestmark = pytest.mark.django_db(transaction=True)
ANA, BIA = "5511987650001", "5511987650002"


@pytest.fixture
def session(db: None) -> WhatsAppSession:
    session: WhatsAppSession = WhatsAppSession.objects.create(session_id="shop", name="Shop")
    session.expect(ANA, by="tester")
    return session


def start(session: WhatsAppSession) -> str:
    ask(session, Command.START)
    return wait_for_code(session)


def test_another_phone_is_unlinked_at_once_and_the_right_one_can_still_be_linked(sim, host, session):
    link, _ = PairingLink.issue(session, by="ana")

    sim.phone(BIA, name="Bia").scan(start(session))
    refused = wait_for_status(session, Status.LOGGED_OUT, "wrong-number")

    assert sim.phone(BIA).devices == []
    assert (refused.phone, refused.jid, refused.last_connected_at) == ("", "", None)
    assert not refused.has_creds and not AuthBlob.objects.filter(session=session).exists()
    assert session.events.filter(kind="expected", reason="wrong-number").get().detail == {"scanned_by": f"+{BIA}"}
    assert PairingLink.objects.get(pk=link.pk).in_force

    sim.phone(ANA, name="Ana").scan(start(session))
    connected = wait_for_status(session, Status.CONNECTED)
    assert connected.phone == ANA
    assert not PairingLink.objects.get(pk=link.pk).in_force


def test_a_host_that_died_before_the_unlinking_leaves_no_wrong_phone(sim, session, tmp_path, monkeypatch):
    with running_host(tmp_path / "stores") as first:
        crash = threading.Thread(target=first.crash)  # a lane cannot wait for its own end
        monkeypatch.setattr(reactions, "_must_unlink", lambda runner, jid: crash.start() or True)
        monkeypatch.setattr(reactions, "log_out", lambda runner: None)
        sim.phone(BIA, name="Bia").scan(start(session))
        eventually(lambda: fresh(session).has_creds, "the credentials of the wrong phone")
        eventually(lambda: first.crashed, "the crash")
        crash.join(20)
    monkeypatch.undo()
    for name, value in sim.environment.items():
        monkeypatch.setenv(name, value)
    WhatsAppSession.objects.filter(pk=session.pk).update(lease_until=None)

    with running_host(tmp_path / "stores"):
        wait_for_status(session, Status.LOGGED_OUT, "wrong-number")
        assert sim.phone(BIA).devices == []
