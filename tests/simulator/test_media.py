"""The media server and what phones do with it: files come back whole, or not at all."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator import PhoneError, Simulator, contents, media

from .conftest import ANA, BOB


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(state_dir=tmp_path) as running:
        yield running


def ask(simulator: Simulator, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """A request as a client makes it: by name, through the proxy."""
    context = ssl.create_default_context(cafile=str(simulator.ca_file))
    connection = http.client.HTTPSConnection("127.0.0.1", simulator.ports.proxy, timeout=5, context=context)
    connection.set_tunnel(media.HOST, 443)
    connection.request(method, path, body)
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return answer.status, read


def upload(simulator: Simulator, data: bytes, **wrong: str) -> tuple[int, dict[str, Any]]:
    token = wrong.get("token", media._token(hashlib.sha256(data).digest()))
    query = f"auth={wrong.get('auth', media.AUTH)}&token={wrong.get('again', token)}"
    status, body = ask(simulator, "POST", f"/mms/{wrong.get('kind', 'image')}/{token}?{query}", data)
    return status, json.loads(body)


def test_what_was_uploaded_is_given_to_who_names_its_hash(simulator: Simulator) -> None:
    data = bytes(range(256)) * 8192
    status, answer = upload(simulator, data)
    assert status == 200
    assert answer["url"] == f"https://{media.HOST}{answer['direct_path']}"
    token = media._token(hashlib.sha256(data).digest())
    assert ask(simulator, "GET", f"{answer['direct_path']}&hash={token}&mms-type=image") == (200, data)
    assert ask(simulator, "GET", f"{answer['direct_path']}&hash=wrong")[0] == 403


@pytest.mark.parametrize(
    ("wrong", "status"),
    [({"token": "AAAA"}, 400), ({"again": "AAAA"}, 400), ({"auth": "guessed"}, 401), ({"kind": "nonsense"}, 404)],
)
def test_what_does_not_fit_is_refused(simulator: Simulator, wrong: dict[str, str], status: int) -> None:
    assert upload(simulator, b"data", **wrong)[0] == status
    assert not (simulator.state_dir / "media").exists()


def test_a_file_that_nobody_has_uploaded_is_not_there(simulator: Simulator) -> None:
    for name in ("0" * 64, "..%2Fserver.pem", "../server.pem", ""):
        assert ask(simulator, "GET", f"/v/t62.7118-24/{name}?hash=x")[0] == 404


def test_a_file_is_opened_by_its_own_key_and_kind_alone(simulator: Simulator) -> None:
    ana, bob = simulator.phone(ANA, name="Ana"), simulator.phone(BOB, name="Bob")
    ana.send_file(BOB, "document", b"the menu", "text/plain", "look", name="menu.txt")
    line = bob.wait_for(lambda line: line.kind == "document")
    assert (line.text, line.content["fileName"], bob.open_file(line)) == ("look", "menu.txt", b"the menu")
    for change in ({"mediaKey": "00" * 32}, {"encHash": "00" * 32}, {"fileHash": "00" * 32}, {"fileLength": 1}):
        broken = type(line)(**(vars(line) | {"content": line.content | change}))
        with pytest.raises(PhoneError):
            bob.open_file(broken)


def test_media_refused_takes_and_gives_no_file_until_it_is_cleared(simulator: Simulator) -> None:
    simulator.faults.media_refused(status=503)
    assert upload(simulator, b"data")[0] == 503
    simulator.faults.clear()
    assert upload(simulator, b"data")[0] == 200


def test_media_lost_throws_all_files_away(simulator: Simulator) -> None:
    _, answer = upload(simulator, b"data")
    simulator.faults.media_lost()
    token = media._token(hashlib.sha256(b"data").digest())
    assert ask(simulator, "GET", f"{answer['direct_path']}&hash={token}")[0] == 404


def test_an_outage_closes_the_media_server_too(simulator: Simulator) -> None:
    simulator.faults.outage(seconds=0, mode="503")
    assert upload(simulator, b"data")[0] == 503
    simulator.faults.clear()
    assert upload(simulator, b"data")[0] == 200


def test_every_kind_is_shown_as_it_was_made() -> None:
    assert contents.read(contents.text("hi")) == ("text", "hi", {})
    assert contents.read(contents.reply("yes", "3A", "1@lid", "open?")) == (
        "text", "yes", {"quotes": "3A", "of": "1@lid", "quoted": "open?"},
    )  # fmt: skip
    kind, text, content = contents.read(contents.reaction("👍", "3A", "1@lid", from_me=True)) or ("", "", {})
    assert (kind, text, content["reacts_to"], content["from_me"]) == ("reaction", "👍", "3A", True)
    assert contents.read(contents.location(1.5, -2.5, "Shop")) == (
        "location", "Shop", {"latitude": 1.5, "longitude": -2.5, "address": ""},
    )  # fmt: skip
    assert contents.read(media.Message()) is None
