"""What stands before the library: sentences where it cannot be used, and the simulator's root key only on request.

The library itself is loaded in processes of their own: this one must stay without Go.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sessions_app.engine import loading

PROJECT = Path(__file__).resolve().parents[2]
ROOT = "ab" * 32


def run_engine(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"]} | environment,
    )


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    """The engine as a host starts it, with standard error as the pipe that nobody needs here."""
    return run_engine("-m", "sessions_app.engine", "--events-fd", "2", **environment)


def test_an_engine_without_commands_ends_by_itself() -> None:
    ended = start()
    assert ended.returncode == 0
    assert '"type":"EngineStarted"' in ended.stderr
    assert '"whatsapp_version":"2.3000.' in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("root", ["abcd", "nonsense", "ab" * 33])
def test_a_root_key_that_is_none_ends_the_engine_with_a_sentence(root: str) -> None:
    ended = start(OXY_SIMULATOR="1", OXY_SIMULATOR_ROOT=root)
    assert ended.returncode == 78
    assert "OXY_SIMULATOR_ROOT must be 32 bytes in hex" in ended.stderr
    assert root not in ended.stderr
    assert "Traceback" not in ended.stderr


PATCHED = """
import os, sys
from sessions_app.engine import loading
binding = loading.load(os.environ)
name = binding.gocode._name
print(len(loading.find_in_memory(name, loading.WHATSAPP_ROOT)), len(loading.find_in_memory(name, bytes.fromhex("{root}"))))
print("django" in sys.modules, "sqlite3" in sys.modules, type(sys.modules["magic"]).__name__)
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"OXY_SIMULATOR": "1", "OXY_SIMULATOR_ROOT": ROOT}, "0 1"),
        ({"OXY_SIMULATOR_ROOT": ROOT}, "1 0"),
        ({"OXY_SIMULATOR": "0", "OXY_SIMULATOR_ROOT": ROOT}, "1 0"),
        ({"OXY_SIMULATOR": "1"}, "1 0"),
    ],
)
def test_the_simulators_root_is_trusted_only_with_both_variables(environment: dict[str, str], expected: str) -> None:
    ended = run_engine("-c", PATCHED.format(root=ROOT), **environment)
    assert ended.stdout.splitlines() == [expected, "False False _MagicStandIn"], ended.stderr


def test_a_library_without_the_root_is_not_patched_anywhere() -> None:
    with pytest.raises(loading.LoadError, match="found 0 times instead of once"):
        loading.trust_simulator({"OXY_SIMULATOR": "1", "OXY_SIMULATOR_ROOT": ROOT}, ctypes.CDLL(None)._name or "none")


@pytest.mark.parametrize("answer", ["glibc 2.33", "glibc 2.31-13"])
def test_an_old_glibc_is_named(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: answer)
    with pytest.raises(loading.LoadError, match=r"glibc 2\.34 or newer .*this machine has glibc 2\.3"):
        loading.load({})


def test_a_system_without_glibc_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "confstr", lambda name: None)
    with pytest.raises(loading.LoadError, match="this one has no glibc"):
        loading.load({})


def test_a_package_without_its_shared_library_is_not_completed_from_the_internet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "neonize").mkdir()
    (tmp_path / "neonize" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(loading.LoadError, match="no shared library for this machine"):
        loading.load({})


CALLED_LATE = """
import ctypes, gc, os
from sessions_app.engine.library import Handlers, Library
library, heard = Library(os.environ), []
note = lambda *arguments: heard.append(arguments)
handlers = Handlers(
    qr=note, round_ended=note, event=note, dropped=note, not_resent=note, resending=note, resent=note, not_stored=note
)
addresses = []

def returns_at_once(*arguments):
    for callback in arguments[6:10]:
        addresses.append(ctypes.cast(callback, ctypes.c_void_p).value)
    return b""

library._go = type("Go", (), {"Neonize": staticmethod(returns_at_once)})
for run in range(50):
    library.run(f"run {run}", "/nowhere", device_name="Oxy", proxy_url="", handlers=handlers)
gc.collect()
noise = [ctypes.CFUNCTYPE(None)(lambda: None) for _ in range(1000)]
entry = library._proto.LogEntry(Message="Ignoring message A from 1@lid: old counter", Name="Client", Level="WARN").SerializeToString()
for run in range(50):
    qr, ended, event, log = addresses[4 * run : 4 * run + 4]
    library._binding.func_string(qr)(b"run 1", b"code")
    library._binding.func_string(ended)(b"run 1", b"timeout")
    library._binding.func_callback_bytes(event)(b"run 1", b"", 0, 12)
    library._binding.func_callback_bytes2(log)(entry, len(entry))
print("heard", heard)
"""


def test_what_the_library_calls_after_a_run_has_ended_is_still_there_and_changes_nothing() -> None:
    ended = run_engine("-c", CALLED_LATE)
    assert (ended.returncode, ended.stdout) == (0, "heard []\n"), ended.stderr[-2000:]
    assert ended.stderr.count("library_said") in (0, 50)
