"""The tour of `docs/tour.md`, walked by a browser: from the first sign-in to a phone that unlinks. `make tour` renews its pictures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import BytesIO
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.stack import Stack
from tests.acceptance.test_first_light import ANA, BIA, ana_jid, new_session, sign_in, status
from tests.processes import ROOT

pytestmark = pytest.mark.only_sqlite

FOLDER = ROOT / ("docs/images" if os.environ.get("OXY_TOUR") else "var/screenshots/tour")
LAPTOP, HANDSET = {"width": 1120, "height": 720}, {"width": 400, "height": 720}
LARGEST = 100_000
#: Milliseconds that anything may take on a busy machine.
PATIENCE = 30_000


def keep(name: str, *shots: bytes) -> None:
    """One picture, or several beside each other; few colours are enough for these pages, and make small files."""
    images = [Image.open(BytesIO(shot)).convert("RGB") for shot in shots]
    width = sum(image.width for image in images) + 16 * (len(images) - 1)
    whole = Image.new("RGB", (width, max(image.height for image in images)), "#c9cdd1")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width + 16
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.png"
    for colours in (96, 48, 24, 12):
        whole.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= LARGEST:
            break


def top(page: Page, height: int = 0) -> bytes:
    """What a page shows without scrolling, or its first pixels."""
    clip: Any = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": height} if height else None  # type: ignore[index]
    return page.screenshot(full_page=bool(height), clip=clip)


@pytest.fixture
def window(browser: Browser, stack: Stack) -> Any:
    context = browser.new_context(viewport=LAPTOP, locale="en-US", reduced_motion="reduce")  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


def test_a_person_with_no_manual_links_a_phone_talks_and_sees_any_trouble(window: Any, stack: Stack) -> None:
    console = window.new_page()
    sign_in(console, stack)
    keep("empty", top(console, 420))
    new_session(console, "Bakery downtown")
    phone = scan(console, stack)
    talk(console, phone, stack)
    cause_trouble(console, phone)
    unlink(console, phone, stack)


def scan(console: Page, stack: Stack) -> Page:
    """The simulated phone scans what is on the screen."""
    stack.sim.phone(BIA, name="Bia")
    with console.expect_popup() as opening:
        console.get_by_role("button", name="Scan with the simulated phone").click()
    phone = opening.value
    phone.set_viewport_size(HANDSET)
    phone.get_by_label("Phone number, with country code").fill(ANA)
    phone.locator("#new-name").fill("Ana")
    phone.get_by_role("button", name="Add phone").click()
    expect(phone.locator("#offer")).to_be_visible(timeout=PATIENCE)
    phone.locator("#phone").scroll_into_view_if_needed()
    phone.evaluate("document.getElementById('phone').scrollIntoView()")
    keep("demo", top(console), top(phone))
    keep("pairing", top(console, 900))
    phone.get_by_role("button", name="Scan it").click()
    status(console, "CONNECTED")
    return phone


def talk(console: Page, phone: Page, stack: Stack) -> None:
    """Bia writes to the bakery, which answers from the console."""
    bia = stack.sim.phone(BIA)
    bia.send_text(ANA, "Good morning! Do you have sourdough today?")
    expect(console.locator("#messages")).to_contain_text("sourdough", timeout=PATIENCE)
    console.locator("#send-to").fill("+55 11 98765-0002")
    console.locator("#send-text").fill("Good morning! Yes, fresh at ten.")
    console.locator("#send button").click()
    bia.wait_for_text("Good morning! Yes, fresh at ten.", timeout=30)
    expect(console.locator("#messages .message-out .ticks")).to_contain_text(
        re.compile("delivered|read"), timeout=PATIENCE
    )
    console.get_by_role("button", name="Back up now").click()
    expect(console.locator("#backups")).to_be_visible(timeout=PATIENCE)
    keep("session", top(console, 1150))
    phone.get_by_role("button", name="Bia").click()
    expect(phone.locator("#messages")).to_contain_text("fresh at ten", timeout=PATIENCE)
    phone.evaluate("document.getElementById('phone').scrollIntoView()")
    keep("phone", top(phone, 1700))


def cause_trouble(console: Page, phone: Page) -> None:
    """WhatsApp is gone for a while: the page says so, and what happens next."""
    phone.get_by_text("Cause trouble").click()
    phone.locator("[data-fault=outage]").get_by_label("seconds").fill("0")
    phone.locator("[data-fault=outage]").get_by_role("button").click()
    status(console, "WAITING", timeout=60_000)
    phone.locator("#faults").evaluate("(panel) => panel.scrollIntoView()")
    keep("trouble", top(console, 720), top(phone))
    phone.get_by_role("button", name="End all trouble").click()
    status(console, "CONNECTED", timeout=60_000)


def unlink(console: Page, phone: Page, stack: Stack) -> None:
    """Whoever holds the phone ends it."""
    stack.sim.phone(ANA).unlink(ana_jid(stack))
    status(console, "LOGGED_OUT")
    keep("logged-out", top(console, 640))


def test_the_other_pages_have_something_to_show(window: Any, stack: Stack, browser: Browser) -> None:
    program = [sys.executable, "-m", "tests.acceptance.showcase_child"]
    subprocess.run(program, cwd=ROOT, env=stack.environment, check=True, stdout=subprocess.DEVNULL, timeout=120)
    page = window.new_page()
    sign_in(page, stack)
    small = browser.new_context(
        viewport={"width": 320, "height": 1000},
        locale="en-US",
        color_scheme="dark",
        storage_state=window.storage_state(),
    )
    show(page, stack, "/", "overview", 1380)
    show(page, stack, "/sessions/deleting/confirm/delete", "delete", 440)
    show(page, stack, "/sessions/timed-out/", "timed-out", 620)
    show(page, stack, "/webhooks/", "webhooks", 620)
    show(page, stack, "/tokens/", "tokens", 560)
    show(page, stack, "/admin/sessions_app/whatsappsession/", "admin", 900)
    phone = small.new_page()
    phone.goto(stack.url)
    list_, session = top(phone), b""
    phone.goto(f"{stack.url}/sessions/connected/")
    session = top(phone)
    phone.goto(f"{stack.url}/sessions/replaced/")
    keep("small", list_, session, top(phone))
    small.close()


def show(page: Page, stack: Stack, path: str, name: str, height: int) -> None:
    page.goto(f"{stack.url}{path}")
    expect(page.locator("#feed:not([data-state=up])")).to_have_count(0, timeout=PATIENCE)
    keep(name, top(page, height))


def test_every_picture_of_the_tour_is_there_and_small() -> None:
    for document in (ROOT / "docs" / "tour.md", ROOT / "README.md"):
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", document.read_text()):
            assert (document.parent / target).stat().st_size <= LARGEST, target
