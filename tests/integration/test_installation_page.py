"""The administrators' page about the installation shows what the doctor finds, to nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import OperationalError
from django.test import Client

from sessions_app import installation_views, people
from sessions_app.doctor.findings import ok
from sessions_app.lifecycle import Status
from sessions_app.models import OwnerLimit
from tests.rows import SECRET, make_session, make_staff

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _session_path(tmp_path: Path, settings: Any) -> None:
    settings.WHATSAPP_SESSION_PATH = str(tmp_path / "sessions")


@pytest.fixture
def ana(client: Client) -> Client:
    client.force_login(make_staff())
    return client


def member(group: str, **limit: str) -> Client:
    user = User.objects.create_user(f"{group}{len(limit)}", is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    if limit:
        OwnerLimit.objects.create(user=user, **limit)
    client = Client()
    client.force_login(user)
    return client


def test_it_says_what_is_wrong_and_what_to_do(ana: Client) -> None:
    shown = ana.get("/installation/").content.decode()

    assert "None is running." in shown
    assert "python manage.py runhost" in shown
    assert "Something has failed." in shown
    assert 'hx-get="/installation/slow"' in shown


def test_it_shows_what_takes_how_much_space_and_no_secret(ana: Client) -> None:
    make_session(Status.CONNECTED)

    shown = ana.get("/installation/").content.decode()

    assert "Space in the database" in shown
    assert SECRET not in shown


def test_what_takes_long_comes_later(ana: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(check: str) -> Any:
        return lambda: asked.append(check) or ok(check, f"Saw {check}.")

    monkeypatch.setitem(installation_views.doctor._CHECKS, "news", answer("news"))
    monkeypatch.setitem(installation_views.doctor._CHECKS, "whatsapp", answer("whatsapp"))
    assert "Saw" not in ana.get("/installation/").content.decode()
    assert asked == []

    shown = ana.get("/installation/slow").content.decode()

    assert ("Saw news." in shown, "Saw whatsapp." in shown, sorted(asked)) == (True, True, ["news", "whatsapp"])
    assert "ALLOWED_HOSTS" not in shown


def test_without_a_database_that_answers_well_the_page_is_there(ana: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise OperationalError("password=hunter2")

    monkeypatch.setitem(installation_views.doctor._CHECKS, "database", fail)
    answer = ana.get("/installation/")

    assert answer.status_code == 200
    assert "It cannot be reached" in answer.content.decode()
    assert "hunter2" not in answer.content.decode()


def test_only_administrators_find_it_in_the_navigation() -> None:
    for group, may in ((people.VIEWER, False), (people.OPERATOR, False), (people.ADMINISTRATOR, True)):
        client = member(group)
        assert ('href="/installation/"' in client.get("/").content.decode()) is may
        assert (client.get("/installation/").status_code == 200) is may


def test_an_administrator_of_some_owners_does_not_see_it() -> None:
    client = member(people.ADMINISTRATOR, owners="Bob")

    assert 'href="/installation/"' not in client.get("/").content.decode()
    assert client.get("/installation/").status_code == 404
    assert client.get("/installation/slow").status_code == 404
