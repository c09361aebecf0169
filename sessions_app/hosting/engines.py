"""Engine processes of a host: start, talk to, watch, and place sessions on them.

An engine is started with exec and ends when its standard input closes, so it never outlives the host. Two threads serve each: one
writes commands (a frozen engine must block nobody else), one reads events. Both only move messages; what they mean is the
runner's business.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sessions_app.engine import events
from sessions_app.engine.events import BadMessage, EngineStarted, RenewLease, ShutDown
from sessions_app.hosting.suspects import Suspects, may_share

log = logging.getLogger(__name__)

#: Sessions whose library threads were left behind by a stop in the QR phase; beyond this the engine takes no new ones.
MOST_LEAKS = 25

#: Memory and descriptors beyond which an engine is worn: a part of its own, and one for each session that it may run. The library
#: leaves a database pool behind with each connection that it opens; nothing but the end of the process closes those.
OWN_MEMORY, SESSION_MEMORY = 150 << 20, 4 << 20
OWN_FILES, SESSION_FILES = 100, 20
#: Exit statuses of a process that crashed by itself: Go's fatal errors, and signals of the processor.
CRASHES = frozenset({2, *(-s for s in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE))})

#: An engine needs no secret of ours, so it is given none.
NOT_FOR_ENGINES = frozenset({"SECRET_KEY", "OXY_ENCRYPTION_KEYS", "DATABASE_URL", "REDIS_URL"})
PROJECT = Path(__file__).resolve().parents[2]

Listener = Callable[["Engine", Any], None]


class Engine:
    """One engine process. `listener(engine, event)` is called on its reader thread, with None once it is gone."""

    def __init__(self, number: int, listener: Listener, environment: Mapping[str, str], share: int = 1) -> None:
        self.number, self.sessions, self.leaks = number, set[str](), 0
        #: How many sessions may be on it, and whether it is to be replaced: then it gets no more.
        self.share, self.worn = share, False
        self.library = ""
        self._listener = listener
        self._commands: queue.SimpleQueue[Any] = queue.SimpleQueue()
        read_end, write_end = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sessions_app.engine", "--events-fd", str(write_end)],
            stdin=subprocess.PIPE,
            pass_fds=[write_end],
            env={name: value for name, value in environment.items() if name not in NOT_FOR_ENGINES},
            cwd=PROJECT,
        )
        os.close(write_end)
        self._events = os.fdopen(read_end, "rb")
        self._threads = [
            threading.Thread(target=self._read, name=f"engine-{number}-reader", daemon=True),
            threading.Thread(target=self._write, name=f"engine-{number}-writer", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        log.info("engine_started", extra={"engine": number, "pid": self.pid})

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def crashed(self) -> bool:
        """Whether the process is gone by its own fault."""
        return self._process.poll() in CRASHES

    def size(self) -> tuple[int, int]:
        """Its memory in bytes, and its descriptors; zeros where the system does not tell."""
        process = Path(f"/proc/{self.pid}")
        try:
            pages = int((process / "statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(process / "fd"))
        except OSError:
            return 0, 0

    def send(self, command: Any) -> None:
        """Queue a command; a dead engine swallows it, and its end is reported by the listener."""
        self._commands.put(command)

    def stop(self, timeout: float) -> None:
        """Let it close its sockets and exit; kill it when it takes longer than `timeout` seconds."""
        self.send(ShutDown())
        self._commands.put(None)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        try:
            while (command := self._commands.get()) is not None:
                pipe.write(events.encode(command) + b"\n")
                pipe.flush()
        except OSError:
            log.debug("engine_pipe_broken", extra={"engine": self.number})
        finally:
            with contextlib.suppress(OSError):
                pipe.close()

    def _read(self) -> None:
        with self._events:
            for line in self._events:
                self._hear(line)
        status = self._process.wait()
        self._commands.put(None)
        log.log(
            logging.INFO if status == 0 else logging.ERROR,
            "engine_ended",
            extra={"engine": self.number, "pid": self.pid, "exit_status": status, "sessions": len(self.sessions)},
        )
        self._listener(self, None)

    def _hear(self, line: bytes) -> None:
        try:
            event = events.decode(line)
        except BadMessage as error:
            log.error("engine_message_unreadable", extra={"engine": self.number, "error": str(error)})
            return
        if isinstance(event, EngineStarted):
            self.library = f"neonize {event.library}, WhatsApp {event.whatsapp_version}"
        self._listener(self, event)


class Engines:
    """The engines of a host, and which session is on which. Safe in any thread."""

    def __init__(self, listener: Listener, *, capacity: int, environment: Mapping[str, str] | None = None) -> None:
        self._listener, self._capacity = listener, capacity
        self._environment = dict(os.environ if environment is None else environment)
        self._engines: list[Engine] = []
        self._suspects = Suspects()
        self.most_memory = OWN_MEMORY + SESSION_MEMORY * capacity
        self.most_files = OWN_FILES + SESSION_FILES * capacity
        self._lock = threading.Lock()
        self._started = 0

    @property
    def all(self) -> list[Engine]:
        with self._lock:
            return list(self._engines)

    def warm_up(self) -> None:
        """Have an engine ready: loading the library takes longer than all else that a session needs to start."""
        with self._lock:
            if not self._engines:
                self._start(self._capacity)

    def place(self, session: str) -> Engine:
        """The engine that is to run this session: the emptiest with room for the likes of it, or a new one."""
        with self._lock:
            self._retire_drained()
            share = may_share(self._suspects.strikes(session), self._capacity)
            fitting = [
                e for e in self._engines if e.alive and not e.worn and e.share == share and len(e.sessions) < share
            ]
            engine = min(fitting, key=lambda e: len(e.sessions)) if fitting else self._start(share)
            engine.sessions.add(session)
            return engine

    def remove(self, engine: Engine, session: str, *, leaked: bool = False) -> None:
        """The session is no longer on this engine."""
        with self._lock:
            engine.sessions.discard(session)
            engine.leaks += leaked
            engine.worn |= engine.leaks >= MOST_LEAKS
            self._retire_drained()

    def measure(self) -> None:
        """Find engines that have grown too large; their sessions are to be moved, one at a time."""
        for engine in self.all:
            memory, files = engine.size()
            if not engine.worn and (memory > self.most_memory or files > self.most_files):
                engine.worn = True
                extra = {"engine": engine.number, "memory": memory, "files": files, "sessions": len(engine.sessions)}
                log.warning("engine_worn", extra=extra)
        with self._lock:
            self._retire_drained()

    def renew(self, seconds: dict[str, float], *, since: float = 0.0) -> None:
        """Tell each engine how long the leases of its sessions still run, counted as `RenewLease` says."""
        for engine in self.all:
            mine = {session: left for session, left in seconds.items() if session in engine.sessions}
            if mine:
                engine.send(RenewLease(seconds=mine, since=since))

    def stop(self, timeout: float) -> None:
        """Stop all engines, side by side, within `timeout` seconds."""
        stoppers = [threading.Thread(target=engine.stop, args=(timeout,)) for engine in self.all]
        for thread in stoppers:
            thread.start()
        for thread in stoppers:
            thread.join()

    def _start(self, share: int) -> Engine:
        self._started += 1
        engine = Engine(self._started, self._on_event, self._environment, share)
        self._engines.append(engine)
        return engine

    def _on_event(self, engine: Engine, event: Any) -> None:
        if event is None:
            with self._lock:
                if engine in self._engines:
                    self._engines.remove(engine)
                if engine.crashed:
                    self._suspects.strike(engine.sessions)
        self._listener(engine, event)

    def _retire_drained(self) -> None:
        """End an engine that runs nothing any more and is worn, or was for a few; the others stay."""
        unused = [e for e in self._engines if not e.sessions]
        for engine in [e for e in unused if e.worn or e.share < self._capacity]:
            self._engines.remove(engine)
            threading.Thread(target=engine.stop, args=(5.0,), daemon=True).start()
