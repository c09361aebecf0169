"""An engine: takes commands, runs clients, and keeps the promise that no session outlives its lease or its host."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from sessions_app.engine import events
from sessions_app.engine.client import Client
from sessions_app.engine.deadman import DeadMansSwitch
from sessions_app.engine.library import Library, LibraryError
from sessions_app.engine.pipe import MessageWriter, read_messages
from sessions_app.engine.store_lock import StoreBusy, StoreLock

logger = logging.getLogger(__name__)

WATCH_SECONDS = 0.25
#: A socket that cannot be closed this long after its lease ran out is closed by ending the process.
DEAD_MAN_SECONDS = 3.0
#: What the kernel allows above that before it ends this process, frozen or not.
KERNEL_SECONDS = 0.5
SHUT_DOWN_SECONDS = 4.0
#: After the host is gone. The process is over within a second, whatever the library does.
ORPHAN_SECONDS = 0.8

EXIT_DEAD_MAN = 70


class Engine:
    """Obeys the commands that arrive on one descriptor, and reports on another."""

    def __init__(self, library: Library, *, commands_fd: int, events_fd: int) -> None:
        self._library = library
        self._commands_fd = commands_fd
        self._parent = os.getppid()
        self._pipe = MessageWriter(events_fd, name="pipe-writer", on_broken=self._end_as_orphan)
        self._switch = DeadMansSwitch()
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()
        self._starts: queue.SimpleQueue[Client] = queue.SimpleQueue()
        self._obey: dict[type, Callable[[events.Message], None]] = {
            events.PrepareStore: self._prepare_store,
            events.StartClient: self._start_client,
            events.StopClient: lambda command: self._client(command).stop(grace=command.grace),
            events.LogOut: lambda command: self._client(command).log_out(),
            events.RequestPairingCode: lambda command: self._client(command).request_pairing_code(command.phone),
            events.SendMessage: lambda command: self._client(command).send(command),
            events.Ask: lambda command: self._client(command).ask(command),
            events.FetchFile: lambda command: self._client(command).ask(command),
            events.RenewLease: self._renew_lease,
            events.ShutDown: lambda _: self._shut_down(),
        }

    def run(self) -> NoReturn:
        """Obey until the commands end, then end the process: threads of Go may hang, so it never returns."""
        for work in (self._start_clients, self._watch):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()
        self._pipe.send(
            events.EngineStarted(
                pid=os.getpid(), library=self._library.version, whatsapp_version=self._library.whatsapp_version
            )
        )
        for command in read_messages(self._commands_fd):
            self._do(command)
        logger.info("host_gone clients=%d", len(self._clients))
        self._end_as_orphan()

    def _do(self, command: events.Message) -> None:
        obey = self._obey.get(type(command))
        try:
            if obey is None:
                logger.error("command_unknown type=%s", type(command).__name__)
                return
            obey(command)
        except (NotHere, OSError) as error:
            self._fail(command, str(error))

    def _fail(self, command: events.Message, error: str) -> None:
        self._pipe.send(
            events.CommandFailed(
                session=command.session, command=type(command).__name__, error=error, ref=getattr(command, "ref", "")
            )
        )

    # --- commands ---------------------------------------------------------------

    def _client(self, command: events.Message) -> Client:
        with self._lock:
            client = self._clients.get(command.session)
        if client is None:
            raise NotHere("The session does not run in this engine.")
        return client

    def _prepare_store(self, command: events.PrepareStore) -> None:
        def prepare() -> None:
            try:
                with StoreLock(command.path):
                    accounts = self._library.prepare(command.path)
                error = "" if accounts <= 1 else "The live store holds more than one account."
            except StoreBusy as busy:
                error = str(busy)
            except (LibraryError, OSError) as failure:
                error = f"The live store could not be prepared: {failure}."
            self._pipe.send(events.StorePrepared(session=command.session, error=error))

        threading.Thread(target=prepare, name=f"prepare {command.session}", daemon=True).start()

    def _start_client(self, command: events.StartClient) -> None:
        with self._lock:
            if command.session in self._clients:
                raise NotHere("The session already runs in this engine.")
            client = self._clients[command.session] = Client(self._library, command, self._pipe, self._forget)
            self._arm()
        self._starts.put(client)

    def _forget(self, client: Client, last_word: events.ClientStopped) -> None:
        with self._lock:
            del self._clients[client.session]
            self._pipe.send(last_word)

    def _renew_lease(self, command: events.RenewLease) -> None:
        since = command.since or time.monotonic()
        with self._lock:
            for session, seconds in command.seconds.items():
                if client := self._clients.get(session):
                    client.deadline = since + seconds
            self._arm()

    def _arm(self) -> None:
        """Have the kernel end this process where nobody here closes a socket whose lease has run out; with `_lock` held."""
        deadlines = [client.deadline for client in self._clients.values() if not client.closed]
        if deadlines:
            self._switch.arm(min(deadlines) + DEAD_MAN_SECONDS + KERNEL_SECONDS - time.monotonic())
        else:
            self._switch.disarm()

    # --- helpers ----------------------------------------------------------------

    def _start_clients(self) -> None:
        """The one thread that starts clients, one after the other."""
        while True:
            client = self._starts.get()
            with self._library.moving():
                client.start()

    def _watch(self) -> None:
        """The dead man's switch."""
        while True:
            time.sleep(WATCH_SECONDS)
            if os.getppid() != self._parent:
                # Somebody still holds the other end of our commands, but the host that started us is gone.
                logger.error("parent_gone")
                self._end_as_orphan()
            self._stop_overdue(time.monotonic())
            with self._lock:
                self._arm()

    def _stop_overdue(self, now: float) -> None:
        with self._lock:
            clients = list(self._clients.values())
        for client in clients:
            client.retry_spool()
            if now > client.deadline:
                client.stop(lease_ran_out=True)
            if now > client.deadline + DEAD_MAN_SECONDS and not client.closed:
                logger.error("socket_not_closed session=%s", client.session)
                end(EXIT_DEAD_MAN)

    def _shut_down(self) -> NoReturn:
        with self._lock:
            clients = list(self._clients.values())
        for client in clients:
            client.stop()
        deadline = time.monotonic() + SHUT_DOWN_SECONDS
        while not self._idle() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._pipe.flush(1.0)
        end(0)

    def _idle(self) -> bool:
        with self._lock:
            return not self._clients

    def _end_as_orphan(self) -> NoReturn:
        """Close the sockets first: what arrives after that is not acknowledged, and what was is in the spools."""
        timer = threading.Timer(ORPHAN_SECONDS, end, args=(0,))
        timer.daemon = True
        timer.start()
        with self._lock:
            clients = list(self._clients.values())
        closing = [threading.Thread(target=client.disconnect, daemon=True) for client in clients]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join(0.5)
        for client in clients:
            client.settle(0.2)
        end(0)


class NotHere(Exception):
    """A command for a session that is not in the state for it."""


def end(code: int) -> NoReturn:
    """Exit without Python's farewells: those wait for threads that the library never gives back."""
    logging.shutdown()
    os._exit(code)
