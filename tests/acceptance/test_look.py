"""Every page in every state, light and dark, on a laptop and a small phone: it fits, it can be used with a keyboard, and axe finds nothing.

The screenshots of all of it lie in `var/screenshots/look`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from simulator import Simulator
from tests.acceptance.stack import Stack
from tests.acceptance.test_first_light import ANA, BIA
from tests.processes import ROOT

pytestmark = pytest.mark.only_sqlite

SCREENSHOTS = ROOT / "var" / "screenshots" / "look"
#: As browsers name the languages that the pages speak.
LOCALES = ("en-US", "pt-BR")
LAPTOP, PHONE = 1280, 320
#: Milliseconds that a page may take on a busy machine.
PATIENCE = 20_000
SEEN = ((LAPTOP, "light"), (LAPTOP, "dark"), (PHONE, "light"), (PHONE, "dark"))


def press(button: str) -> Callable[[Page], None]:
    """Press a button, by its place: its name is in the reader's language."""
    return lambda page: page.locator(button).click()


def fill(**fields: str) -> Callable[[Page], None]:
    """Fill in fields by name, and press Enter in the last one."""

    def typed(page: Page) -> None:
        for name, value in fields.items():
            page.locator(f"[name={name}]").fill(value)
        page.locator(f"[name={name}]").press("Enter")
        expect(page.get_by_role("alert").first).not_to_be_empty(timeout=PATIENCE)

    return typed


def sign_in_without_cookies(page: Page) -> None:
    page.context.clear_cookies()
    page.locator("[name=username]").fill("ana")
    page.locator("[name=password]").fill("whatever")
    page.locator("[name=password]").press("Enter")
    expect(page.locator("form")).to_have_count(0, timeout=PATIENCE)


def findings(page: Page) -> None:
    expect(page.locator("#check-whatsapp")).to_be_visible(timeout=PATIENCE)


def trouble(page: Page) -> None:
    page.locator("summary").click()


def tick_some(page: Page) -> None:
    page.locator("#tick-connected").check()
    page.locator("#many-stop").click()
    expect(page.locator("#notice .notice")).to_be_visible(timeout=PATIENCE)


@dataclass(frozen=True)
class State:
    """A page as somebody sees it: where it is, who looks, and what they have done there."""

    name: str
    path: str
    who: str = "staff"
    done: Callable[[Page], None] | None = None
    #: Whether the page has its live feed.
    live: bool = True


ADMIN = "/admin/sessions_app"
SESSION_PAGES = (
    "new", "pairing", "timed-out", "to-type", "passkey", "wrong-number", "connecting", "connected", "waiting", "stopped",
    "logged-out", "replaced", "banned", "failed", "deleting",
)  # fmt: skip
MACHINE_ROWS = (
    "alert", "apitoken", "authblob", "backup", "foreignstate", "host", "message", "pairinglink", "pairinground", "sessioncommand",
    "sessionevent", "webhook", "webhookdelivery",
)  # fmt: skip
STATES = (
    State("sign in", "/login/", who="nobody"),
    State("sign in refused", "/login/", who="nobody", done=fill(username="ana", password="a wrong one")),
    State("too old a form", "/login/", who="nobody", done=sign_in_without_cookies),
    State("list", "/"),
    State("list, the feed is down", "/", live=False),
    State("list, filtered", "/?status=WAITING&owner=Caio&sort=-backup"),
    State("list, nothing matches", "/?q=nobody"),
    State("list, something was asked of many", "/", done=tick_some),
    State("list, empty", "/", who="nova"),
    State("list of a viewer", "/", who="victor"),
    *(State(f"session, {name}", f"/sessions/{name}/") for name in SESSION_PAGES),
    State("session of a viewer", "/sessions/connected/", who="victor"),
    State("log out", "/sessions/connected/confirm/logout"),
    State("delete", "/sessions/connected/confirm/delete"),
    State("delete, not possible", "/sessions/deleting/confirm/delete"),
    State("keys, while it runs", "/sessions/connected/export"),
    State("keys", "/sessions/stopped/export"),
    State("pairing link", "/sessions/new/link"),
    State("pairing link, made", "/sessions/to-type/link", done=press("main form .primary")),
    State("customer, no link", "/pair/", who="nobody"),
    State("customer, a code", "/pair/#{links[pairing]}", who="nobody"),
    State("customer, timed out", "/pair/#{links[timed-out]}", who="nobody"),
    State("customer, passkey", "/pair/#{links[passkey]}", who="nobody"),
    State("customer, linked", "/pair/#{links[used]}", who="nobody"),
    State("webhooks", "/webhooks/"),
    State("webhooks, none", "/webhooks/", who="nova"),
    State("webhooks, refused", "/webhooks/", done=fill(url="http://127.0.0.1/")),
    State("webhook", "/webhooks/{webhook}/"),
    State("webhook, new secret", "/webhooks/{webhook}/", done=press("form[action$=rotate] button")),
    State("tokens", "/tokens/"),
    State("tokens, none", "/tokens/", who="nova"),
    State("installation", "/installation/", done=findings),
    State("not found", "/sessions/no-such-one/"),
    State("not allowed", "/sessions/connected/export", who="victor"),
    State("admin", "/admin/"),
    State("admin, sessions", f"{ADMIN}/whatsappsession/"),
    State("admin, session", f"{ADMIN}/whatsappsession/{{pks[connected]}}/change/"),
    State("admin, history", f"{ADMIN}/whatsappsession/{{pks[connected]}}/history/"),
    State("admin, delete", f"{ADMIN}/whatsappsession/{{pks[stopped]}}/ask/delete/"),
    State("admin, new session", f"{ADMIN}/whatsappsession/add/"),
    State("admin, users", "/admin/auth/user/"),
    State("admin, new user", "/admin/auth/user/add/"),
    State("admin, person", "/admin/auth/user/{nova}/change/"),
    State("admin, log", "/admin/admin/logentry/"),
    State("admin, sign in", "/admin/login/", who="nobody"),
    State("admin, of a viewer", f"{ADMIN}/whatsappsession/{{pks[connected]}}/change/", who="victor"),
    *(State(f"admin, {name}", f"{ADMIN}/{name}/") for name in MACHINE_ROWS),
    State("phone", "{control}#" + ANA),
    State("phone, trouble", "{control}#" + ANA, done=trouble),
)


class Show:
    """An installation with something of everything in it, and people who look at it."""

    def __init__(self, stack: Stack, browser: Browser) -> None:
        self._stack, self._browser = stack, browser
        done = subprocess.run(
            [sys.executable, "-m", "tests.acceptance.showcase_child"],
            cwd=ROOT, env=stack.environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.made = json.loads(done.stdout) | {"control": stack.sim.control_url}
        self._signed_in: dict[str, Any] = {}
        self._contexts: dict[tuple[str, str], BrowserContext] = {}

    def page(self, who: str, locale: str) -> Page:
        """A window with the cookies and the language of somebody. Each signs in once; whoever has no account begins anew."""
        if who == "nobody" or (who, locale) not in self._contexts:
            self._contexts[who, locale] = self._context(who, locale)
        return self._contexts[who, locale].new_page()

    def _context(self, who: str, locale: str) -> BrowserContext:
        if who != "nobody" and who not in self._signed_in:
            self._signed_in[who] = self._sign_in(who)
        context = self._browser.new_context(
            locale=locale, viewport={"width": LAPTOP, "height": 900}, storage_state=self._signed_in.get(who)
        )
        context.set_default_timeout(PATIENCE)
        return context

    def _sign_in(self, who: str) -> Any:
        name, password = (self._stack.user, self._stack.password) if who == "staff" else (who, self.made["password"])
        context = self._browser.new_context()
        page = context.new_page()
        page.goto(f"{self._stack.url}/login/")
        page.locator("[name=username]").fill(name)
        page.locator("[name=password]").fill(password)
        page.locator("[name=password]").press("Enter")
        expect(page.locator("nav").first).to_be_visible(timeout=PATIENCE)
        state = context.storage_state()
        context.close()
        return state

    def open(self, page: Page, state: State) -> None:
        if not state.live:
            page.route_web_socket("**/ws/**", lambda socket: socket.close())
        path = re.sub(r"\{(\w+)(?:\[([\w-]+)\])?\}", lambda found: self._value(*found.groups()), state.path)
        page.goto(path if path.startswith("http") else f"{self._stack.url}{path}")
        settle(page, live=state.live)
        if "/pair/#" in state.path:  # the link's token is handed over, and the page comes anew
            expect(page.locator("#panel-outcome")).to_be_visible(timeout=PATIENCE)
            settle(page)
        if state.done:
            state.done(page)
            settle(page)

    def _value(self, name: str, key: str | None) -> str:
        return str(self.made[name][key] if key else self.made[name])


def settle(page: Page, *, live: bool = True) -> None:
    """The live feed is up where the page has one, times are the reader's own, and the phone's page has drawn its phone."""
    expect(page.locator("#feed:not([data-state=up])" if live else "#feed[data-state=up]")).to_have_count(
        0, timeout=PATIENCE
    )
    expect(page.locator("time", has_text="UTC")).to_have_count(0, timeout=PATIENCE)
    if page.locator("#phone-list").count():
        expect(page.locator("#phone-title")).not_to_be_empty(timeout=PATIENCE)
    page.wait_for_load_state("load")


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Show]:
    folder = tmp_path_factory.mktemp("look")
    with Simulator(state_dir=folder / "simulator") as sim:
        ana, bia = sim.phone(ANA, name="Ana"), sim.phone(BIA, name="Bia")
        bia.send_text(ana.number, "Good morning!")
        stack = Stack(folder, sim)
        try:
            stack.set_up()
            stack.start("web")
            yield Show(stack, browser)
        finally:
            stack.stop_all()


@pytest.fixture
def look(show: Show) -> Iterator[Callable[..., Page]]:
    """`look(state, locale)` opens a page that fails the test on any error of a script or of the content security policy."""
    pages: list[Page] = []
    errors: list[str] = []

    def opened(state: State, locale: str = LOCALES[0]) -> Page:
        page = show.page(state.who, locale)
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None)
        show.open(page, state)
        return page

    yield opened
    for page in pages:
        page.close()
    assert errors == []


def see(page: Page, width: int, scheme: Any) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.evaluate("Promise.all(document.getAnimations().map((running) => running.finished.catch(() => {})))")


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def found_by_axe(page: Page, rules: list[str] | None = None) -> list[str]:
    """What axe has to say, by all its rules or by these."""
    # Without "preload" axe leaves the style sheets alone, which the content security policy would not let it rewrite.
    report = (
        Axe()
        .run(page, options={"preload": False, "resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {}))
        .response
    )
    return [
        f"{one['id']}: {node['target']} {node['html'][:160]} {[check['message'] for check in node['any']]}"
        for one in report["violations"]
        for node in one["nodes"]
    ]


#: Of everything that can be focused on a page: what looks the same with the focus as without it.
WITHOUT_FOCUS = """() => {
  const look = (element) => {
    const now = getComputedStyle(element);
    return [now.outlineStyle + now.outlineWidth, now.boxShadow, now.borderColor, now.backgroundColor, now.textDecoration].join();
  };
  const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary")];
  return all.filter((element) => {
    if (element.disabled || !element.checkVisibility({ visibilityProperty: true })) return false;
    element.blur();
    const before = look(element);
    element.focus();
    return document.activeElement === element && look(element) === before;
  }).map((element) => element.outerHTML.slice(0, 160));
}"""


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_a_page_fits_shows_the_focus_and_has_no_barrier(look: Callable[..., Page], state: State) -> None:
    page = look(state)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    too_wide, barriers = [], {}
    for width, scheme in SEEN:
        see(page, width, scheme)
        page.screenshot(
            path=SCREENSHOTS / f"{state.name}, {scheme}, {width}.jpg", full_page=True, type="jpeg", quality=70
        )
        too_wide += [] if fits(page) else [width]
        if (width == LAPTOP) == (scheme == "light"):
            rules = None if width == LAPTOP else ["color-contrast", "target-size", "scrollable-region-focusable"]
            barriers |= {f"{scheme}, {width}": found} if (found := found_by_axe(page, rules)) else {}
    page.keyboard.press("Tab")  # from now on the browser shows the focus that a script moves
    assert (too_wide, barriers, page.evaluate(WITHOUT_FOCUS)) == ([], {}, [])


@pytest.mark.parametrize("locale", LOCALES[1:])
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.name)
def test_a_page_fits_in_the_other_language(look: Callable[..., Page], state: State, locale: str) -> None:
    page = look(state, locale)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for width, scheme in SEEN[0], SEEN[3]:
        see(page, width, scheme)
        page.screenshot(
            path=SCREENSHOTS / f"{state.name}, {scheme}, {width}, {locale}.jpg", full_page=True, type="jpeg", quality=70
        )
        assert fits(page), width
