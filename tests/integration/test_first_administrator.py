"""The first administrator, for an installation on whose server nobody can type a command."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import call_command

from tests.rows import make_staff

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


def migrate() -> None:
    call_command("migrate", verbosity=0, interactive=False)


def test_migrate_makes_nobody_where_no_password_is_set() -> None:
    migrate()

    assert not User.objects.exists()


def test_migrate_makes_one_of_the_password_that_is_set_and_never_touches_it_again(settings: Any) -> None:
    settings.OXY_ADMIN_PASSWORD = PASSWORD
    migrate()
    user = authenticate(username="admin", password=PASSWORD)
    assert user is not None
    assert user.is_superuser

    user.set_password("changed since then")
    user.save()
    migrate()

    assert authenticate(username="admin", password="changed since then")
    assert User.objects.count() == 1


def test_where_there_is_an_administrator_no_other_is_made(settings: Any) -> None:
    make_staff("ana")
    settings.OXY_ADMIN_PASSWORD = PASSWORD

    migrate()

    assert list(User.objects.values_list("username", flat=True)) == ["ana"]


def test_a_weak_password_is_refused_with_a_sentence_that_does_not_quote_it(settings: Any) -> None:
    settings.OXY_ADMIN_PASSWORD = "hunter2"

    with pytest.raises(SystemExit) as raised:
        migrate()

    assert str(raised.value).startswith("oxy: OXY_ADMIN_PASSWORD cannot be used: ")
    assert "hunter2" not in str(raised.value)
    assert not User.objects.exists()
