"""`manage.py demo` as a person starts it: everything comes up, says where it is, and goes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from django.contrib.auth import authenticate

from tests import processes
from tests.postgres import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(120)]

PATIENCE = 60.0


class Demo:
    """A running demo, and the lines that it has shown."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--state", str(folder / "simulator"), "--port", str(self.port)],
            env=processes.environment(WHATSAPP_SESSION_PATH=str(folder / "sessions")),
            cwd=processes.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._alarm = threading.Timer(PATIENCE, self.process.kill)
        self._alarm.start()
        self.lines: list[str] = []

    def expect(self, pattern: str) -> str:
        """Read on until a line matches; what the pattern's group holds."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match.group(1)
        raise AssertionError("".join(self.lines))

    def end(self) -> None:
        self._alarm.cancel()
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    demo.end()


def test_everything_comes_up_says_where_it_is_and_goes(demo: Demo) -> None:
    console = demo.expect(r"Oxy is up: (http://\S+)")
    phones = demo.expect(r"simulated phones: (http://\S+)")
    account, password = demo.expect(r"Sign in as (\S+ with the password \S+)").split(" with the password ")

    for address in (console, phones):
        with urllib.request.urlopen(address, timeout=10) as page:
            assert page.status == 200
    assert authenticate(username=account, password=password)

    everybody = psutil.Process(demo.process.pid).children(recursive=True)
    os.kill(demo.process.pid, signal.SIGINT)
    assert demo.process.wait(20) == 0
    assert psutil.wait_procs(everybody, 5)[1] == []


def test_a_killed_demo_leaves_nothing_behind(demo: Demo) -> None:
    demo.expect(r"Oxy is up: (\S+)")
    everybody = psutil.Process(demo.process.pid).children(recursive=True)

    demo.process.kill()

    assert psutil.wait_procs(everybody, 20)[1] == []
