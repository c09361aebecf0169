"""The control server and the command line that speaks to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simulator import Simulator
from simulator.__main__ import main

from .conftest import ANA, BOB

ROOT = Path(__file__).parents[2]


def ask(simulator: Simulator, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", simulator.ports.control, timeout=5)
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(method, path, None if body is None else json.dumps(body), sent)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text) if response.headers[
        "Content-Type"
    ] == "application/json" else text.decode()


def test_a_phone_is_made_and_shown(simulator: Simulator) -> None:
    assert ask(simulator, "POST", "/api/phones", {"number": ANA, "name": "Ana"})[0] == 201
    status, shown = ask(simulator, "GET", f"/api/phones/{ANA}")
    assert (status, shown["name"], shown["online"], shown["devices"], shown["messages"]) == (200, "Ana", True, [], [])
    assert [phone["number"] for phone in ask(simulator, "GET", "/api/phones")[1]["phones"]] == [ANA]


def test_messages_go_out_and_come_in(simulator: Simulator) -> None:
    bob = simulator.phone(BOB)
    simulator.phone(ANA)
    assert ask(simulator, "POST", f"/api/phones/{ANA}/send", {"to": BOB, "text": "hi"})[0] == 201
    bob.wait_for_text("hi")
    assert [line["text"] for line in ask(simulator, "GET", f"/api/phones/{BOB}")[1]["messages"]] == ["hi"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/api/phones", {"number": "1"}, 409, "bad-number"),
        ("POST", "/api/phones", {}, 400, "bad-request"),
        ("POST", "/api/phones", [], 400, "bad-json"),
        ("GET", "/api/phones/5511900000000", None, 404, "no-such-phone"),
        ("POST", f"/api/phones/{ANA}/scan", {"code": "nonsense"}, 409, "bad-code"),
        ("POST", f"/api/phones/{ANA}/unlink", {"jid": f"{ANA}:7@s.whatsapp.net"}, 409, "no-such-device"),
        ("POST", f"/api/phones/{ANA}/unlink", {"jid": "?"}, 400, "bad-request"),
        ("POST", f"/api/phones/{ANA}/online", {"online": "yes"}, 400, "bad-request"),
        ("POST", "/api/faults/nonsense", {}, 400, "bad-request"),
        ("GET", "/../simulator.sqlite3", None, 404, "not-found"),
    ],
)
def test_what_can_not_be_done_is_said_with_a_code(
    simulator: Simulator, method: str, path: str, body: Any, status: int, code: str
) -> None:
    simulator.phone(ANA)
    got, answer = ask(simulator, method, path, body)
    assert (got, answer["code"]) == (status, code)
    assert answer["error"].endswith(".")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "foreign-host"),
        ({"Origin": "http://evil.example"}, "foreign-origin"),
        ({"Origin": "null"}, "foreign-origin"),
        ({"Content_Type": "text/plain"}, "not-json"),
    ],
)
def test_other_sites_can_not_drive_the_phones(simulator: Simulator, headers: dict[str, str], code: str) -> None:
    status, answer = ask(simulator, "POST", "/api/phones", {"number": ANA}, **headers)
    assert answer["code"] == code
    assert status in (403, 415)
    assert simulator.phones == []


def test_the_page_and_its_files_are_served_with_a_strict_policy(simulator: Simulator) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", simulator.ports.control, timeout=5)
    connection.request("GET", "/")
    response = connection.getresponse()
    page = response.read().decode()
    connection.close()
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert "<style" not in page
    assert "style=" not in page
    assert "onclick" not in page
    for path in ("/phone.js", "/phone.css"):
        assert path.lstrip("/") in page
        assert ask(simulator, "GET", path)[0] == 200


def test_faults_are_listed_caused_and_cleared(simulator: Simulator) -> None:
    assert "ban" in ask(simulator, "GET", "/api/faults")[1]["faults"]
    assert ask(simulator, "POST", "/api/faults/slow", {"seconds": 1.5})[1]["active"] == {"slow": {"seconds": 1.5}}
    assert simulator.faults.active == {"slow": {"seconds": 1.5}}
    assert ask(simulator, "DELETE", "/api/faults")[1]["active"] == {}


def test_the_command_line_drives_a_phone(simulator: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    bob = simulator.phone(BOB)
    control = ["--control", simulator.control_url]
    assert main(["phone", *control, "send", "--number", ANA, "--name", "Ana", "--to", BOB, "hello"]) == 0
    assert bob.wait_for_text("hello").id == capsys.readouterr().out.strip()
    assert main(["phone", *control, "messages", "--number", BOB]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == "hello"
    assert main(["phone", *control, "scan", "--number", ANA, "nonsense"]) == 1
    assert "not a code" in capsys.readouterr().err
    assert main(["fault", *control, "slow", "seconds=2"]) == 0
    assert simulator.faults.active == {"slow": {"seconds": 2.0}}
    assert main(["fault", *control, "clear"]) == 0
    assert simulator.faults.active == {}


def test_no_simulator_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phone", "--control", "http://127.0.0.1:9", "show", "--number", ANA]) == 1
    assert capsys.readouterr().err == "No simulator answers at http://127.0.0.1:9.\n"


def run(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "simulator", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_program_prints_one_ready_line_and_ends_cleanly(tmp_path: Path, how: signal.Signals) -> None:
    with run("--state", str(tmp_path)) as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        assert set(ready) == {"proxy", "ca_file", "root_key", "control", "ws", "environment"}
        process.send_signal(how)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_the_program_makes_the_phones_that_there_should_be_once(tmp_path: Path) -> None:
    for name in ("Ana", "Someone else"):
        with run("--state", str(tmp_path), f"--phone=5511987650001={name}") as process:
            assert process.stdout
            json.loads(process.stdout.readline())
            process.terminate()
            process.communicate(timeout=10)
    with Simulator(state_dir=tmp_path) as simulator:
        assert [(phone.number, phone.name) for phone in simulator.phones] == [("5511987650001", "Ana")]


def test_the_program_says_in_one_sentence_that_a_port_is_in_use(tmp_path: Path, simulator: Simulator) -> None:
    with run("--state", str(tmp_path / "other"), "--control-port", str(simulator.ports.control)) as process:
        out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, "")
    assert err == f"The port {simulator.ports.control} on 127.0.0.1 is in use by another program; choose another one.\n"
