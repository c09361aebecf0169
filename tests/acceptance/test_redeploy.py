"""A deploy as platforms do it: the new release starts beside the old one, answers, and the old one is told to go, or is killed."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from simulator import Simulator
from tests.acceptance.stack import Stack, eventually, free_port
from tests.image import instructions

ANA, BIA, CID = "5511987650001", "5511987650002", "5511987650003"
#: What the image starts; its health check asks the port.
SERVE = [sys.executable, *json.loads(dict(instructions())["CMD"])[1:]]


class Release:
    """Web and worker as one program, with a port and a disk of its own, as a container has."""

    def __init__(self, name: str, stack: Stack) -> None:
        self.name, self._stack, self.port = name, stack, free_port()
        disk = str(stack.folder / f"disk-{name}")
        stack.start(name, SERVE, PORT=str(self.port), WHATSAPP_SESSION_PATH=disk, OXY_LOG_FORMAT="json")

    def is_healthy(self) -> bool:
        try:
            return bool(self.call("GET", "/healthz")["status"] == "alive")
        except OSError:
            return False

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


class Traffic:
    """Whatever the platform's edge leads to: one release, until it is switched to the other."""

    def __init__(self, stack: Stack, release: Release) -> None:
        self._token = stack.manage(
            "create_api_token", "test", "--scope", "read", "--scope", "send", "--scope", "control"
        )
        self.release = release

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return self.release.call(method, path, body, Authorization=f"Bearer {self._token.strip()}", **headers)

    def send(self, text: str) -> None:
        """As a careful program does: again under the same key, where the connection was cut before there was an answer."""
        message = {"to": CID, "text": text}
        while True:
            try:
                self.call("POST", "/api/sessions/desk/messages", message, **{"Idempotency-Key": text})
                return
            except urllib.error.HTTPError:
                raise
            except OSError:
                continue

    def pair(self, name: str, phone: Any) -> str:
        session = self.call("POST", "/api/sessions", {"session_id": name, "name": name})["session_id"]
        self.call("POST", f"/api/sessions/{session}/start")
        return str(phone.scan(eventually(lambda: self._code(session), f"{name}'s code")))

    def _code(self, session: str) -> str:
        try:
            return str(self.call("GET", f"/api/sessions/{session}/qr")["code"])
        except urllib.error.HTTPError as error:
            assert error.code == 409
            return ""

    def statuses(self) -> list[str]:
        return [item["status"] for item in self.call("GET", "/api/sessions")["items"]]


@contextmanager
def talking(traffic: Traffic, sim: Simulator, cid: Any) -> Iterator[list[str]]:
    """A customer writes to Ana's session, and Bia's session to the customer, five times a second; the texts so far."""
    stop, texts = threading.Event(), list[str]()

    def talk() -> None:
        for number in itertools.count():
            if stop.wait(0.2):
                return
            cid.send_text(ANA, f"in {number}")
            traffic.send(f"out {number}")
            texts.append(str(number))

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield texts
    finally:
        stop.set()
        thread.join(20)


@pytest.mark.only_postgresql
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("grace", [30.0, 0.0], ids=["thirty seconds to drain", "killed at once"])
def test_a_deploy_costs_no_scan_and_no_message(sim: Simulator, not_started_stack: Stack, grace: float) -> None:
    stack, cid = not_started_stack, sim.phone(CID, name="Cid")
    old = Release("old", stack)
    eventually(old.is_healthy, "the first release", 60)
    traffic = Traffic(stack, old)
    devices = [traffic.pair("shop", sim.phone(ANA, name="Ana")), traffic.pair("desk", sim.phone(BIA, name="Bia"))]
    eventually(lambda: traffic.statuses() == ["CONNECTED"] * 2, "both sessions")
    rounds = stack.query("SELECT count(*) FROM sessions_app_pairinground")

    with talking(traffic, sim, cid) as texts:
        eventually(lambda: len(texts) > 3, "traffic")
        new = Release("new", stack)
        eventually(new.is_healthy, "the next release", 60)
        eventually(lambda: len(hosts(stack)) == 2, "both workers", 60)
        traffic.release = new
        stopped = end(stack, old, grace)
        eventually(lambda: holders(stack) == {hosts(stack)[-1]}, "the new worker to have all", 60)
        eventually(lambda: sim.connections.live.keys() >= set(devices), "both devices", 60)
        after = len(texts)
        eventually(lambda: len(texts) > after + 3, "traffic after the deploy")

    sent = texts.copy()
    assert stopped == (0 if grace else None)
    eventually(lambda: traffic.statuses() == ["CONNECTED"] * 2, "both sessions again")
    eventually(lambda: came_in(stack) >= {f"in {number}" for number in sent}, "every message to the session", 30)
    wanted = {f"out {number}" for number in sent} - in_doubt(stack)
    eventually(lambda: {line.text for line in cid.inbox} >= wanted, "every message of the session", 30)
    assert len(in_doubt(stack)) <= (0 if grace else 2), "only what was on its way at the very moment"
    assert stack.query("SELECT count(*) FROM sessions_app_pairinground") == rounds
    assert [pair for device in devices for pair in sim.connections.overlaps(device)] == []


def end(stack: Stack, release: Release, grace: float) -> int | None:
    """SIGTERM, and SIGKILL to everything after the platform's time; the exit status where that was not needed."""
    process = stack._processes[release.name]
    process.terminate()
    deadline = time.monotonic() + grace
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if process.poll() is not None:
        return stack._processes.pop(release.name).returncode
    stack.kill(release.name)
    return None


def hosts(stack: Stack) -> list[str]:
    """The workers, oldest first."""
    return [name for (name,) in stack.query("SELECT name FROM sessions_app_host ORDER BY id")]


def holders(stack: Stack) -> set[str]:
    sql = (
        "SELECT host.name FROM sessions_app_whatsappsession AS session LEFT JOIN sessions_app_host AS host"
        " ON host.id = session.lease_host_id AND session.status = 'CONNECTED'"
    )
    return {name for (name,) in stack.query(sql)}


def came_in(stack: Stack) -> set[str]:
    return {text for (text,) in stack.query("SELECT text FROM sessions_app_message WHERE direction = 'in'")}


def in_doubt(stack: Stack) -> set[str]:
    """Texts that Oxy itself says it does not know the fate of."""
    sql = "SELECT text FROM sessions_app_message WHERE direction = 'out' AND reason = 'outcome-unknown'"
    return {text for (text,) in stack.query(sql)}
