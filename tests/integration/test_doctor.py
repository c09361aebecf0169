"""The doctor sees what is wrong, says what to do, and tells scripts by its exit status."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.utils import timezone
from django_q.models import Schedule

import oxy
from sessions_app import doctor, tasks
from sessions_app.doctor import Level, database, installation, whatsapp
from sessions_app.lifecycle import Status
from sessions_app.models import AuthBlob, SessionEvent, WhatsAppSession
from sessions_app.reasons import Reason
from sessions_app.vault import crypto, crypto_check
from simulator import Simulator
from tests.processes import database_url
from tests.rows import make_host, make_session
from tests.simulated import simulated

pytestmark = pytest.mark.django_db

NEW_KEY = "YW5vdGhlci1rZXktYW5vdGhlci1rZXktYW5vdGhlci0="
#: What starts a process or leaves this one.
FAR = ("news", "whatsapp")


@pytest.fixture(autouse=True)
def _session_path(tmp_path: Path, settings: Any) -> None:
    settings.WHATSAPP_SESSION_PATH = str(tmp_path / "sessions")
    settings.ALLOWED_HOSTS = ["oxy.example"]


@pytest.fixture
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with nothing to complain about, on a machine that may be busy."""
    monkeypatch.setattr(database, "SLOW", 500.0)
    make_host(version=oxy.__version__, capacity=10, library="neonize 0.5.2, WhatsApp 2.3000.1")
    make_session(Status.CONNECTED, session_id="fine", creds=None, last_backup_at=timezone.now())
    tasks.make_schedules()
    crypto_check.verify_or_exit()


def levels(**over: Any) -> dict[str, Level]:
    return {finding.check: finding.level for finding in doctor.examine(skip=FAR, **over)}


def run(*arguments: str) -> tuple[int, str]:
    said = io.StringIO()
    try:
        call_command("doctor", *arguments, *(f"--skip={name}" for name in FAR), stdout=said)
    except SystemExit as end:
        return int(end.code or 0), said.getvalue()
    return 0, said.getvalue()


@pytest.mark.usefixtures("well")
def test_a_sound_installation_has_nothing_to_do() -> None:
    findings = doctor.examine(skip=FAR)

    assert [finding for finding in findings if finding.todo or finding.level is not Level.OK] == []
    assert [finding.check for finding in findings] == [code for code in doctor.TITLES if code not in (*FAR, "library")]


@pytest.mark.usefixtures("well")
def test_the_exit_status_is_for_scripts(settings: Any) -> None:
    assert run()[0] == 0
    settings.DEBUG = True
    assert (run()[0], run("--strict")[0]) == (0, 1)
    Schedule.objects.all().delete()
    assert run()[0] == 1


@pytest.mark.usefixtures("well")
def test_programs_get_one_document() -> None:
    status, said = run("--json", "--sizes")

    document = json.loads(said)
    assert (status, document["level"]) == (0, "ok")
    assert {finding["check"] for finding in document["findings"]} >= {"database", "keys", "workers"}
    assert {size["name"] for size in document["sizes"]} >= {"sessions_app_whatsappsession", "sessions_app_host"}


def test_without_a_database_it_says_so_once_and_quotes_no_password() -> None:
    def fail(*_: Any) -> Any:
        raise OperationalError("connection to server failed: password=hidden")

    with connection.execute_wrapper(fail):
        found = doctor.examine(skip=FAR)

    assert {finding.check: finding.level for finding in found if finding.level is Level.FAILURE} == {
        "database": Level.FAILURE
    }
    assert "hidden" not in repr(found)


def test_a_check_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setitem(doctor._CHECKS, "sessions", broken)
    found = {finding.check: finding for finding in doctor.examine(skip=FAR)}

    assert found["sessions"].level is Level.FAILURE
    assert "ZeroDivisionError" in found["sessions"].saw
    assert "secret" not in repr(found)


# --- one thing at a time -------------------------------------------------------------


def test_no_worker_and_no_schedules_are_failures() -> None:
    assert (levels()["workers"], levels()["schedules"]) == (Level.FAILURE, Level.FAILURE)


@pytest.mark.usefixtures("well")
def test_a_worker_of_another_release_or_with_no_path_to_write_to_is_a_warning() -> None:
    other = make_host(name="worker-2", version="0.0.1", capacity=10)
    assert "worker-2" in installation.workers().saw
    assert installation.workers().level is Level.WARNING
    other.delete()
    make_host(name="worker-3", version=oxy.__version__, path_fell_back=True)
    assert "worker-3" in installation.workers().saw


@pytest.mark.usefixtures("well")
def test_too_little_room_is_a_failure() -> None:
    for number in range(10):
        make_session(Status.CONNECTING, session_id=f"more-{number}")

    assert installation.workers().level is Level.FAILURE


@pytest.mark.usefixtures("well")
def test_a_schedule_that_nobody_runs_is_a_failure() -> None:
    Schedule.objects.filter(name="back_up").update(next_run=timezone.now() - timedelta(minutes=30))

    assert installation.schedules().level is Level.FAILURE
    assert "back_up" in installation.schedules().saw


@pytest.mark.usefixtures("well")
def test_values_under_older_and_unknown_keys_are_told_apart(settings: Any) -> None:
    session = WhatsAppSession.objects.get()
    AuthBlob.objects.create(session=session, data_key="k", data_value=crypto.seal(b"v", session.session_id, "k"))
    old = settings.OXY_ENCRYPTION_KEYS
    settings.OXY_ENCRYPTION_KEYS = [NEW_KEY, *old]
    assert (installation.keys().level, "rotate_keys" in installation.keys().todo) == (Level.WARNING, True)

    settings.OXY_ENCRYPTION_KEYS = [NEW_KEY]
    assert installation.keys().level is Level.FAILURE


@pytest.mark.usefixtures("well")
def test_a_value_that_was_moved_or_damaged_is_a_failure_and_named() -> None:
    session = WhatsAppSession.objects.get()
    AuthBlob.objects.create(session=session, data_key="here", data_value=crypto.seal(b"v", session.session_id, "there"))

    found = installation.keys()

    assert (found.level, "fine here" in found.saw) == (Level.FAILURE, True)


def test_a_session_path_that_cannot_be_written_is_a_warning_and_a_full_disk_a_failure(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installation.session_path().level is Level.OK
    monkeypatch.setattr(installation, "NO_SPACE", 2**62)
    assert installation.session_path().level is Level.FAILURE
    monkeypatch.undo()
    (tmp_path / "a-file").write_text("")
    monkeypatch.setattr("sessions_app.hosting.session_path.FALLBACK", tmp_path / "fallback")
    settings.WHATSAPP_SESSION_PATH = str(tmp_path / "a-file" / "sessions")
    assert installation.session_path().level is Level.WARNING


@pytest.mark.usefixtures("well")
def test_a_session_that_should_be_connected_is_named() -> None:
    long_ago = timezone.now() - timedelta(hours=1)
    session = make_session(Status.WAITING, session_id="lost", name="Lost", paired_at=long_ago, status_at=timezone.now())
    SessionEvent.objects.create(session=session, kind="status", status="CONNECTED", actor="system", at=long_ago)
    SessionEvent.objects.create(session=session, kind="status", status="WAITING", actor="system", at=long_ago)
    SessionEvent.objects.create(session=session, kind="status", status="CONNECTING", actor="system")

    assert installation.sessions().level is Level.WARNING
    assert "lost" in installation.sessions().saw


@pytest.mark.usefixtures("well")
def test_a_backup_that_is_overdue_is_named() -> None:
    WhatsAppSession.objects.update(
        last_backup_at=timezone.now() - timedelta(hours=1), status_at=timezone.now() - timedelta(hours=2)
    )

    assert installation.backups().level is Level.WARNING
    assert "fine" in installation.backups().saw


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.1, Level.OK), (-3.0, Level.WARNING), (60.0, Level.FAILURE), (-60.0, Level.FAILURE)]
)
def test_clocks_that_differ(seconds: float, level: Level) -> None:
    assert database.compare_clocks(seconds).level is level


@pytest.mark.only_postgresql
def test_the_budget_of_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    assert database.connections().level is Level.OK
    monkeypatch.setattr(database, "NEXT_PROCESSES", 10_000)
    assert database.connections().level is Level.WARNING


def test_the_sizes_are_those_of_every_table() -> None:
    make_session(Status.CONNECTED)
    found = {size.name: size for size in database.sizes()}

    assert len(found) == len(database.sizes()), "a table is counted once, however many models show it"
    assert found["sessions_app_whatsappsession"].rows == 1
    assert (found["sessions_app_whatsappsession"].bytes or 0) > 0
    assert "sessions_app_apitoken_sessions" in found
    assert database.space().level is Level.OK


# --- beyond this process ---------------------------------------------------------------


@pytest.fixture
def child_finds_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url())


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("child_finds_the_database")
def test_news_of_another_process_is_heard() -> None:
    assert installation.news().level is Level.OK


@pytest.mark.django_db(transaction=True)
def test_news_that_does_not_cross_processes_is_a_failure(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    monkeypatch.setattr(installation, "_say_from_another_process", lambda group: None)
    monkeypatch.setattr(installation, "NEWS_WITHIN", 0.2)

    assert installation.news().level is Level.FAILURE


@pytest.fixture
def sim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    with simulated(tmp_path / "simulator", monkeypatch) as running:
        yield running


def test_whatsapp_is_reached_through_the_proxy(sim: Simulator) -> None:
    way, library = whatsapp.check()

    assert (way.level, way.check) == (Level.OK, "whatsapp")
    assert "through the proxy 127.0.0.1" in way.saw
    assert library.saw.startswith("neonize 0.5.2.")


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_differs_from_whatsapps_is_a_warning(monkeypatch: pytest.MonkeyPatch, hours: int) -> None:
    said = format_datetime(timezone.now() + timedelta(hours=hours))
    monkeypatch.setattr(whatsapp, "reach", lambda: whatsapp.Answer(20.0, ahead=whatsapp._ahead(said)))

    way, _library = whatsapp.check()

    assert way.level is Level.WARNING
    assert re.search("differ by 3(600|599) s", way.saw)


@pytest.mark.parametrize("said", [None, "", "yesterday"])
def test_a_clock_that_whatsapp_does_not_tell_is_no_trouble(said: str | None) -> None:
    assert whatsapp._ahead(said) == 0.0


def test_a_proxy_that_is_not_there_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hidden@127.0.0.1:1")
    monkeypatch.delenv("https_proxy", raising=False)

    way, _library = whatsapp.check()

    assert way.level is Level.FAILURE
    assert "127.0.0.1" in way.saw
    assert "hidden" not in way.saw


def test_a_library_that_whatsapp_refuses_is_a_failure_and_one_that_got_in_is_well() -> None:
    assert whatsapp.library(None).level is Level.WARNING
    make_session(Status.CONNECTED, session_id="in")
    assert whatsapp.library(1).level is Level.OK
    make_session(Status.FAILED, session_id="out", reason=Reason.CLIENT_OUTDATED)
    assert whatsapp.library(1).level is Level.FAILURE
