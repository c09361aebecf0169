"""docs/api.md tells the truth: its commands are run in order against real processes, and its answers have the shape that it shows.

Where the page says in a comment that a phone does something, the simulated phone does it.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sessions_app.api.errors import ERRORS
from tests.acceptance.stack import Stack
from tests.processes import ROOT

PAGE = ROOT / "docs" / "api.md"
ANA, BIA = "5511987650001", "5511987650002"
PART = re.compile(r"^```(sh|json)\n(.*?)^```$|^<!-- (.*?) -->$", re.M | re.S)
END = "--- done ---"


class Shell:
    """One shell for the whole page, since its parts use each other's names; the first command that fails ends it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "-e", "-o", "pipefail"],
            cwd=folder,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, commands: str) -> str:
        """What the commands print."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{commands}\necho; echo '{END}'\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line.strip() == END:
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"it failed:\n{commands}\n{''.join(lines)}")

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def shell(stack: Stack, tmp_path: Path) -> Iterator[Shell]:
    token = stack.manage("create_api_token", "shop-bot").strip()
    running = Shell(tmp_path, stack.environment | {"OXY": stack.url, "TOKEN": token})
    yield running
    running.end()


def shape(value: Any) -> Any:
    """Names and kinds, without the values."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items() if name != "detail"}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return "text or null" if value is None or isinstance(value, str) else type(value).__name__


def answer(printed: str) -> Any:
    """The last line that a part printed, as JSON."""
    return json.loads(printed.strip().splitlines()[-1])


@pytest.mark.timeout(180)
def test_the_page_can_be_followed_word_by_word(stack: Stack, shell: Shell, tmp_path: Path) -> None:
    ana, bia = stack.sim.phone(ANA, name="Ana"), stack.sim.phone(BIA, name="Bia")
    printed, shown = "", 0
    deeds: dict[str, Callable[[], object]] = {
        "the phone scans": lambda: ana.scan(answer(printed)["code"]),
        "the other phone types the code": lambda: bia.enter_code(answer(printed)["code"]),
    }
    for kind, body, deed in PART.findall(PAGE.read_text()):
        if deed:
            deeds.pop(deed)()
        elif kind == "sh":
            printed = shell.run(body)
        else:
            assert shape(answer(printed)) == shape(json.loads(body))
            shown += 1
    assert not deeds
    assert shown > 5
    assert (tmp_path / "qr.png").read_bytes().startswith(b"\x89PNG")
    assert not ana.devices


def test_every_code_of_an_error_is_documented() -> None:
    text = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert {code for code in ERRORS if f"`{code}`" not in text} == {"not-ready"}  # of /readyz alone
