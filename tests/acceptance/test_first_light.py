"""A person pairs a session in a browser; then everything but the database is lost, and no second scan is needed."""

from __future__ import annotations

import re
import sys

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.stack import Stack, eventually

ANA, BIA = "5511987650001", "5511987650002"
SHOWN_NUMBER = re.compile(r"\+55 ?\(?11\)? ?98765-?0001")


def sign_in(page: Page, stack: Stack) -> None:
    page.goto(stack.url)
    page.get_by_label("User name").fill(stack.user)
    page.get_by_label("Password").fill(stack.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Sessions", exact=True)).to_be_visible()


def new_session(page: Page, name: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="New session").click()
    expect(page.locator("#qr")).to_have_attribute("data-state", "live")


def status(page: Page, wanted: str, timeout: float = 30_000) -> None:
    expect(page.locator("#status")).to_have_attribute("data-status", wanted, timeout=timeout)


def code_on(page: Page) -> str:
    return page.locator("#qr").get_attribute("data-code") or ""


def pair_in_browser(page: Page, stack: Stack) -> None:
    sign_in(page, stack)
    new_session(page, "Shop downtown")
    stack.sim.phone(ANA, name="Ana").scan(code_on(page))
    status(page, "CONNECTED")
    expect(page.locator("#phone")).to_have_text(SHOWN_NUMBER)
    expect(page.locator("#push-name")).to_have_text("Ana")


def rounds(stack: Stack) -> int:
    return int(stack.query("SELECT count(*) FROM sessions_app_pairinground")[0][0])


def test_a_person_pairs_and_a_lost_machine_costs_no_scan_and_no_message(page, stack, keep):
    ana, bia = stack.sim.phone(ANA, name="Ana"), stack.sim.phone(BIA, name="Bia")
    page.goto(stack.url)
    keep(page, "1 sign in")
    sign_in(page, stack)
    keep(page, "2 no sessions yet")
    new_session(page, "Shop downtown")
    expect(page.locator("#qr-count")).to_have_text("code 1 of 6")
    keep(page, "3 a code")
    ana.scan(code_on(page))
    status(page, "CONNECTED")
    expect(page.locator("#phone")).to_have_text(SHOWN_NUMBER)
    expect(page.locator("#push-name")).to_have_text("Ana")
    bia.send_text(ANA, "Are you open?")
    expect(page.locator("#messages")).to_contain_text("Are you open?")
    keep(page, "4 connected")

    stack.kill("worker")
    stack.wipe_live_stores()
    bia.send_text(ANA, "Hello? Anybody there?")
    stack.start("worker")

    expect(page.locator("#messages")).to_contain_text("Hello? Anybody there?", timeout=60_000)
    status(page, "CONNECTED")
    keep(page, "5 back without a scan")
    assert rounds(stack) == 1
    assert stack.sim.connections.overlaps(ana_jid(stack)) == []


def ana_jid(stack: Stack) -> str:
    return str(stack.query("SELECT jid FROM sessions_app_whatsappsession")[0][0])


WITHOUT_WRITE_THROUGH = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "oxy.settings"
import django
django.setup()
from sessions_app.vault import store
store.save = lambda session, epoch, changes: None
store.save_snapshot = lambda session, epoch, snapshot: store.Difference()
from django.core.management import call_command
call_command("runhost")
"""


def test_without_the_write_through_the_same_loss_would_cost_a_scan(page, not_started_stack, keep):
    """Shows that the test above can fail: what it proves is the write-through's doing."""
    stack = not_started_stack
    stack.start("web")
    stack.start("worker", [sys.executable, "-c", WITHOUT_WRITE_THROUGH])
    pair_in_browser(page, stack)

    stack.kill("worker")
    stack.wipe_live_stores()
    stack.start("worker")

    status(page, "FAILED", timeout=60_000)
    expect(page.locator("#cause")).to_contain_text("holds no credentials")
    expect(page.locator("#qr")).to_have_count(0)
    keep(page, "credentials missing")


def test_a_stop_and_a_start_need_no_scan(page, stack):
    pair_in_browser(page, stack)
    assert stack.stop("worker") == 0
    expect(page.locator("#cause")).to_contain_text("The worker was stopped")
    stack.wipe_live_stores()
    stack.start("worker")
    status(page, "CONNECTED")
    assert rounds(stack) == 1


def test_a_page_opened_late_shows_what_the_first_one_shows(page, stack, browser):
    sign_in(page, stack)
    new_session(page, "Shop downtown")
    late = page.context.new_page()
    late.goto(page.url)
    expect(late.locator("#qr")).to_have_attribute("data-state", "live")
    expect(late.locator("#qr-count")).to_have_text("code 1 of 6")
    assert code_on(late) == code_on(page)

    stack.sim.phone(ANA, name="Ana").scan(code_on(late))

    for each in (page, late):
        status(each, "CONNECTED")
        expect(each.locator("#phone")).to_have_text(SHOWN_NUMBER)


def test_a_code_is_dead_on_the_page_when_its_round_ends_and_a_new_round_is_one_click(page, stack, keep):
    sign_in(page, stack)
    new_session(page, "Shop downtown")
    first = code_on(page)

    stack.sim.faults.outage(1)

    expect(page.locator("#qr")).not_to_have_attribute("data-state", "live")
    assert code_on(page) == ""
    keep(page, "the round was interrupted")
    page.get_by_role("button", name=re.compile("New round|Show a QR code")).click()
    expect(page.locator("#qr")).to_have_attribute("data-state", "live")
    assert code_on(page) != first
    stack.sim.phone(ANA, name="Ana").scan(code_on(page))
    status(page, "CONNECTED")


def test_a_code_dies_on_the_screen_with_the_feed_cut(page, stack, keep):
    """The page keeps the clock itself: a code that nobody renews is dead when its time is over."""
    sign_in(page, stack)
    new_session(page, "Shop downtown")
    page.clock.install()
    stack.kill("web")
    expect(page.locator("#feed")).to_have_attribute("data-state", "down")
    page.clock.fast_forward(61_000)
    expect(page.locator("#qr")).to_have_attribute("data-state", "dead")
    expect(page.locator("#qr")).not_to_have_attribute("data-code", re.compile(".+"))
    keep(page, "dead, feed down")

    stack.start("web")
    page.clock.fast_forward(10_000)
    expect(page.locator("#feed")).to_have_attribute("data-state", "up", timeout=40_000)


def test_a_phone_number_and_a_code_pair_too(page, stack, keep):
    sign_in(page, stack)
    new_session(page, "Shop downtown")
    page.get_by_label("Phone number").fill("+55 11 98765-0001")
    page.get_by_role("button", name="Get a code").click()
    expect(page.locator("#pairing-code")).to_have_text(re.compile(r"^[A-Z0-9]{4}-[A-Z0-9]{4}$"))
    keep(page, "a code to type")

    stack.sim.phone(ANA, name="Ana").enter_code(page.locator("#pairing-code").inner_text())

    status(page, "CONNECTED")


def test_the_phone_unlinks_and_the_page_says_what_to_do(page, stack, keep):
    pair_in_browser(page, stack)
    stack.sim.phone(ANA).unlink(ana_jid(stack))
    status(page, "LOGGED_OUT")
    expect(page.locator("#next-step")).to_contain_text("scan the code again")
    keep(page, "unlinked")


def test_deleting_says_what_is_lost_and_unlinks_the_phone(page, stack, keep):
    pair_in_browser(page, stack)
    page.get_by_role("button", name="Delete").click()
    keep(page, "what would be lost")
    page.get_by_role("button", name=re.compile("Delete|Yes")).click()
    eventually(
        lambda: stack.query("SELECT count(*) FROM sessions_app_whatsappsession")[0][0] == 0, "the end of the row"
    )
    assert stack.sim.phone(ANA).devices == []


@pytest.mark.parametrize("path", ["/", "/admin/sessions_app/whatsappsession/"])
def test_whoever_is_not_staff_is_sent_to_the_login_page(page, stack, path):
    page.goto(stack.url + path)
    expect(page).to_have_url(re.compile("/login/"))
