"""A running installation, a browser, and a place for screenshots (`var/screenshots`, kept after the run)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from simulator import Simulator
from tests import browser as chromium
from tests.acceptance.stack import Stack
from tests.processes import ROOT


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    # Not for the session: as long as it runs, no test of other folders can run an event loop of its own.
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(**chromium.launch_options())
        yield running
        running.close()


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(state_dir=tmp_path / "simulator") as running:
        yield running


@pytest.fixture
def not_started_stack(tmp_path: Path, sim: Simulator) -> Iterator[Stack]:
    stack = Stack(tmp_path, sim)
    try:
        stack.set_up()
        yield stack
    finally:
        stack.stop_all()


@pytest.fixture
def stack(not_started_stack: Stack) -> Stack:
    not_started_stack.start("web")
    not_started_stack.start("worker")
    return not_started_stack


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test on any error of a script, and on any breach of the content security policy."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    context.set_default_timeout(20_000)
    opened, errors = context.new_page(), []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None)
    yield opened
    context.close()
    assert errors == []


@pytest.fixture
def keep(request: pytest.FixtureRequest):
    """`keep(page, "name")` keeps a screenshot of the state that the test is in."""
    database = "postgresql" if os.environ.get("OXY_TEST_DATABASE_URL") else "sqlite"
    folder = ROOT / "var" / "screenshots" / database / request.node.name
    folder.mkdir(parents=True, exist_ok=True)

    def shoot(page: Page, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png", full_page=True)

    return shoot
