"""Runners without processes: the host around them is real as far as the database and the disk go, and its engines only listen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sessions_app.engine import events as ev
from sessions_app.engine.spool import SpoolWriter
from sessions_app.hosting import gauges, lease
from sessions_app.hosting.keeper import SPOOL_NAME
from sessions_app.hosting.runner import Runner
from sessions_app.hosting.session_path import SessionPath
from sessions_app.hosting.supervisor import Supervisor
from sessions_app.lifecycle import Command
from sessions_app.models import Host, SessionCommand, WhatsAppSession


class Ear:
    """Stands for an engine, or for all of them: it hears what it is told, and says nothing by itself."""

    crashed, share, library = False, 50, "neonize"

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def send(self, command: Any) -> None:
        self.heard.append(command)

    def kill(self) -> None:
        self.heard.append("killed")

    def place(self, session: str) -> Ear:
        return self

    def remove(self, engine: Ear, session: str, *, leaked: bool = False) -> None:
        pass

    def wake(self, runner: Runner) -> None:
        """A lane; the test calls `work()` itself."""

    def watch(self, key: int, path: Path, changed: Any) -> None:
        """A watcher; the test says itself when a store has changed."""

    def forget(self, key: int) -> None:
        pass


class TestHost:
    """What runners need of their host; `claim()` is what its main loop does."""

    __test__ = False

    def __init__(self, root: Path, name: str = "host") -> None:
        self.session_path = SessionPath(root)
        self.host = Host.objects.create(name=name, pid=1)
        self.gauges = gauges.Gauges()
        self.engine = Ear()
        self.engines = self.lanes = self.watcher = self.engine
        self.runner: Runner | None = None

    def claim(self, session: WhatsAppSession) -> Runner:
        row = WhatsAppSession.objects.get(pk=session.pk)
        taken = lease.acquire(row, self.host)
        assert taken is not None
        SessionCommand.objects.filter(session=row, done_at=None).update(taken_at=None)
        self.runner = Runner(row, taken, self)  # type: ignore[arg-type]
        return self.runner

    proxy_url = Supervisor.proxy_url

    def whatsapp_answers(self) -> None:
        pass

    def drop(self, runner: Runner) -> None:
        self.runner = None


def ask(runner: Runner, verb: Command, **arguments: Any) -> SessionCommand:
    """Ask for this, and hand it to the runner, as a host's main loop does."""
    session = WhatsAppSession.objects.get(pk=runner.session.pk)
    command = session.request(verb, by="tester", **arguments)
    SessionCommand.objects.filter(pk=command.pk).update(taken_at=session.created_at)
    runner.post(command)
    return command


def outcome(command: SessionCommand) -> str:
    command.refresh_from_db()
    return command.outcome


def run(runner: Runner) -> None:
    """To the moment in which its client runs."""
    runner.work()
    runner.post(ev.StorePrepared(session=runner.session.session_id))
    runner.work()
    assert runner.phase == "running"


def connect(runner: Runner) -> None:
    """To the moment in which it is connected."""
    run(runner)
    hear(runner, ev.Connected)


def hear(runner: Runner, *kinds: Any, **fields: Any) -> None:
    """What an engine's client leaves in the spool, and that the host takes it: events, or their types."""
    hear_quietly(runner, *kinds, **fields)
    runner.work()


def hear_quietly(runner: Runner, *kinds: Any, **fields: Any) -> None:
    """What an engine's client leaves in the spool, before the host takes it."""
    base: dict[str, Any] = {"session": runner.session.session_id, "epoch": runner.lease.epoch, "at": 1.0, **fields}
    writer = SpoolWriter(runner.directory / SPOOL_NAME)
    for kind in kinds:
        writer.append(kind(**base) if isinstance(kind, type) else kind)
    writer.close()
    runner.notice_spool()


def client_stopped(runner: Runner, **fields: Any) -> None:
    runner.post(ev.ClientStopped(session=runner.session.session_id, epoch=runner.lease.epoch, **fields))
    runner.work()
