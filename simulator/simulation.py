"""The simulator as a Python object: start, stop, phones, faults and what was seen, all callable from any thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from simulator.certificates import CA_FILE, tls_context
from simulator.control import ControlServer
from simulator.curve import KeyPair
from simulator.errors import SimulatorError
from simulator.faults import FaultSwitch
from simulator.handset import Handset
from simulator.media import MediaServer
from simulator.noise import ServerKeys
from simulator.phone import Phone
from simulator.server import ClientServer, Ports
from simulator.state import State
from simulator.transcript import Connections, Transcript
from simulator.world import World

T = TypeVar("T")

STATE_FILE, MEDIA_DIRECTORY = "simulator.sqlite3", "media"
START_TIMEOUT = 20
#: Connections that were cut end by themselves; what has not ended after this many seconds is cancelled.
LEAVE_TIME = 2
LAST_TURNS = 0.02


class Simulator:
    """A local WhatsApp, in a thread of its own.

        with Simulator(state_dir=path) as sim:
            ana = sim.phone("5511987650001", name="Ana")
            ana.scan(qr_text)

    `state_dir` keeps accounts, devices, keys and ports; without one they are gone at the end. After `stop()`, `start()` brings the same
    simulator back on the same ports. `ports` fixes some of them.
    """

    def __init__(self, state_dir: Path | str | None = None, *, ports: Ports | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="oxy-simulator-") if state_dir is None else None
        self.state_dir = Path(self._temporary.name if self._temporary else str(state_dir)).absolute()
        self._fixed = ports or Ports()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._handsets: dict[str, Handset] = {}
        self._server: ClientServer | None = None
        self._control: ControlServer | None = None
        self.faults = FaultSwitch(self.wait, lambda: self.world.faults)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._temporary:
            self._temporary.cleanup()

    # -- start and stop --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to listen; SimulatorError where that can't be. No-op while it runs."""
        if self._thread:
            return
        self.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(self._loop,), name="simulator", daemon=True)
        self._thread.start()
        try:
            self._await(self._open(), START_TIMEOUT)
        except BaseException:
            self._end_thread()
            raise

    def stop(self) -> None:
        """Cut everything off and stop listening; what is remembered stays in the state directory. No-op while stopped."""
        if self._thread:
            self._await(self._close(), START_TIMEOUT)
            self._end_thread()

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def _end_thread(self) -> None:
        assert self._loop and self._thread
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop = self._thread = None

    async def _open(self) -> None:
        try:
            state = State(self.state_dir / STATE_FILE)
        except sqlite3.Error as error:
            raise SimulatorError(f"The state file {self.state_dir / STATE_FILE} can't be used: {error}.") from error
        try:
            media = MediaServer(self.state_dir / MEDIA_DIRECTORY)
            self.world = World(state, _server_keys(state), asyncio.get_running_loop().call_later, media)
            for account in state.accounts():
                Phone(self.world, account).switch_on()
            self._server = ClientServer(self.world, tls_context(self.state_dir), self._ports(state))
            self.world.faults.bind(self._server)
            await self._server.open()
            self._control = ControlServer(self)
            await self._control.start()
            state.put("ports", json.dumps(asdict(self._server.ports)).encode())
        except BaseException:
            await self._stop_listening()
            state.close()
            raise

    async def _stop_listening(self) -> None:
        # asyncio loses a socket that it has accepted, but not yet given a transport, when its listener closes.
        for _ in range(3):
            await asyncio.sleep(0)
        if self._server:
            await self._server.shut(refuse=True)
        if self._control:
            self._control.stop()
        self._control = None

    async def _close(self) -> None:
        await self._stop_listening()
        end = asyncio.get_running_loop().time() + LEAVE_TIME
        # A connection that was accepted in the last moment begins its task while the others end.
        while others := [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]:
            await asyncio.wait(others, timeout=max(0, end - asyncio.get_running_loop().time()))
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await asyncio.sleep(0)
        # A transport that was just closed gives its socket back in a later turn of the loop, and cannot be waited for.
        await asyncio.sleep(LAST_TURNS)
        self.world.state.close()

    def _ports(self, state: State) -> Ports:
        kept = json.loads(state.get("ports") or b"{}")
        return Ports(**{**kept, **{name: port for name, port in asdict(self._fixed).items() if port}})

    # -- how to get here -------------------------------------------------------------------------------------------------

    @property
    def ports(self) -> Ports:
        assert self._server, "the simulator was never started"
        return self._server.ports

    @property
    def root_key(self) -> bytes:
        """The Noise root key that a client must trust, 32 bytes."""
        return self.world.keys.root.public

    @property
    def ca_file(self) -> Path:
        return self.state_dir / CA_FILE

    @property
    def proxy_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.proxy}"

    @property
    def ws_url(self) -> str:
        """Where Baileys connects."""
        return f"ws://127.0.0.1:{self.ports.ws}/ws/chat"

    @property
    def control_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.control}"

    @property
    def environment(self) -> dict[str, str]:
        """What a client's process needs in its environment, from its exec on."""
        return {
            "HTTPS_PROXY": self.proxy_url,
            "SSL_CERT_FILE": str(self.ca_file),
            "OXY_SIMULATOR": "1",
            "OXY_SIMULATOR_ROOT": self.root_key.hex(),
            "OXY_SIMULATOR_CONTROL": self.control_url,
        }

    @property
    def ready_line(self) -> dict[str, Any]:
        """All of that as one JSON object, as `python -m simulator` prints it."""
        return {
            "proxy": self.proxy_url,
            "ca_file": str(self.ca_file),
            "root_key": self.root_key.hex(),
            "control": self.control_url,
            "ws": self.ws_url,
            "environment": self.environment,
        }

    # -- what is in it ---------------------------------------------------------------------------------------------------

    def phone(self, number: str, name: str = "") -> Handset:
        """The phone with this number; account and phone are made where there are none."""
        return self.call(lambda: self._handset(Phone.get(self.world, number, name)))

    @property
    def phones(self) -> list[Handset]:
        return self.call(lambda: [self._handset(phone) for phone in self.world.phones.values()])

    @property
    def transcript(self) -> Transcript:
        return self.world.transcript

    @property
    def connections(self) -> Connections:
        return self.world.connections

    def _handset(self, phone: Phone) -> Handset:
        handset = self._handsets.setdefault(phone.account.number, Handset(self, phone.account))
        phone.changed = handset.changed
        return handset

    # -- into the simulator's thread -------------------------------------------------------------------------------------

    def call(self, function: Callable[[], T]) -> T:
        """Run a function in the simulator's thread; its result or its error."""

        async def run() -> T:
            return function()

        return self._await(run())

    def wait(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine there; TimeoutError after `timeout` seconds."""
        return self._await(work, timeout)

    def _await(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        if self._loop is None:
            work.close()
            raise SimulatorError("The simulator is stopped.")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except concurrent.futures.CancelledError:
            raise SimulatorError("The simulator was stopped meanwhile.") from None


def _server_keys(state: State) -> ServerKeys:
    """The server's Noise keys; made at the first start."""
    kept = state.get("noise")
    keys = ServerKeys(*(KeyPair.from_private(kept[i : i + 32]) for i in (0, 32, 64))) if kept else ServerKeys.generate()
    if not kept:
        state.put("noise", keys.root.private + keys.intermediate.private + keys.leaf.private)
    return keys
