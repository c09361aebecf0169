"""What the console's own scripts do, in a real browser against real processes."""

from __future__ import annotations

import os
import signal
from typing import Any

from playwright.sync_api import Page, expect

from tests.acceptance.stack import Stack
from tests.acceptance.test_first_light import ANA, code_on, new_session, sign_in, status

Keep = Any


def feed(page: Page, state: str) -> None:
    expect(page.locator("#feed")).to_have_attribute("data-state", state)
    notice = page.get_by_text("The live feed is down")
    if state == "up":
        expect(notice).to_be_hidden()
    else:
        expect(notice).to_be_visible()


def test_a_page_says_that_its_feed_is_down_and_catches_up_when_it_returns(page: Page, stack: Stack, keep: Keep) -> None:
    sign_in(page, stack)
    new_session(page, "Shop downtown")
    feed(page, "up")
    code = code_on(page)

    stack.stop("web")
    feed(page, "down")
    keep(page, "the feed is down")
    stack.sim.phone(ANA, name="Ana").scan(code)
    stack.start("web")

    status(page, "CONNECTED")
    feed(page, "up")


def test_a_server_that_falls_silent_is_noticed_and_one_new_socket_is_made(page: Page, stack: Stack) -> None:
    """Nothing closes the socket of a machine that froze, or of a cable that was pulled."""
    page.clock.install()
    sign_in(page, stack)
    new_session(page, "Shop downtown")
    feed(page, "up")
    sockets: list[Any] = []
    page.on("websocket", lambda socket: sockets.append(socket))

    server = stack._processes["web"].pid
    os.kill(server, signal.SIGSTOP)
    try:
        page.clock.fast_forward(60_000)
        expect(page.locator("#feed")).to_have_attribute("data-state", "down")
    finally:
        os.kill(server, signal.SIGCONT)
    expect(page.locator("#feed")).to_have_attribute("data-state", "up")
    page.clock.fast_forward(20_000)
    expect(page.locator("#feed")).to_have_attribute("data-state", "up")
    assert len(sockets) <= 2


def test_the_simulated_phone_scans_what_the_page_shows(page: Page, stack: Stack, keep: Keep) -> None:
    sign_in(page, stack)
    new_session(page, "Shop downtown")
    with page.expect_popup() as opening:
        page.get_by_role("button", name="Scan with the simulated phone").click()
    phone = opening.value
    phone.get_by_label("Phone number, with country code").fill(ANA)
    phone.locator("#new-name").fill("Ana")
    phone.get_by_role("button", name="Add phone").click()
    phone.get_by_role("button", name="Scan it").click()
    status(page, "CONNECTED")
    expect(page.locator("#push-name")).to_have_text("Ana")
    assert "2@" not in phone.url
    keep(phone, "the simulated phone")


def test_what_somebody_types_outlives_the_news(page: Page, stack: Stack) -> None:
    sign_in(page, stack)
    new_session(page, "Shop downtown")
    field = page.get_by_label("Phone number")
    field.press_sequentially("+55 ")

    other = page.context.new_page()
    other.goto(page.url)
    other.get_by_role("button", name="Stop").click()
    expect(page.locator("#qr")).to_have_attribute("data-state", "dead")

    expect(field).to_be_focused()
    field.press_sequentially("11")
    page.get_by_role("button", name="Get a code").click()
    expect(page.locator("#phone-error")).to_have_text("This number is too short. Does it have its country code?")
    expect(field).to_have_value("+55 11")

    # The answer to a click holds every panel, and so the form too.
    page.get_by_role("button", name="New round").click()
    expect(page.locator("#qr")).to_have_attribute("data-state", "live")
    expect(field).to_have_value("+55 11")


def test_the_list_says_by_itself_when_the_last_worker_goes(page: Page, stack: Stack, keep: Keep) -> None:
    sign_in(page, stack)
    expect(page.get_by_text("No worker is running")).to_have_count(0)
    stack.stop("worker")
    expect(page.get_by_text("No worker is running")).to_be_visible()
    keep(page, "no worker")
    stack.start("worker")
    expect(page.get_by_text("No worker is running")).to_have_count(0)
