"""The image, without Docker: built in a clean folder and run by an ordinary user, it answers, beats, and stops when told to."""

from __future__ import annotations

import importlib.metadata
import json
import os
import secrets
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from packaging.requirements import Requirement

from simulator import Simulator
from tests.acceptance.stack import eventually, free_port, new_database
from tests.image import Image
from tests.processes import ROOT


@pytest.fixture
def image() -> Iterator[Image]:
    with Image() as image:
        image.build()
        yield image


def answer(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_it_is_built_and_runs_as_an_ordinary_user(image: Image, sim: Simulator, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    environment = {
        **sim.environment,
        "PORT": str(port),
        "SECRET_KEY": secrets.token_hex(32),
        "OXY_ENCRYPTION_KEYS": "dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk=",
        "OXY_ADMIN_PASSWORD": "correct horse battery",
        "OXY_LOG_FORMAT": "json",
    }
    if os.environ.get("OXY_TEST_DATABASE_URL"):
        environment["DATABASE_URL"] = new_database(tmp_path)
    before = set(image.app.rglob("*"))

    container = image.start(image.command, log, **environment)
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: answer(f"{url}/readyz") == 200, f"readiness; {log.read_text()}", 90)
        assert answer(f"{url}/healthz") == 200
        assert answer(f"{url}/static/oxy.css") == 200
        for check in (image.health_check, ["python", "manage.py", "runhost", "--beating"]):
            assert image.start(check, log, **environment).wait(60) == 0, log.read_text()
        assert administrators(image, log, environment) == "admin"
        everybody = psutil.Process(container.pid).children(recursive=True)
        assert all(image.user is None or each.uids().real == image.user.pw_uid for each in everybody)

        container.terminate()

        assert container.wait(20) == 0, log.read_text()
        assert psutil.wait_procs(everybody, 5)[1] == []
    finally:
        container.kill()
    assert image.start(["python", "manage.py", "runhost", "--beating"], log, **environment).wait(60) == 1
    written = {path.relative_to(image.app).parts[0] for path in set(image.app.rglob("*")) - before}
    assert written <= {"var", "data"}
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert {"lease_renewal", "worker_started"} & {line.get("action") for line in lines}
    assert "correct horse" not in log.read_text()


def administrators(image: Image, log: Path, environment: dict[str, str]) -> str:
    names = image.folder / "names"
    names.touch()
    os.chmod(names, 0o666)
    code = (
        "from django.contrib.auth.models import User; user = User.objects.get(is_superuser=True); "
        f"open({str(names)!r}, 'w').write(user.username * user.check_password('correct horse battery'))"
    )
    assert image.start(["python", "manage.py", "shell", "-c", code], log, **environment).wait(60) == 0
    return names.read_text()


def test_this_run_has_the_packages_that_the_image_installs() -> None:
    """So what runs above is what the image would run."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    for wanted in (Requirement(line) for line in lines if line):
        if wanted.marker is None or wanted.marker.evaluate():
            assert importlib.metadata.version(wanted.name) in wanted.specifier, wanted
