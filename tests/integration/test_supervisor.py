"""What a host hands on to its runners, where its database breaks in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError, connection

from sessions_app.hosting.session_path import SessionPath
from sessions_app.hosting.supervisor import Supervisor
from sessions_app.lifecycle import Command, Status
from sessions_app.models import WhatsAppSession

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(SessionPath(tmp_path))
    yield made
    made.lanes.end(2)
    made.watcher.end()


def breaks_after(run: Any, sql: str, *arguments: Any) -> Any:
    """The server has done it, and the answer never comes."""
    done = run(sql, *arguments)
    if sql.startswith("UPDATE"):
        raise OperationalError("the connection broke")
    return done


def test_a_command_of_which_nobody_knows_whether_it_was_taken_is_handed_on_once(supervisor: Supervisor) -> None:
    session = WhatsAppSession.objects.create(session_id="shop", name="Shop", status=Status.CONNECTED)
    heard: list[Any] = []
    supervisor.runners = {session.pk: SimpleNamespace(post=heard.append)}  # type: ignore[dict-item]
    command = session.request(Command.RESTART, by="tester")

    with connection.execute_wrapper(breaks_after), pytest.raises(OperationalError):
        supervisor._hand_on_commands()
    assert heard == []

    for _ in range(2):
        supervisor._hand_on_commands()
    assert heard == [command]
