"""What many requests leave behind in the database server."""

from __future__ import annotations

import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.stack import Stack, eventually


@pytest.mark.only_postgresql
def test_requests_leave_no_connections_behind(not_started_stack: Stack) -> None:
    stack = not_started_stack
    stack.start("web")
    token = stack.manage("create_api_token", "busy").strip()
    asked = urllib.request.Request(f"{stack.url}/api/sessions", headers={"Authorization": f"Bearer {token}"})

    def ask(_: int) -> int:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return int(answer.status)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, range(80))) == {200}

    def few() -> bool:
        ((count,),) = stack.query("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(count) <= 5

    eventually(few, "few connections", within=5)
