"""A whole installation on loopback: PostgreSQL, Daphne and hosts that take each other for other machines."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from benchmarks.relay import Relay, Relays
from simulator import Simulator
from tests import postgres
from tests.acceptance.stack import descendants, free_port

ROOT = Path(__file__).resolve().parent.parent
KEYS = {"SECRET_KEY": "benchmarks-only", "OXY_ENCRYPTION_KEYS": "dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk="}
#: What PostgreSQL has confirmed is on its disk, as by its own defaults.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
T = TypeVar("T")


def eventually(look: Callable[[], T], what: str, within: float = 60.0) -> T:
    """Look until there is something to see; TimeoutError names what was awaited."""
    end = time.monotonic() + within
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"not seen within {within:.0f} s: {what}")
        time.sleep(0.05)
    return found


class Process:
    """A process of the installation with everything below it."""

    def __init__(self, name: str, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self._command, self._environment, self._folder = command, environment, folder
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self, **over: str) -> None:
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._popen = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**self._environment, **over},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pids(self) -> list[int]:
        if self._popen is None or self._popen.poll() is not None:
            return []
        return [self._popen.pid, *descendants(self._popen.pid)]

    def signal(self, number: int) -> None:
        """To every process of it, the parents first."""
        send(self.pids, number)

    def kill(self) -> None:
        """As when the power is gone: nobody gets to do anything about the death of another."""
        pids = self.pids
        send(pids, signal.SIGSTOP)
        send(pids, signal.SIGKILL)
        if self._popen:
            self._popen.wait()
            self._popen = None

    def stop(self) -> None:
        if self._popen:
            self._popen.send_signal(signal.SIGTERM)
            try:
                self._popen.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
            self._popen = None


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


class HostMachine(Process):
    """`runhost` with a disk, a network and a machine name of its own; a new name at every start, as containers have."""

    def __init__(self, name: str, installation: Installation) -> None:
        self.disk = installation.folder / f"disk-{name}"
        self.whatsapp: Relay = installation.relays.to(installation.sim.ports.proxy)
        self.database: Relay = installation.relays.to(installation.postgres.port)
        environment = {
            **installation.environment,
            "HTTPS_PROXY": f"http://127.0.0.1:{self.whatsapp.port}",
            "DATABASE_URL": installation.database_url.replace(
                f":{installation.postgres.port}/", f":{self.database.port}/"
            ),
            "WHATSAPP_SESSION_PATH": str(self.disk),
        }
        super().__init__(name, [sys.executable, "-m", "benchmarks.host_elsewhere"], environment, installation.folder)
        self._starts = itertools.count(1)
        self.machine = ""

    def start(self, **over: str) -> None:
        self.machine = f"{self.name}-{next(self._starts)}"
        super().start(OXY_BENCHMARK_MACHINE=self.machine, **over)

    @property
    def engines(self) -> list[int]:
        return [pid for pid in self.pids if b"sessions_app.engine" in command_line(pid)]

    def wipe(self) -> None:
        shutil.rmtree(self.disk, ignore_errors=True)


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class Installation:
    """Use as a context manager; everything ends with it. Logs stay in `folder`."""

    def __init__(self, folder: Path, hosts: int = 2, database: str = "postgresql") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._hosts, self._database = hosts, database

    def __enter__(self) -> Self:
        self.sim = Simulator(state_dir=self.folder / "simulator")
        self.sim.start()
        self.relays = Relays()
        if self._database == "postgresql":
            self.postgres = postgres.Server(**DURABLE)
            self.database_url = self.postgres.url
        else:
            self.database_url = f"sqlite:///{(self.folder / 'oxy.sqlite3').absolute()}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OXY_")},
            **KEYS,
            **self.sim.environment,
            "DATABASE_URL": self.database_url,
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "oxy.settings",
        }
        migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=ROOT, env=self.environment, check=True, timeout=120)
        self.port = free_port()
        daphne = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(self.port), "oxy.asgi:application"]
        self.web = Process("web", daphne, self.environment, self.folder)
        self.hosts = [HostMachine(f"host-{letter}", self) for letter in "abcdefgh"[: self._hosts]]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*self.hosts, self.web):
            process.stop() if kind is None else process.kill()
        if self._database == "postgresql":
            self.postgres.remove()
        self.sim.stop()
        self.relays.end()

    def web_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/login/", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False
