"""Starts the real neonize in a child process and talks with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

CHILD = Path(__file__).with_name("neonize_child.py")
PATIENCE = 30.0


class NeonizeClient:
    """A child with one client on the store at `store`. Events are remembered; `expect` takes the next one that fits."""

    def __init__(self, store: Path, environment: dict[str, str]) -> None:
        self.events: list[dict[str, Any]] = []
        self._seen: set[int] = set()
        self._grown = threading.Condition()
        self._number = 0
        reading, writing = os.pipe()
        command = [sys.executable, str(CHILD), str(store), uuid4().hex, str(writing)]
        log = None if os.environ.get("NEONIZE_LOG") else subprocess.DEVNULL
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment, "NO_PROXY": "", "no_proxy": ""},
            pass_fds=[writing],
            text=True,
        )
        os.close(writing)
        self._reader = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._reader.start()

    def __enter__(self) -> NeonizeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it without a goodbye."""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        if self.process.stdin:
            self.process.stdin.close()

    def expect(self, event: str, timeout: float = PATIENCE, **fields: Any) -> dict[str, Any]:
        """The next event of that name, with these fields, that was not expected before; AssertionError where none comes."""
        with self._grown:
            found: list[int] = []

            def look() -> bool:
                found.extend(
                    i for i, e in enumerate(self.events) if i not in self._seen and {**e, "event": event, **fields} == e
                )
                return bool(found)

            if not self._grown.wait_for(look, timeout):
                raise AssertionError(f"no {event} {fields} in {timeout} s, but {[e['event'] for e in self.events]}")
            self._seen.add(found[0])
            return self.events[found[0]]

    def names(self) -> list[str]:
        with self._grown:
            return [event["event"] for event in self.events]

    def run(self, do: str, timeout: float = PATIENCE, **args: Any) -> Any:
        """Have it do something; the result, or RuntimeError with what the library said."""
        self._number += 1
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"n": self._number, "do": do, "args": args}) + "\n")
        self.process.stdin.flush()
        done = self.expect("done", timeout, n=self._number)
        if "error" in done:
            raise RuntimeError(done["error"])
        return done["result"]

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor) as lines:
            for line in lines:
                with self._grown:
                    self.events.append(json.loads(line))
                    self._grown.notify_all()
