"""A session of a real Baileys client taken over by Oxy: it runs on another library, and nobody scans anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.handset import Handset
from tests.acceptance.stack import Stack, eventually
from tests.baileys.clients import Api, Baileys

Start = Callable[..., Baileys]
pytestmark = pytest.mark.usefixtures("worker")


class Session:
    """A session that Oxy runs, as a program sees it."""

    def __init__(self, api: Api, session_id: str) -> None:
        self.api, self.path = api, f"/api/sessions/{session_id}"

    def connected(self) -> dict[str, Any]:
        """The session once it is connected."""
        seen: dict[str, Any] = {}

        def look() -> bool:
            seen.update(self.api.ask("GET", self.path))
            return bool(seen["status"] == "CONNECTED")

        eventually(look, "CONNECTED")
        return seen

    def send(self, to: str, text: str) -> None:
        self.api.ask("POST", f"{self.path}/messages", {"to": to, "text": text})

    def received(self, text: str) -> None:
        path = f"{self.path}/messages?direction=in&limit=100"
        eventually(
            lambda: any(message["text"] == text for message in self.api.ask("GET", path)["items"]),
            f"the message {text}",
        )


def native(api: Api, phone: Handset) -> Session:
    """A session of Oxy's own, linked to this phone by its QR code."""
    session_id = api.ask("POST", "/whatsapp", {"name": phone.name})["id"]
    phone.scan(api.ask("POST", f"/whatsapp/{session_id}/activate")["qr"]["code"])
    session = Session(api, session_id)
    session.connected()
    return session


def converse(session: Session, own: Handset, peer: Handset, mark: str) -> None:
    """Five messages each way with a phone."""
    for number in range(5):
        session.send(peer.number, f"{mark} out {number}")
        peer.wait_for_text(f"{mark} out {number}")
        peer.send_text(own.number, f"{mark} in {number}")
        session.received(f"{mark} in {number}")


def test_a_folder_of_baileys_becomes_a_session_that_sends_and_receives_everything(
    client: Start, place: Path, stack: Stack, api: Api, ana: Handset, bia: Handset, new_phone: Any, tmp_path: Path
) -> None:
    eva = new_phone("Eva")
    neonize = native(api, eva)
    baileys = client(place, folder=str(tmp_path / "auth")).pair(ana)
    baileys.send(bia.jid, "from Baileys to a phone")
    bia.wait_for_text("from Baileys to a phone")
    # Two real libraries talk with each other through the simulator.
    baileys.send(eva.jid, "from Baileys to neonize")
    neonize.received("from Baileys to neonize")
    neonize.send(ana.number, "from neonize to Baileys")
    baileys.wait("message", text="from neonize to Baileys")
    jid = baileys.all("open")[-1]["jid"]
    baileys.stop()
    bia.send_text(ana.number, "between the two")

    said = stack.manage(
        "import_session", "--from-baileys", str(tmp_path / "auth"), "--session-id", "taken", "--owner", "acme"
    )
    assert "into taken" in said
    taken = Session(api, "taken")
    api.ask("POST", "/api/sessions/taken/start")

    seen = taken.connected()
    assert (seen["jid"], seen["phone"], seen["owner"], seen["name"]) == (jid, ana.number, "acme", "Ana")
    assert len(ana.devices) == 1
    assert stack.query("SELECT count(*) FROM sessions_app_pairinground r JOIN sessions_app_whatsappsession s"
                       " ON s.id = r.session_id WHERE s.session_id = 'taken'") == [(0,)]  # fmt: skip
    taken.received("between the two")
    converse(taken, ana, bia, "with a phone")
    for number in range(5):
        taken.send(eva.number, f"to neonize {number}")
        neonize.received(f"to neonize {number}")
        neonize.send(ana.number, f"from neonize {number}")
        taken.received(f"from neonize {number}")
    assert [line for line in bia.lines if line.error] == []


def test_a_state_that_a_service_keeps_in_oxy_can_be_taken_over(
    client: Start, place: Path, stack: Stack, api: Api, oxy: dict[str, str], ana: Handset, bia: Handset
) -> None:
    client(place, oxy=oxy).pair(ana).stop()

    stack.manage("import_session", "--from-vault", oxy["sessionId"])

    api.ask("POST", f"/api/sessions/{oxy['sessionId']}/start")
    session = Session(api, oxy["sessionId"])
    session.connected()
    converse(session, ana, bia, "from the vault")
    backup = api.ask("POST", f"/api/sessions/{oxy['sessionId']}/backup")
    assert backup["differed"] == 0
