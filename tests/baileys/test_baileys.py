"""A real Baileys client from npm that keeps its state in Oxy, over real HTTP: it survives what its machine does not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator import Simulator
from simulator.handset import Handset
from tests import node
from tests.acceptance.stack import Stack, eventually
from tests.baileys.clients import Api, Baileys, LossyProxy, workshop
from tests.processes import ROOT

DOCUMENT = ROOT / "docs" / "baileys.md"
Start = Callable[..., Baileys]


def talk(client: Baileys, own: Handset, peer: Handset, mark: str, turns: int = 5) -> None:
    """Messages both ways, in turn; each must arrive."""
    for number in range(turns):
        client.send(peer.jid, f"{mark} out {number}")
        peer.wait_for_text(f"{mark} out {number}")
        peer.send_text(own.number, f"{mark} in {number}")
        client.wait("message", text=f"{mark} in {number}")


def texts(*clients: Baileys) -> list[str]:
    return [event["text"] for client in clients for event in client.all("message")]


def test_a_client_that_is_killed_and_its_disk_wiped_comes_back_without_a_scan(
    client: Start, place: Path, oxy: dict[str, str], ana: Handset, bia: Handset, tmp_path: Path
) -> None:
    first = client(place, oxy=oxy).pair(ana)
    talk(first, ana, bia, "before")
    first.kill()
    shutil.rmtree(place)
    bia.send_text(ana.number, "while away")

    second = client(workshop(tmp_path / "another machine"), oxy=oxy)

    second.wait("open")
    second.wait("message", text="while away")
    talk(second, ana, bia, "after")
    assert second.all("qr") == []
    assert first.all("undecryptable") == second.all("undecryptable") == []
    assert len(ana.devices) == 1


def test_a_client_killed_in_a_burst_loses_no_message(
    client: Start, place: Path, oxy: dict[str, str], ana: Handset, bia: Handset
) -> None:
    sent = [f"burst {number}" for number in range(60)]
    first = client(place, oxy=oxy).pair(ana)
    talk(first, ana, bia, "before", turns=1)
    for text in sent:
        bia.send_text(ana.number, text)
    first.wait("message", text=sent[10])
    first.kill()

    second = client(place, oxy=oxy)

    # A message whose key was saved and whose receipt was not sent comes again: it is known by then, or asked for once more.
    eventually(lambda: set(sent) <= set(texts(first, second)), "every message of the burst")
    known = {event["id"] for one in (first, second) for event in one.all("message")}
    assert {event["id"] for event in second.all("undecryptable")} <= known
    talk(second, ana, bia, "after", turns=2)


def test_while_oxy_is_away_saving_waits_and_nothing_is_lost(
    client: Start, place: Path, stack: Stack, oxy: dict[str, str], ana: Handset, bia: Handset
) -> None:
    first = client(place, oxy=oxy).pair(ana)
    talk(first, ana, bia, "before", turns=1)

    stack.kill("web")
    bia.send_text(ana.number, "in the dark")
    first.wait("retry")
    stack.start("web")

    first.wait("message", text="in the dark")
    talk(first, ana, bia, "after", turns=1)
    first.kill()
    second = client(place, oxy=oxy)
    second.wait("open")
    talk(second, ana, bia, "restored", turns=2)


def test_a_state_that_was_deleted_under_a_running_client_is_stored_again_as_a_whole(
    client: Start, place: Path, oxy: dict[str, str], api: Api, ana: Handset, bia: Handset
) -> None:
    first = client(place, oxy=oxy).pair(ana)
    talk(first, ana, bia, "before", turns=1)

    api.ask("DELETE", f"/api/session/delete?session_id={oxy['sessionId']}")
    talk(first, ana, bia, "deleted", turns=1)
    first.kill()

    second = client(place, oxy=oxy)
    second.wait("open")
    talk(second, ana, bia, "restored", turns=2)
    assert second.all("qr") == []


def test_an_answer_that_is_lost_is_no_reason_to_stop(
    client: Start, place: Path, oxy: dict[str, str], ana: Handset, bia: Handset
) -> None:
    proxy = LossyProxy(oxy["url"])
    first = client(place, oxy=oxy | {"url": proxy.url}).pair(ana)
    talk(first, ana, bia, "before", turns=1)

    proxy.lose(2)
    talk(first, ana, bia, "lost", turns=2)
    assert proxy.lost.acquire(timeout=5)
    first.wait("retry")
    assert first.all("not-saved") == []
    first.kill()
    proxy.close()

    second = client(place, oxy=oxy)
    second.wait("open")
    talk(second, ana, bia, "restored", turns=2)


def test_a_client_whose_state_another_has_changed_saves_nothing_more_and_says_so(
    client: Start, place: Path, oxy: dict[str, str], api: Api, ana: Handset, bia: Handset
) -> None:
    first = client(place, oxy=oxy).pair(ana)
    talk(first, ana, bia, "before", turns=1)
    path = f"/api/session/restore?session_id={oxy['sessionId']}"
    other = {"session_id": oxy["sessionId"], "session_data": {"session-other.json": "{}"}}
    api.ask("PATCH", "/api/session/backup", other)
    theirs = api.ask("GET", path)

    bia.send_text(ana.number, "to the one that came too late")

    first.wait("not-saved", code="backup-changed")
    assert api.ask("GET", path) == theirs


@pytest.mark.parametrize("wrong", ["token", "address"])
def test_a_state_that_could_not_be_read_is_never_taken_for_none(
    client: Start, place: Path, sim: Simulator, oxy: dict[str, str], ana: Handset, wrong: str
) -> None:
    client(place, oxy=oxy).pair(ana).stop()
    # The simulator's control server has another kind of 404 to give.
    broken: dict[str, Any] = {"token": {"token": "oxy_wrong"}, "address": {"url": sim.control_url}}[wrong]

    second = client(place, oxy=oxy | broken)

    assert second.process.wait(20) != 0
    assert second.all("state") == second.all("qr") == []
    assert "OxyError" in second.log.read_text()
    assert oxy["token"] not in second.log.read_text()


def test_the_command_in_the_documentation_moves_a_folder_to_oxy(
    client: Start, place: Path, oxy: dict[str, str], api: Api, ana: Handset, bia: Handset, tmp_path: Path
) -> None:
    first = client(place, folder=str(tmp_path / "auth_info")).pair(ana)
    talk(first, ana, bia, "before", turns=1)
    first.stop()
    documented = re.search(r"```sh\n(node .*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert documented
    command = documented[1].replace("node ", f"{node.ensure().node} ", 1)
    environment = {**os.environ, "OXY_URL": oxy["url"], "OXY_TOKEN": oxy["token"]}

    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=30
    )

    assert done.stdout.startswith("200 "), done
    stored = api.ask("GET", "/api/session/restore?session_id=shop")["session_data"]
    assert stored == {file.name: file.read_text() for file in (tmp_path / "auth_info").iterdir()}
    second = client(place, oxy=oxy | {"sessionId": "shop"})
    second.wait("open")
    talk(second, ana, bia, "moved", turns=2)


def test_a_folder_of_baileys_talks_and_restarts_with_the_simulator(
    client: Start, place: Path, ana: Handset, bia: Handset, tmp_path: Path
) -> None:
    first = client(place, folder=str(tmp_path / "auth")).pair(ana)
    talk(first, ana, bia, "before")
    first.stop()
    bia.send_text(ana.number, "while away")

    second = client(place, folder=str(tmp_path / "auth"))

    second.wait("message", text="while away")
    talk(second, ana, bia, "after")
    assert second.all("qr") == []
