"""Signing in: whoever fails again and again has to wait, at both faces, and is told for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.test import Client, RequestFactory

from sessions_app import sign_in
from sessions_app.models import SignInFailures
from tests.pages import text
from tests.rows import make_staff

pytestmark = pytest.mark.django_db

CONSOLE, ADMIN = "/login/", "/admin/login/"
RIGHT, WRONG = "a password of her own", "a wrong one"
WAIT = "Too many sign-ins have failed."


@pytest.fixture(autouse=True)
def ana(settings: Any) -> Any:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    return make_staff("ana", password=RIGHT)


def attempt(password: str, *, name: str = "ana", at: str = CONSOLE, **meta: str) -> str:
    """What the answer says; nothing where the person is in."""
    response = Client().post(at, {"username": name, "password": password}, **meta)  # type: ignore[arg-type]
    return "" if response.status_code == 302 else text(response.content.decode())


def fail(times: int, **how: Any) -> str:
    return [attempt(WRONG, **how) for _ in range(times)][-1]


def later(**much: float) -> None:
    """As if so much time had passed."""
    by = timedelta(**much)
    SignInFailures.objects.update(last_at=F("last_at") - by, wait_until=F("wait_until") - by)


@pytest.mark.parametrize("face", [CONSOLE, ADMIN])
def test_after_five_failures_even_the_right_password_has_to_wait(face: str) -> None:
    assert WAIT not in fail(4, at=face)
    assert f"{WAIT} Try again in 30 seconds." in fail(1, at=face)
    assert WAIT in attempt(RIGHT, at=face)
    later(seconds=31)
    assert attempt(RIGHT, at=face) == ""


def test_both_faces_count_together() -> None:
    fail(3, at=CONSOLE)
    assert WAIT in fail(2, at=ADMIN)
    assert WAIT in attempt(RIGHT, at=CONSOLE)


def test_each_failure_doubles_the_wait_up_to_a_quarter_of_an_hour() -> None:
    fail(5)
    said = []
    for _ in range(6):
        later(seconds=900)
        said.append(fail(1))
        SignInFailures.objects.update(last_at=sign_in.timezone.now())
    assert "in 60 seconds" in said[0]
    assert "in 2 minutes" in said[1]
    assert "in 15 minutes" in said[4]
    assert "in 15 minutes" in said[5]


def test_a_refused_attempt_does_not_lengthen_the_wait() -> None:
    fail(5)
    fail(20)
    later(seconds=31)
    assert attempt(RIGHT) == ""


def test_signing_in_forgets_the_failures_before_it() -> None:
    fail(4)
    assert attempt(RIGHT) == ""
    assert WAIT not in fail(4)


def test_failures_are_forgotten_after_an_hour() -> None:
    fail(4)
    later(minutes=61)
    assert WAIT not in fail(4)


def test_others_are_not_kept_out() -> None:
    make_staff("rui", password=RIGHT)
    fail(5)
    assert attempt(RIGHT, name="rui") == ""
    assert attempt(RIGHT, REMOTE_ADDR="192.0.2.7") == ""


def test_one_address_cannot_try_a_password_on_everybody() -> None:
    for n in range(29):
        assert WAIT not in fail(1, name=f"person-{n}")
    assert WAIT in fail(1, name="person-29")
    assert WAIT in attempt(RIGHT)
    assert attempt(RIGHT, REMOTE_ADDR="192.0.2.7") == ""


def test_many_addresses_cannot_guess_one_password_without_end() -> None:
    for n in range(100):
        fail(1, REMOTE_ADDR=f"192.0.2.{n}")
    assert f"{WAIT} Try again in 30 seconds." in attempt(RIGHT, REMOTE_ADDR="192.0.2.200")


def test_an_account_of_ones_own_buys_no_guesses_at_others() -> None:
    make_staff("mallory", password=RIGHT)
    for n in range(29):
        fail(1, name=f"person-{n}")
        attempt(RIGHT, name="mallory")
    assert WAIT in fail(1, name="person-29")


def test_nothing_that_was_typed_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    fail(6, name="my-password-in-the-wrong-field")
    kept = str(list(SignInFailures.objects.values()))
    assert SignInFailures.objects.count() == 3
    for typed in ("my-password", WRONG, "127.0.0.1"):
        assert typed not in kept and typed not in caplog.text


@pytest.mark.parametrize(
    ("proxies", "header", "address"),
    [
        (0, "203.0.113.9", "127.0.0.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (2, "198.51.100.1, 203.0.113.9", "198.51.100.1"),
        (1, "", "127.0.0.1"),
        (2, "203.0.113.9", "127.0.0.1"),
        (1, "nonsense", ""),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ],
)
def test_only_what_trusted_proxies_say_about_the_client_counts(
    settings: Any, proxies: int, header: str, address: str
) -> None:
    settings.OXY_TRUSTED_PROXIES = proxies
    headers = {"X-Forwarded-For": header} if header else {}
    assert sign_in.client_address(RequestFactory().post(CONSOLE, headers=headers)) == address


def test_a_client_cannot_escape_by_naming_other_addresses(settings: Any) -> None:
    settings.OXY_TRUSTED_PROXIES = 1
    for n in range(5):
        fail(1, HTTP_X_FORWARDED_FOR=f"198.51.100.{n}, 203.0.113.9")
    assert WAIT in attempt(RIGHT, HTTP_X_FORWARDED_FOR="198.51.100.99, 203.0.113.9")
