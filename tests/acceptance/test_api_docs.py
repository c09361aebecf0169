"""The API's own page, in a real browser: it lists the endpoints, breaks no policy, and can try them."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from tests.acceptance.stack import Stack
from tests.acceptance.test_first_light import sign_in

Keep = Any


def test_the_page_lists_the_endpoints_and_tries_one(page: Page, not_started_stack: Stack, keep: Keep) -> None:
    stack = not_started_stack
    stack.start("web")
    token = stack.manage("create_api_token", "docs").strip()
    elsewhere: list[str] = []
    page.on(
        "request",
        lambda request: None if request.url.startswith((stack.url, "data:")) else elsewhere.append(request.url),
    )
    sign_in(page, stack)

    page.goto(f"{stack.url}/tokens/")
    page.get_by_role("link", name="What the API can do").click()
    operation = page.locator("#operations-Sessions-sessions_app_api_sessions_list_sessions")
    expect(operation).to_contain_text("List sessions")
    keep(page, "endpoints")
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("auth-bearer-value").fill(token)
    page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close", exact=True).click()
    operation.get_by_role("button").first.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()

    expect(operation.locator(".live-responses-table")).to_contain_text('"count": 0')
    keep(page, "an answer")
    assert elsewhere == []
