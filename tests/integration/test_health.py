"""What a platform asks: is the process alive, is everything there that it needs?"""

from __future__ import annotations

import pytest
from django.db import OperationalError
from django.test import Client

from sessions_app.models import Host
from tests.rows import make_host

ELSEWHERE = {"host": "10.1.2.3:8000"}


def test_the_process_is_alive_without_a_database_and_under_any_name():
    answer = Client(headers=ELSEWHERE).get("/healthz")  # the test has no database: a query would fail it
    assert (answer.status_code, answer.json()["status"]) == (200, "alive")


def test_without_a_host_it_is_not_ready(db):
    answer = Client(headers=ELSEWHERE).get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"error": "No worker is running.", "code": "not-ready", "missing": ["host"]}


def test_with_a_host_that_beats_it_is_ready(db):
    host = make_host()
    assert Client().get("/readyz").json() == {"status": "ready"}
    Host.objects.filter(pk=host.pk).update(stopping=True)
    assert Client().get("/readyz").status_code == 503


def test_without_a_database_it_says_so(monkeypatch: pytest.MonkeyPatch):
    def gone(*args: object) -> None:
        raise OperationalError("connection to server at 10.0.0.1 failed: password 'x'")

    monkeypatch.setattr("sessions_app.querysets.HostQuerySet.alive", gone)
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["missing"]) == (503, ["database"])
    assert b"password" not in answer.content
