"""The whole product as real processes on a database of its own: Daphne, `runhost` and the simulator, on loopback."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from simulator import Simulator
from tests.processes import ROOT

T = TypeVar("T")
START_TIMEOUT = 60.0


def eventually(look: Callable[[], T], what: str, within: float = 30.0) -> T:
    """Look until there is something to see; fails with what was awaited."""
    end = time.monotonic() + within
    while not (found := look()):
        assert time.monotonic() < end, f"not seen within {within:.0f} s: {what}"
        time.sleep(0.05)
    return found


class Stack:
    """One installation in a folder. Processes are started and ended by name: `web`, `worker`."""

    def __init__(self, folder: Path, sim: Simulator) -> None:
        self.folder, self.sim = folder, sim
        self.stores = folder / "sessions"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._database = new_database(folder)
        self.password = ""

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.sim.environment,
            "DATABASE_URL": self._database,
            "WHATSAPP_SESSION_PATH": str(self.stores),
            "PYTHONUNBUFFERED": "1",
        }

    def set_up(self) -> None:
        self.manage("migrate", "--verbosity", "0")
        said = self.manage("ensure_admin")
        found = re.search(r"as (\S+) with the password (\S+)", said)
        assert found, said
        self.user, self.password = found.groups()

    def manage(self, *arguments: str) -> str:
        """Run a management command; its standard output."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, name: str, command: list[str] | None = None, **over: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("ab")
        process = self._processes[name] = subprocess.Popen(
            command or self._command(name),
            cwd=ROOT,
            env={**self.environment, **over},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        if name == "web":
            eventually(self._answers, "the web process", START_TIMEOUT)
        return process

    def _command(self, name: str) -> list[str]:
        if name == "web":
            program = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port)]
            return [*program, "oxy.asgi:application"]
        return [sys.executable, "manage.py", "runhost"]

    def kill(self, name: str) -> None:
        """kill -9 of the process and everything that it started, all at once."""
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        for pid in descendants(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()

    def stop(self, name: str) -> int:
        """SIGTERM, as a platform does; the exit status."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=20)

    def stop_all(self) -> None:
        for name in list(self._processes):
            self.kill(name)

    def wipe_live_stores(self) -> None:
        shutil.rmtree(self.stores)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Look into the database from outside."""
        if self._database.startswith("sqlite"):
            import sqlite3

            connection = sqlite3.connect(self._database.removeprefix("sqlite:///"), timeout=20)
            try:
                return connection.execute(sql).fetchall()
            finally:
                connection.close()
        with psycopg.connect(self._database) as postgres:
            return postgres.execute(sql).fetchall()  # type: ignore[arg-type]

    def _answers(self) -> bool:
        process = self._processes["web"]
        assert process.poll() is None, self.log("web")
        try:
            with urllib.request.urlopen(f"{self.url}/login/", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def descendants(pid: int) -> list[int]:
    """Every process below this one, engines included."""
    found: list[int] = []
    for task in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = task.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(task.parent.name)
            found += [child, *descendants(child)]
    return found


def new_database(folder: Path) -> str:
    """An empty database of the kind that this run is about."""
    url = os.environ.get("OXY_TEST_DATABASE_URL")
    if not url:
        return f"sqlite:///{folder / 'oxy.sqlite3'}"
    name = f"acceptance_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
    return f"{url.rpartition('/')[0]}/{name}"
