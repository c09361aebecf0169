"""`/metrics`: true at the moment of the scrape, for those who may know, and with no name of a session."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from sessions_app import metrics
from sessions_app.hosting import gauges
from sessions_app.lifecycle import Status
from sessions_app.models import ApiToken, Backup, Message, SessionEvent
from tests.rows import make_host, make_session

pytestmark = pytest.mark.django_db

TOKEN = "kept-for-prometheus"


@pytest.fixture(autouse=True)
def _token(settings: Any) -> None:
    settings.OXY_METRICS_TOKEN = TOKEN


def ask(token: str = TOKEN) -> Any:
    """As Prometheus asks, which names the address that it found."""
    return Client(headers={"host": "10.1.2.3:8000", "authorization": f"Bearer {token}"}).get("/metrics")


def scrape() -> dict[tuple[str, ...], float]:
    """Every sample, by its name and the values of its labels."""
    families = text_string_to_metric_families(ask().content.decode())
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def test_the_numbers_are_those_of_the_database() -> None:
    now = timezone.now()
    host = make_host(capacity=300, engines=2, engine_bytes=123_456, lag_ms=250)
    lease = {"lease_host": host, "lease_until": now + timedelta(seconds=20)}
    shop = make_session(
        session_id="shop",
        status_at=now - timedelta(hours=1),
        last_backup_at=now - timedelta(minutes=10),
        paired_at=now,
        **lease,
    )
    make_session(session_id="new-backup", status_at=now - timedelta(hours=1), last_backup_at=now, **lease)
    lost = make_session(Status.WAITING, session_id="lost", paired_at=now, status_at=now - timedelta(hours=1))
    for hours in (1, 0):
        at = now - timedelta(hours=hours)
        SessionEvent.objects.create(session=lost, kind="status", status="WAITING", actor="system", at=at)
    for direction, status, minutes in (("in", "received", 1), ("out", "queued", 2), ("in", "received", 9)):
        at = now - timedelta(minutes=minutes)
        Message.objects.create(session=shop, direction=direction, status=status, chat="c", created_at=at)
    Backup.objects.create(session=shop, keys=1, bytes=1, duration_ms=1, differed=3)

    found = scrape()

    assert found["oxy_sessions", "CONNECTED"] == 2
    assert found["oxy_sessions", "BANNED"] == 0
    assert found["oxy_sessions_wanted",] == 2
    assert found["oxy_sessions_down",] == 1
    assert found["oxy_connection_losses",] == 1
    assert (found["oxy_messages", "in"], found["oxy_messages", "out"], found["oxy_messages_queued",]) == (1, 1, 1)
    assert found["oxy_messages_queued_oldest_seconds",] == pytest.approx(120, abs=20)
    assert found["oxy_backup_age_seconds",] == pytest.approx(600, abs=20)
    assert found["oxy_backups_differed",] == 1
    assert (found["oxy_hosts",], found["oxy_host_sessions", "worker-1"]) == (1, 2)
    assert (found["oxy_host_engines", "worker-1"], found["oxy_host_engine_memory_bytes", "worker-1"]) == (2, 123_456)
    assert found["oxy_host_write_lag_seconds", "worker-1"] == 0.25
    assert found["oxy_host_lease_seconds", "worker-1"] == pytest.approx(20, abs=10)


def test_every_family_is_there_on_an_empty_installation_and_says_what_it_is() -> None:
    families = {family.name: family for family in text_string_to_metric_families(ask().content.decode())}

    assert set(families) == {name.removesuffix("_total") for name in metrics.FAMILIES}
    assert all(family.documentation for family in families.values())


def test_no_session_is_named() -> None:
    make_session(Status.WAITING, session_id="very-private", name="Shop of Ana", phone="5511999999999")

    body = ask().content.decode()

    assert not any(word in body for word in ("very-private", "Shop", "5511999999999"))


def test_it_is_for_those_who_may_know(settings: Any) -> None:
    everything = ApiToken.issue("prometheus", by="ana")[1]
    limited = ApiToken.issue("shop", by="ana", sessions=[make_session()])[1]
    owners = ApiToken.issue("ana", by="ana", owner="Ana")[1]
    sender = ApiToken.issue("sender", by="ana", scopes=["send"])[1]

    assert [ask(token).status_code for token in (TOKEN, everything)] == [200, 200]
    assert [ask(token).status_code for token in ("", "wrong", limited, owners, sender)] == [401] * 5
    settings.OXY_METRICS_TOKEN = ""
    assert ask("").status_code == 401


def test_without_a_database_it_says_so_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> Any:
        raise OperationalError("password=hidden")

    monkeypatch.setitem(metrics.FAMILIES, "oxy_hosts", ("", (), gone))
    answer = ask()

    assert answer.status_code == 503
    assert b"hidden" not in answer.content


def test_the_lag_is_the_longest_since_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(gauges.time, "monotonic", lambda: now[0])
    measured = gauges.Gauges()
    measured.noticed(1)
    now[0] = 100.2
    measured.noticed(1)
    measured.noticed(2)
    measured.forget(2)
    now[0] = 100.5
    measured.written(1)

    assert (measured.lag_ms(), measured.lag_ms()) == (500, 0)
    measured.noticed(1)
    now[0] = 101.5
    assert measured.lag_ms() == 1000


def test_the_memory_of_processes_that_are_gone_is_none() -> None:
    assert gauges.memory([os.getpid()]) > 1_000_000
    assert gauges.memory([2**22 + 1]) == 0
