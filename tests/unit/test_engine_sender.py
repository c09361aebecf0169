"""How files get to WhatsApp before their messages do, with a library that does as it is told."""

from __future__ import annotations

import queue
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sessions_app.engine import events, sender
from sessions_app.engine.library import LibraryError
from sessions_app.engine.sender import Sender
from sessions_app.engine.turns import Turns
from tests.unit.test_engine_translate import e2e, neonize

__all__ = ["e2e", "neonize"]


class Told:
    """The library: each upload and send takes its next answer from a list, an exception being one."""

    def __init__(self, e2e: Any, uploads: list[Any], sends: list[Any]) -> None:
        self.new_message, self.uploads, self.sends = e2e.Message, uploads, sends

    def upload(self, uuid: str, kind: str, data: bytes) -> Any:
        return self._next(self.uploads)

    def send(self, uuid: str, user: str, server: str, message: Any) -> Any:
        return self._next(self.sends)

    @staticmethod
    def _next(answers: list[Any]) -> Any:
        answer = answers.pop(0)
        answer = answer() if callable(answer) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer


UPLOADED = SimpleNamespace(
    url="https://x/1", DirectPath="/1", MediaKey=b"k", FileEncSHA256=b"e", FileSHA256=b"f", FileLength=4
)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "UPLOAD_PAUSES", (0.0, 0.0, 0.0))


def answer_to(library: Any, path: Path, live: list[bool] | None = None) -> Any:
    """What is said about one image."""
    said: queue.SimpleQueue[Any] = queue.SimpleQueue()
    live = live or [True]
    pipe: Any = SimpleNamespace(send=said.put)
    content = {"mimetype": "image/png"}
    Sender("shop", "u", library, pipe, turns=Turns(), may_send=lambda: live[0], own=lambda: "1@s.whatsapp.net").send(
        events.SendMessage(session="shop", ref="1", to="5511", kind="image", content=content, path=str(path))
    )
    return said.get(timeout=10)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(b"data")
    return path


def test_an_upload_that_failed_twice_is_tried_a_third_time(e2e: Any, image: Path) -> None:
    refused = LibraryError("upload failed with status code 500")
    said = answer_to(Told(e2e, [refused, refused, UPLOADED], [("3EB0", 1)]), image)
    assert said == events.MessageSent(session="shop", ref="1", message_id="3EB0", timestamp=1)


def test_a_file_that_is_not_taken_ends_its_message(e2e: Any, image: Path) -> None:
    said = answer_to(Told(e2e, [LibraryError("upload failed with status code 413")] * 3, []), image)
    assert (said.tried, said.not_uploaded, said.in_doubt) == (True, True, False)


def test_a_file_that_cannot_go_now_is_given_back(e2e: Any, image: Path) -> None:
    away = LibraryError("failed to refresh media connections: websocket not connected")
    said = answer_to(Told(e2e, [away] * 3, []), image)
    assert (said.tried, said.not_uploaded) == (False, False)


def test_a_message_whose_run_ended_during_its_upload_is_never_handed_over(e2e: Any, image: Path) -> None:
    live = [True]

    def ends() -> Any:
        live[0] = False
        return UPLOADED

    said = answer_to(Told(e2e, [ends], []), image, live)
    assert (said.tried, said.in_doubt) == (False, False)


def test_an_upload_that_never_ends_holds_nobody_up_for_long(e2e: Any, image: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr(sender, "UPLOAD_SECONDS", 0.05)
    never: queue.SimpleQueue[Any] = queue.SimpleQueue()
    said = answer_to(Told(e2e, [never.get], []), image)
    never.put(UPLOADED)
    assert (said.tried, said.not_uploaded) == (True, True)


def test_whatever_breaks_is_in_doubt_and_the_next_one_goes_out(e2e: Any, image: Path) -> None:
    said = answer_to(Told(e2e, [UPLOADED], [RuntimeError("a private word")]), image)
    assert (said.tried, said.in_doubt) == (True, True)
    assert "private" not in said.error


def test_a_file_that_is_gone_is_said(e2e: Any, tmp_path: Path) -> None:
    assert answer_to(Told(e2e, [], []), tmp_path / "nothing").not_uploaded
