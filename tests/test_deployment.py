"""The files that platforms read: judged by the platforms' own tools where a package brings them, and held against the code."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

from sessions_app import launch
from sessions_app.hosting import cluster
from tests.image import instructions
from tests.processes import ROOT

TOOLS = Path(sys.executable).parent
SECRETS = {"SECRET_KEY": "x", "POSTGRES_PASSWORD": "y", "OXY_ENCRYPTION_KEYS": "z"}
#: Seconds that whatever is stopped may take: a worker alone, or web and worker under `serve`.
NEEDED = max(cluster.STOP_WITHIN, launch.STOP_WITHIN)


def compose(**over: str) -> dict[str, Any]:
    """The composition as Docker Compose itself understands it."""
    environment = {"PATH": os.environ["PATH"], **SECRETS, **over}
    command = [TOOLS / "docker-compose", "--env-file", os.devnull, "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def exists(command: list[str]) -> bool:
    """Whether the image can run it: a management command, or the web server."""
    if command[:2] == ["python", "manage.py"]:
        return command[2] in get_commands()
    return command[0] == "daphne" and command[-1] == "oxy.asgi:application"


# --- Docker -------------------------------------------------------------------------


def test_the_dockerfile_passes_its_linter() -> None:
    done = subprocess.run([TOOLS / "hadolint", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_nobody_special_on_a_system_that_the_library_accepts() -> None:
    lines = instructions()
    bases = [arguments for name, arguments in lines if name == "FROM"]
    python = (ROOT / ".python-version").read_text().strip()
    assert all(base.startswith(f"python:{python}-slim-bookworm") for base in bases)
    last = dict(lines)
    assert last["USER"] == "10001:10001"
    assert exists(json.loads(last["CMD"]))


def test_no_secret_of_this_folder_gets_into_the_image() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert "*" in (ROOT / ".dockerignore").read_text().splitlines()
    assert not {"var", ".env", ".git", "tests", "docs"} & set(allowed)
    assert [name for name in allowed if name != "locale" and not (ROOT / name).exists()] == []


def test_the_composition_is_what_the_documents_promise() -> None:
    services = compose()["services"]

    assert set(services) == {"database", "migrate", "web", "worker"}
    assert services["worker"]["deploy"]["replicas"] == 3
    assert {name for name, each in services.items() if each.get("volumes")} == {"database"}
    for name in ("migrate", "web", "worker"):
        service = services[name]
        assert exists(service["command"])
        assert service["init"]
        assert seconds(service["stop_grace_period"]) > 2 * NEEDED
        assert service["build"]["context"] == str(ROOT)
    assert [port["host_ip"] for port in services["web"]["ports"]] == ["127.0.0.1"]
    assert services["web"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert services["migrate"]["depends_on"]["database"]["condition"] == "service_healthy"


@pytest.mark.parametrize("missing", SECRETS)
def test_the_composition_does_not_start_without_its_secrets(missing: str) -> None:
    with pytest.raises(AssertionError, match=missing):
        compose(**{missing: ""})


def test_the_example_of_secrets_names_what_the_composition_reads() -> None:
    named = set(re.findall(r"^(\w+)=", (ROOT / "docs/oxy.env.example").read_text(), flags=re.M))
    assert set(SECRETS) < named <= set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))


def seconds(text: str) -> float:
    minutes, rest = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text).groups()  # type: ignore[union-attr]
    return 60 * int(minutes or 0) + int(rest or 0)


# --- Render, Railway ----------------------------------------------------------------


def test_the_blueprint_starts_web_and_worker_on_a_disk() -> None:
    blueprint = yaml.safe_load((ROOT / "render.yaml").read_text())
    (service,), (database,) = blueprint["services"], blueprint["databases"]

    assert service["disk"]["mountPath"] == "/app/data"
    assert service["healthCheckPath"] == "/healthz"
    assert NEEDED * 2 < service["maxShutdownDelaySeconds"] <= 300
    for field in ("startCommand", "preDeployCommand"):
        assert exists(shlex.split(service[field].removeprefix("exec ")))
    # A command that is not the shell's last would never hear SIGTERM.
    assert service["startCommand"].startswith("exec ")
    variables = {each.pop("key"): each for each in service["envVars"]}
    assert variables["DATABASE_URL"]["fromDatabase"]["name"] == database["name"]
    assert {name for name, how in variables.items() if how.get("generateValue")} == {
        "SECRET_KEY",
        "OXY_ENCRYPTION_KEYS",
        "OXY_ADMIN_PASSWORD",
    }
    assert not {name for name in variables if not name_is_known(name)}


def name_is_known(name: str) -> bool:
    return f'"{name}"' in (ROOT / "oxy" / "settings.py").read_text()


def test_railways_file_and_the_documented_steps_agree() -> None:
    """The file stops being read on 2026-12-01: what it says must be in the document, too."""
    deploy, text = json.loads((ROOT / "railway.json").read_text())["deploy"], (ROOT / "docs/deploy.md").read_text()

    assert deploy["drainingSeconds"] > 2 * NEEDED
    assert f"RAILWAY_DEPLOYMENT_DRAINING_SECONDS={deploy['drainingSeconds']}" in text
    for command in [*deploy["preDeployCommand"], "python manage.py serve", "python manage.py runhost"]:
        assert command in text
        assert exists(shlex.split(command))


# --- documents ----------------------------------------------------------------------


def test_every_variable_that_is_read_is_documented() -> None:
    read = set(re.findall(r'"([A-Z][A-Z_]{3,})", default', (ROOT / "oxy" / "settings.py").read_text()))
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert len(read) > 25
    assert {name for name in read if f"`{name}`" not in text} == set()


def test_every_command_of_the_documents_exists() -> None:
    texts = [path.read_text() for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]]
    named = {name for text in texts for name in re.findall(r"manage\.py (\w+)", text)}
    assert len(named) > 8
    assert named <= set(get_commands())
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert {name for text in texts for name in re.findall(r"(?:`|^ +)make (\w+)", text, flags=re.M)} <= targets
