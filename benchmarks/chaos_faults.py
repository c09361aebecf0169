"""What happens to an installation: one function a kind of fault. Each returns when the fault itself is over."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass, field

from django.db import Error, connections

from benchmarks.installation import HostMachine, Installation, eventually, send
from sessions_app.models import Host, WhatsAppSession

#: Longer than a lease (30 s) and the time until another host looks for it.
FROZEN_FOR = 40.0
#: A platform's time until it starts what has ended, and until another machine takes its place.
RESTARTED_AFTER, REPLACED_AFTER = 2.0, 6.0


@dataclass
class Fault:
    """One fault. Moments are `time.monotonic`, `wall` is `time.time` of `at`."""

    kind: str
    what: str = ""
    at: float = 0.0
    wall: float = 0.0
    over: float = 0.0
    settled: float | None = None
    #: Sessions whose host was hit.
    sessions: list[str] = field(default_factory=list)

    def begin(self) -> None:
        self.at, self.wall = time.monotonic(), time.time()


class Saboteur:
    """Causes faults, by a seeded choice."""

    def __init__(self, installation: Installation, seed: int) -> None:
        self._installation = installation
        self._random = random.Random(f"faults {seed}")

    def plan(self, minutes: float, longest: float) -> list[str]:
        """Kinds in a random order, each as often as any other and at least once, for about so long."""
        known = sorted(kind for kind, seconds in COSTS.items() if seconds <= longest)
        kinds = self._random.sample(known, len(known))
        while sum(COSTS[kind] for kind in kinds) < minutes * 60:
            kinds += self._random.sample(known, len(known))
        while len(kinds) > len(known) and sum(COSTS[kind] for kind in kinds) > minutes * 60:
            kinds.pop()
        return kinds

    def pause(self) -> float:
        return self._random.uniform(1.0, 4.0)

    def cause(self, kind: str) -> Fault:
        fault = Fault(kind)
        getattr(self, f"_{kind.replace('-', '_')}")(fault)
        fault.over = time.monotonic()
        return fault

    # --- processes ----------------------------------------------------------------

    def _kill_engine(self, fault: Fault) -> None:
        host = self._busy_host(fault)
        engine = self._random.choice(host.engines)
        fault.begin()
        send([engine], signal.SIGKILL)

    def _kill_host_process(self, fault: Fault) -> None:
        """The host dies alone: its engines see their pipes close, its worker starts the next."""
        host = self._busy_host(fault)
        fault.begin()
        send([host_process(host)], signal.SIGKILL)

    def _kill_worker(self, fault: Fault) -> None:
        """All processes of a host at once; started again on the same disk, as a new container."""
        self._crash(fault, RESTARTED_AFTER, wipe=False)

    def _lose_machine(self, fault: Fault) -> None:
        """The same, and the disk is gone."""
        self._crash(fault, REPLACED_AFTER, wipe=True)

    def _crash(self, fault: Fault, after: float, *, wipe: bool) -> None:
        host = self._busy_host(fault)
        fault.begin()
        host.kill()
        if wipe:
            host.wipe()
        time.sleep(after)
        host.start()

    def _stop_worker(self, fault: Fault) -> None:
        """SIGTERM, as at a deploy."""
        host = self._busy_host(fault)
        fault.begin()
        host.stop()
        host.start()

    def _kill_web(self, fault: Fault) -> None:
        fault.begin()
        self._installation.web.kill()
        time.sleep(RESTARTED_AFTER)
        self._installation.web.start()
        eventually(self._installation.web_answers, "the web process")

    def _freeze_host(self, fault: Fault) -> None:
        """The host's own process stands still for longer than a lease; its engines do not."""
        host = self._busy_host(fault)
        process = host_process(host)
        fault.begin()
        send([process], signal.SIGSTOP)
        time.sleep(FROZEN_FOR)
        send([process], signal.SIGCONT)

    def _freeze_machine(self, fault: Fault) -> None:
        """Everything of a host stands still, engines too, as when a virtual machine is paused."""
        host = self._busy_host(fault)
        pids = host.pids
        fault.begin()
        send(pids, signal.SIGSTOP)
        time.sleep(FROZEN_FOR)
        send(pids[::-1], signal.SIGCONT)

    # --- what they depend on ------------------------------------------------------

    def _restart_database(self, fault: Fault) -> None:
        fault.begin()
        self._installation.postgres.stop(self._random.choice([signal.SIGINT, signal.SIGQUIT]))
        time.sleep(self._random.uniform(1, 5))
        self._installation.postgres.start()
        eventually(database_answers, "the database")

    def _cut_database(self, fault: Fault) -> None:
        """One machine loses the database for longer than a lease, and WhatsApp not."""
        host = self._busy_host(fault)
        fault.begin()
        host.database.cut()
        time.sleep(FROZEN_FOR)
        host.database.mend()

    def _cut_network(self, fault: Fault) -> None:
        """One machine loses both for a while."""
        host = self._busy_host(fault)
        fault.begin()
        host.whatsapp.cut()
        host.database.cut()
        time.sleep(self._random.uniform(3, 10))
        host.whatsapp.mend()
        host.database.mend()

    def _whatsapp_outage(self, fault: Fault) -> None:
        seconds = self._random.uniform(4, 12)
        fault.begin()
        self._installation.sim.faults.outage(seconds)
        time.sleep(seconds)

    # --- whom ---------------------------------------------------------------------

    def _busy_host(self, fault: Fault) -> HostMachine:
        """A host with sessions, the more it has the more likely."""
        held = eventually(self._held, "a host with sessions")
        hosts = [host for host in self._installation.hosts if held.get(host.machine)]
        host = self._random.choices(hosts, [len(held[host.machine]) for host in hosts])[0]
        fault.what, fault.sessions = host.name, held[host.machine]
        return host

    def _held(self) -> dict[str, list[str]]:
        rows = WhatsAppSession.objects.exclude(lease_host=None).values_list("lease_host__machine", "session_id")
        held: dict[str, list[str]] = {}
        for machine, session in rows:
            held.setdefault(machine, []).append(session)
        known = {host.machine for host in self._installation.hosts}
        return {machine: sessions for machine, sessions in held.items() if machine in known}


def host_process(host: HostMachine) -> int:
    return int(Host.objects.filter(machine=host.machine).latest("pk").pid)


def database_answers() -> bool:
    try:
        return Host.objects.exists()
    except Error:
        connections.close_all()
        return False


#: Kind → about how many seconds it takes until everything is as before.
COSTS: dict[str, float] = {
    "kill-engine": 6,
    "kill-host-process": 8,
    "kill-worker": 38,
    "lose-machine": 38,
    "stop-worker": 10,
    "kill-web": 8,
    "freeze-host": 46,
    "freeze-machine": 46,
    "restart-database": 10,
    "cut-database": 46,
    "cut-network": 14,
    "whatsapp-outage": 14,
}
