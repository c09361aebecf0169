"""The console as a Brazilian browser shows it: chosen by itself or by the switch, live, and whole on a small screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.stack import Stack
from tests.acceptance.test_first_light import ANA, code_on, sign_in

Keep = Any

WIDTHS = (1280, 320)


@pytest.fixture
def brazilian(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="pt-BR")
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


def look(page: Page, keep: Keep, name: str) -> None:
    """Nothing may stick out at either width; a picture of each is kept."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        wide = page.evaluate("() => document.documentElement.scrollWidth")
        keep(page, f"{name} {width}")
        assert wide <= width, f"{name} is {wide} px wide on a screen of {width}"
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_person_who_reads_portuguese_links_a_phone_and_sees_everything(
    brazilian: Page, stack: Stack, keep: Keep
) -> None:
    page = brazilian
    page.goto(f"{stack.url}/")
    expect(page.get_by_role("heading", name="Entrar")).to_be_visible()
    look(page, keep, "login")
    page.get_by_label("Usuário").fill(stack.user)
    page.get_by_label("Senha").fill(stack.password)
    page.get_by_role("button", name="Entrar").click()
    expect(page.get_by_role("heading", name="Nenhuma sessão ainda")).to_be_visible()
    look(page, keep, "overview, empty")

    page.get_by_label("Nome", exact=True).fill("Loja do centro")
    page.get_by_role("button", name="Nova sessão").click()
    expect(page.locator("#qr")).to_have_attribute("data-state", "live")
    expect(page.locator("#qr-count")).to_have_text(re.compile("código 1 de 6"))
    look(page, keep, "pairing")
    session = page.url

    page.get_by_role("link", name="Criar um link de pareamento para outra pessoa").click()
    page.get_by_role("button", name="Criar um link de pareamento").click()
    link = page.locator("#link").inner_text()
    look(page, keep, "link")
    page.goto(link)
    expect(page.locator("#qr")).to_have_attribute("data-state", "live")
    expect(page.locator("#outcome")).to_have_text(re.compile("Esperando seu celular"))
    look(page, keep, "what a customer sees")

    page.goto(session)
    expect(page.locator("#qr")).to_have_attribute("data-state", "live")
    stack.sim.phone(ANA, name="Ana").scan(code_on(page))
    expect(page.locator("#status")).to_have_text("Conectada")
    expect(page.locator("#host")).not_to_have_text("–")
    page.get_by_label("Para").fill("+55 11 98765-0002")
    expect(page.locator("#feed")).to_have_attribute("data-state", "up")
    look(page, keep, "session")
    expect(page.locator("time").first).to_have_text(re.compile("há|agora"))

    for name, path in (("overview", "/"), ("webhooks", "/webhooks/"), ("tokens", "/tokens/")):
        page.goto(f"{stack.url}{path}")
        look(page, keep, name)
    page.goto(f"{stack.url}/")
    page.get_by_role("link", name="Loja do centro").click()
    page.get_by_role("button", name="Excluir").click()
    look(page, keep, "confirm")
    page.goto(f"{stack.url}/admin/sessions_app/whatsappsession/")
    keep(page, "admin, list")
    page.get_by_role("link", name="Loja do centro").click()
    keep(page, "admin, session")


def test_the_switch_needs_no_script_and_the_live_feed_follows_it(page: Page, stack: Stack, keep: Keep) -> None:
    sign_in(page, stack)
    page.get_by_role("form", name="Language").get_by_role("button", name="Português").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sessões", exact=True)).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "pt-br")
    keep(page, "switched")
    page.get_by_label("Nome", exact=True).fill("Loja do centro")
    page.get_by_role("button", name="Nova sessão").click()
    expect(page.locator("#qr")).to_have_attribute("data-state", "live")
    code = code_on(page)
    stack.sim.phone(ANA, name="Ana").scan(code)
    expect(page.locator("#status")).to_have_text("Conectada")
