"""`POST /whatsapp` and `/whatsapp/{id}/activate`, with a real host and the simulator behind them."""

from __future__ import annotations

import pytest

from sessions_app.api import whatsapp
from sessions_app.lifecycle import Command, Status
from sessions_app.models import Scope, SessionCommand, WhatsAppSession
from simulator import Simulator
from tests.api import ApiClient
from tests.protocol.hosts import RunningHost, ask, wait_for_status

pytestmark = pytest.mark.django_db(transaction=True)
ANA = "5511987650001"


@pytest.fixture
def client(db: None) -> ApiClient:
    return ApiClient(scopes=[Scope.CONTROL])


def made(client: ApiClient) -> str:
    answer = client.post("/whatsapp", {"name": "Shop", "userId": "acme"})
    assert answer.status_code == 201
    return str(answer.json()["id"])


def test_a_made_session_has_the_user_as_its_owner(client: ApiClient) -> None:
    session = WhatsAppSession.objects.get(session_id=made(client))
    assert (session.name, session.owner, session.status) == ("Shop", "acme", Status.NEW)


def test_activate_answers_with_a_code_that_a_phone_can_scan(
    client: ApiClient, sim: Simulator, host: RunningHost
) -> None:
    session_id = made(client)

    answer = client.post(f"/whatsapp/{session_id}/activate")

    assert answer.status_code == 200
    code = answer.json()["qr"]
    assert (answer.json()["status"], code["index"], code["of"]) == ("PAIRING", 1, 6)
    # Again, as a page does that shows it: the same round goes on.
    assert client.post(f"/whatsapp/{session_id}/activate").json()["qr"]["code"] == code["code"]
    sim.phone(ANA, name="Ana").scan(code["code"])
    session = wait_for_status(WhatsAppSession.objects.get(session_id=session_id), Status.CONNECTED)
    assert SessionCommand.objects.filter(session=session).count() == 1

    # It is linked now: no code any more, whether it runs or was stopped.
    assert client.post(f"/whatsapp/{session_id}/activate").json()["qr"] is None
    ask(session, Command.STOP)
    wait_for_status(session, Status.STOPPED)
    answer = client.post(f"/whatsapp/{session_id}/activate")
    assert (answer.status_code, answer.json()["qr"]) == (200, None)
    wait_for_status(session, Status.CONNECTED)


def test_activate_without_a_worker_is_taken_back(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whatsapp, "PATIENCE", 0.3)
    session_id = made(client)

    answer = client.post(f"/whatsapp/{session_id}/activate")

    assert (answer.status_code, answer.json()["code"]) == (504, "host-did-not-answer")
    assert WhatsAppSession.objects.get().desired == "stopped"
    assert SessionCommand.objects.get().outcome == "withdrawn"


def test_sessions_of_others_cannot_be_activated(client: ApiClient) -> None:
    session_id = made(client)
    other = ApiClient(scopes=[Scope.CONTROL], owner="other")
    assert other.post(f"/whatsapp/{session_id}/activate").status_code == 404
    assert other.post("/whatsapp", {"name": "Shop", "userId": "acme"}).status_code == 403
    assert ApiClient(scopes=[Scope.READ]).post("/whatsapp", {"name": "Shop"}).status_code == 403
    assert client.post("/whatsapp", {"name": "Shop", "user": "x"}).status_code == 422
