"""Settings that cannot be used end the process with one sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.processes import ROOT


def read_settings(**over: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import oxy.settings"]
    return subprocess.run(command, env={**os.environ, **over}, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY is not set."),
        ({"OXY_ENCRYPTION_KEYS": ""}, "OXY_ENCRYPTION_KEYS is not set."),
        ({"DATABASE_URL": "mysql://somebody:hunter2@host/oxy"}, "DATABASE_URL cannot be used."),
        ({"DATABASE_URL": "postgres://somebody:hunter2@host:port/oxy"}, "DATABASE_URL cannot be read."),
        ({"PORT": "http"}, "PORT must be a whole number."),
        ({"OXY_LANGUAGE": "tlh"}, "OXY_LANGUAGE must be one of: en, pt-br."),
        ({"OXY_WORKERS": "many"}, "OXY_WORKERS must be a whole number."),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_a_sentence(over: dict[str, str], sentence: str) -> None:
    done = read_settings(**over)

    assert done.returncode == 1
    assert done.stderr.startswith(f"oxy: {sentence}")
    assert done.stderr.count("\n") == 1
    assert "hunter2" not in done.stderr


def test_settings_that_are_empty_are_taken_as_not_set() -> None:
    assert read_settings(DATABASE_URL="", PORT="", REDIS_URL="").returncode == 0


def test_the_name_that_a_platform_gives_is_a_host_where_none_is_set() -> None:
    given = {"RAILWAY_PUBLIC_DOMAIN": "oxy.up.railway.app", "RENDER_EXTERNAL_HOSTNAME": "oxy.onrender.com"}

    assert hosts(**given)[:2] == list(given.values())
    assert hosts(**given, ALLOWED_HOSTS="oxy.example") == ["oxy.example"]


def hosts(**over: str) -> list[str]:
    command = [sys.executable, "-c", "import oxy.settings; print(*oxy.settings.ALLOWED_HOSTS)"]
    done = subprocess.run(command, env={**os.environ, **over}, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()
