"""Several programs as one, with real children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest

from sessions_app import launch
from tests import processes

PATIENCE = 20.0
#: Says that it runs; at SIGTERM says that it ends.
POLITE = """
import signal, sys
def end(*_):
    print("ending")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("running")
signal.pause()
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('running')\nwhile True: signal.pause()"


def program(name: str, text: str) -> launch.Program:
    return launch.Program(name, [sys.executable, "-c", text])


class Screen:
    """What was shown, and a way to wait for it."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def shows(self, *texts: str) -> bool:
        return all(text in self.text for text in texts)


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def launcher(screen: Screen) -> Iterator[launch.Launcher]:
    with launch.Launcher(screen.write) as launcher:
        yield launcher


def test_every_line_has_its_programs_name_in_front(launcher: launch.Launcher, screen: Screen) -> None:
    launcher.start(program("web", POLITE.replace("running", "one\\ntwo")))
    launcher.start(program("worker", POLITE))

    launcher.wait(lambda: screen.shows("web       | one\nweb       | two\n", "worker    | running\n"))


def test_when_one_ends_all_end(launcher: launch.Launcher, screen: Screen) -> None:
    launcher.start(program("web", POLITE))
    launcher.wait(lambda: screen.shows("running"))
    launcher.start(program("worker", "raise SystemExit(3)"))

    with pytest.raises(launch.Ended):
        launcher.wait()

    assert launcher.end() == 1
    assert screen.shows("worker ended by itself with status 3", "web       | ending")


def test_a_program_that_does_not_end_is_killed_with_what_it_started(
    launcher: launch.Launcher, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "STOP_WITHIN", 0.3)
    launcher.start(program("deaf", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {DEAF!r}])"))
    launcher.wait(lambda: screen.shows("running"))
    children = psutil.Process().children(recursive=True)
    assert len(children) == 2

    assert launcher.end() == 0

    assert psutil.wait_procs(children, PATIENCE)[1] == []


def test_lines_that_are_not_shown_go_untouched_where_the_launchers_own_go() -> None:
    """For `serve`: what collects lines of JSON wants no names in front."""
    text = UNSHOWN.format(polite=POLITE)
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", text],
        cwd=processes.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        alarm = threading.Timer(PATIENCE, process.kill)
        alarm.start()
        assert process.stdout
        first = process.stdout.readline()
        process.terminate()
        rest, said = process.communicate()
        alarm.cancel()

    assert (first, rest, said, process.returncode) == ("running\n", "ending\n", "", 0)


UNSHOWN = """
import sys
from sessions_app import launch
with launch.Launcher(sys.stderr.write, shows_lines=False) as launcher:
    launcher.start(launch.Program("web", [sys.executable, "-c", {polite!r}]))
    try:
        launcher.wait()
    except launch.Ended:
        sys.exit(launcher.end())
"""


def test_the_first_line_is_given_and_the_rest_is_shown(launcher: launch.Launcher, screen: Screen) -> None:
    line = launcher.start(program("simulator", "print('secret')\n" + POLITE), first_line=True)

    assert line == "secret"
    launcher.wait(lambda: screen.shows("simulator | running"))
    assert not screen.shows("secret")


def test_a_program_that_ends_before_its_first_line_has_its_say(launcher: launch.Launcher, screen: Screen) -> None:
    with pytest.raises(launch.Ended):
        launcher.start(program("simulator", "raise SystemExit('no room')"), first_line=True)

    assert launcher.end() == 1
    assert screen.shows("simulator | no room")


LAUNCHER = f"""
import sys
from sessions_app import launch
with launch.Launcher(sys.stdout.write) as launcher:
    for name in ("web", "worker"):
        launcher.start(launch.Program(name, [sys.executable, "-c", {POLITE!r}]))
    try:
        launcher.wait()
    except launch.Ended:
        sys.exit(launcher.end())
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """A launcher in a process of its own, with two programs that run."""
    with subprocess.Popen(
        [sys.executable, "-u", "-c", LAUNCHER], cwd=processes.ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        alarm = threading.Timer(PATIENCE, process.kill)
        alarm.start()
        lines = {process.stdout.readline() for _ in range(2)}
        assert lines == {"web       | running\n", "worker    | running\n"}
        yield process
        alarm.cancel()
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_and_ends_all(process: subprocess.Popen[str], number: int) -> None:
    children = psutil.Process(process.pid).children()

    os.kill(process.pid, number)

    said, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert sorted(said.splitlines()) == ["web       | ending", "worker    | ending"]
    assert psutil.wait_procs(children, PATIENCE)[1] == []


def test_a_killed_launcher_leaves_no_program(process: subprocess.Popen[str]) -> None:
    children = psutil.Process(process.pid).children()
    assert len(children) == 2

    process.kill()

    assert psutil.wait_procs(children, PATIENCE)[1] == []


def test_a_port_in_use_is_named_with_the_way_to_choose_another() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(launch.PortInUse) as raised:
            launch.check_port("127.0.0.1", port)

        assert launch.answers("127.0.0.1", port)
    assert str(raised.value) == f"Port {port} on 127.0.0.1 is in use. Choose another with PORT, as in PORT={port + 1}."
    launch.check_port("127.0.0.1", port)
    assert not launch.answers("127.0.0.1", port)


RELIED_ON = POLITE.replace('print("running")', 'print("ready", flush=True)').replace('"ending"', '"last"')


def test_what_the_others_rely_on_ends_when_they_have_ended(launcher: launch.Launcher, screen: Screen) -> None:
    assert launcher.start(program("base", RELIED_ON), first_line=True) == "ready"
    launcher.start(program("one", POLITE))
    launcher.wait(lambda: screen.shows("running"))

    launcher.end()

    assert screen.text.index("ending") < screen.text.index("last")
