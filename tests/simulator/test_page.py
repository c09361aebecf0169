"""The phone page in a real browser, at the width of a small phone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import ConsoleMessage, Error, Page, expect, sync_playwright

from simulator import Simulator
from simulator.control import PAGE
from simulator.faults import CATALOGUE
from tests.browser import launch_options

from .clients import NeonizeClient
from .conftest import ANA, BOB

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch_options())
        yield browser.new_page(viewport={"width": 320, "height": 700})
        browser.close()


@pytest.fixture
def page(browser_page: Page, simulator: Simulator) -> Iterator[Page]:
    """The page; any error of its script and any breach of the content security policy fails the test."""
    errors: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        # Refused requests stand on the console as well, and are part of the tests.
        if "Content Security Policy" in message.text:
            errors.append(message.text)

    def fail(error: Error) -> None:
        errors.append(str(error))

    browser_page.on("console", hear)
    browser_page.on("pageerror", fail)
    browser_page.goto(simulator.control_url)
    yield browser_page
    browser_page.goto("about:blank")
    browser_page.remove_listener("console", hear)
    browser_page.remove_listener("pageerror", fail)
    assert errors == []


def test_a_browser_that_prefers_portuguese_gets_all_of_it(browser_page: Page, simulator: Simulator) -> None:
    known = set(re.findall(r'^  "(.+?)": "', (PAGE / "words.js").read_text(), re.M))
    html = re.sub(r"<title>.*?</title>", "", (PAGE / "index.html").read_text())
    said = {line.strip() for line in re.findall(r">([^<]*[A-Za-z]{2}[^<]*)<", html)}
    assert said - known == set()
    assert {fault.sentence for fault in CATALOGUE.values()} - known == set()
    assert {name.replace("_", " ") for name in CATALOGUE} - known == set()

    context = browser_page.context.browser.new_context(locale="pt-BR")  # type: ignore[union-attr]
    page = context.new_page()
    page.goto(simulator.control_url)
    expect(page.locator("html")).to_have_attribute("lang", "pt-BR")
    expect(page.locator("#no-phones")).to_have_text("Ainda não há nenhum celular. Adicione um e vincule-o ao console.")
    page.get_by_label("Número de telefone, com o código do país").fill(BOB)
    page.get_by_label("Nome", exact=True).fill("Bia")
    page.get_by_role("button", name="Adicionar celular").click()
    expect(page.get_by_placeholder("Cole aqui")).to_be_visible()
    page.get_by_placeholder("Cole aqui").fill("nothing")
    page.get_by_role("button", name="Ler", exact=True).click()
    expect(page.locator("#notice")).to_have_text(
        "Este não é um código do WhatsApp. Leia o código do outro dispositivo."
    )
    context.close()


def add_phone(page: Page, number: str, name: str) -> None:
    page.get_by_label("Phone number, with country code").fill(number)
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_role("button", name="Add phone").click()
    expect(page.locator("#phone-title")).to_have_text(name)


def test_without_a_phone_a_person_is_told_to_add_one(page: Page) -> None:
    expect(page.locator("#no-phones")).to_be_visible()
    expect(page.locator("#phone")).to_be_hidden()
    add_phone(page, ANA, "Ana")
    expect(page.locator("#no-phones")).to_be_hidden()


def test_a_person_adds_phones_and_sends_a_message(page: Page, simulator: Simulator) -> None:
    add_phone(page, BOB, "Bob")
    add_phone(page, ANA, "Ana")
    page.get_by_label("To", exact=True).fill(BOB)
    page.get_by_label("Message").fill("<b>hello</b>")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#messages li.out")).to_contain_text("<b>hello</b>")
    simulator.phone(BOB).wait_for_text("<b>hello</b>")
    page.get_by_role("button", name="Bob").click()
    expect(page.locator("#messages li.in")).to_contain_text(f"from {ANA}")
    page.get_by_label("Online").uncheck()
    expect(page.get_by_role("button", name="Bob")).to_contain_text("offline")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_person_scans_the_real_clients_code_and_unlinks_it(
    page: Page, simulator: Simulator, start_client: Callable[[], NeonizeClient]
) -> None:
    add_phone(page, ANA, "Ana")
    client = start_client()
    page.get_by_label("Text of the QR code").fill(client.expect("qr")["code"])
    page.get_by_role("button", name="Scan", exact=True).click()
    expect(page.locator("#notice")).to_have_text(f"Linked: {ANA}:1@s.whatsapp.net")
    client.expect("connected")
    expect(page.locator("#devices li")).to_contain_text("Connected")
    page.get_by_role("button", name="Unlink").click()
    expect(page.locator("#no-devices")).to_be_visible()
    client.expect("logged-out")


def test_a_code_from_the_console_is_offered_and_one_from_elsewhere_is_not(page: Page) -> None:
    add_phone(page, ANA, "Ana")
    offer = "window.dispatchEvent(new MessageEvent('message', {origin: '%s', data: {type: 'oxy-qr', code: 'a,b,c,d'}}))"
    page.evaluate(offer % "https://evil.example")
    expect(page.locator("#offer")).to_be_hidden()
    page.evaluate(offer % "http://127.0.0.1:8000")
    expect(page.locator("#offer")).to_be_visible()
    page.get_by_role("button", name="Scan it").click()
    expect(page.locator("#notice")).to_contain_text("not a code of WhatsApp")


def test_a_person_causes_trouble_and_ends_it(page: Page, simulator: Simulator) -> None:
    page.get_by_text("Cause trouble").click()
    page.locator("[data-fault=slow]").get_by_label("seconds").fill("0.5")
    page.get_by_role("button", name="slow").click()
    expect(page.locator("#active-faults")).to_have_text("Now: slow.")
    assert simulator.faults.active == {"slow": {"seconds": 0.5}}
    page.get_by_role("button", name="End all trouble").click()
    expect(page.locator("#active-faults")).to_have_text("Nothing is wrong.")


def test_a_person_causes_each_fault_that_there_is(page: Page, simulator: Simulator) -> None:
    page.get_by_text("Cause trouble").click()
    for name, fault in CATALOGUE.items():
        panel = page.locator(f"[data-fault={name}]")
        expect(panel).to_contain_text(fault.sentence)
        with page.expect_response(lambda response: "/api/faults/" in response.url) as answer:
            panel.get_by_role("button").click()
        assert answer.value.ok, name
        expect(panel.get_by_role("button")).to_be_enabled()
    assert set(simulator.faults.active) == {name for name, fault in CATALOGUE.items() if fault.lasts}
    page.get_by_role("button", name="End all trouble").click()
    expect(page.locator("#active-faults")).to_have_text("Nothing is wrong.")
    assert simulator.faults.active == {}


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for file in PAGE.iterdir():
        assert "https://" not in file.read_text()
