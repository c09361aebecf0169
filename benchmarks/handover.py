"""How long sessions are away when their host stops, dies or freezes, as the simulator saw it.

    python -m benchmarks.handover [--sessions 50] [--json FILE]

Two hosts that take each other for other machines, on PostgreSQL. In turn: SIGTERM, kill -9 of a host with its engines, SIGSTOP of a
host and its engines for `--frozen` seconds, and SIGSTOP of the host alone. An absence is from the end of a device's connection (for
the dead and the frozen: from the signal) to its next login.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django

from benchmarks.installation import KEYS, HostMachine, Installation, eventually

#: Seconds: p95 of a clean hand-over, and the most that a lease may last plus what a start may take.
CLEAN_P95, UNCLEAN_MAX = 3.0, 35.0


def main() -> int:
    options = read_options()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="oxy-handover-"))
    with Installation(folder) as installation:
        os.environ.update({**KEYS, "DATABASE_URL": installation.database_url})
        os.environ["DJANGO_SETTINGS_MODULE"] = "oxy.settings"
        django.setup()
        found = list(run(installation, options))
    for row in found:
        print(line(row))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2))
    return int(any(row["max"] > row["bound"] for row in found[1:]) or found[0]["p95"] > CLEAN_P95)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--frozen", type=float, default=60.0)
    parser.add_argument("--json", default="")
    parser.add_argument("--folder", default="", help="for logs and disks; kept")
    return parser.parse_args()


def run(installation: Installation, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    from benchmarks.talk import pair_up

    one, two = installation.hosts
    one.start()
    talkers = pair_up(installation.sim, options.sessions)
    devices = [talker.device for talker in talkers]

    def scene(name: str, leaving: HostMachine, staying: HostMachine, leave: Callable[[], None]) -> dict[str, Any]:
        staying.start()
        eventually(lambda: hosts_alive() == 2, "the second host")
        began = time.monotonic()
        leave()
        eventually(lambda: held_by(staying) == len(devices) and all_live(installation, devices, began), name, 120)
        return figures(installation, devices, began, name)

    yield {**scene("SIGTERM", one, two, one.stop), "bound": 0}
    settle(installation)
    yield {**scene("kill -9", two, one, two.kill), "bound": UNCLEAN_MAX}
    settle(installation)
    for name, pids in (("SIGSTOP, engines too", one_pids), ("SIGSTOP of the host alone", host_pids)):
        leaving, staying = (one, two) if name.endswith("too") else (two, one)
        frozen = pids(leaving)
        yield {
            **scene(name, leaving, staying, lambda frozen=frozen: send(frozen, signal.SIGSTOP)),
            "bound": UNCLEAN_MAX,
            **thaw(leaving, frozen, options),
        }
        leaving.kill()
        settle(installation)


def settle(installation: Installation) -> None:
    """Until the rows of dead hosts are no longer counted."""
    eventually(lambda: hosts_alive() == 1, "one host", 60)


def thaw(host: HostMachine, frozen: list[int], options: argparse.Namespace) -> dict[str, Any]:
    """Let it go on after a while; what it says, and whether it wrote anything."""
    from django.utils import timezone

    from sessions_app.models import SessionEvent, WhatsAppSession

    time.sleep(max(0.0, options.frozen - 30))
    thawed = timezone.now()
    epochs = dict(WhatsAppSession.objects.values_list("pk", "lease_epoch"))
    send(frozen, signal.SIGCONT)
    time.sleep(8)
    log = (host.disk.parent / f"{host.name}.log").read_text(errors="replace")
    # What was written in an epoch that another host had ended by then.
    stale = [event for event in SessionEvent.objects.filter(at__gte=thawed) if event.epoch < epochs[event.session_id]]
    return {"sessions said to be lost": log.count("lease_lost"), "stale writes": len(stale)}


def one_pids(host: HostMachine) -> list[int]:
    return host.pids


def host_pids(host: HostMachine) -> list[int]:
    engines = set(host.engines)
    return [pid for pid in host.pids if pid not in engines]


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def hosts_alive() -> int:
    from sessions_app.models import Host

    return int(Host.objects.alive().count())


def held_by(host: HostMachine) -> int:
    from sessions_app.lifecycle import Status
    from sessions_app.models import WhatsAppSession

    return int(WhatsAppSession.objects.filter(lease_host__machine=host.machine, status=Status.CONNECTED).count())


def all_live(installation: Installation, devices: list[str], since: float) -> bool:
    opened = {span.device for span in installation.sim.connections.history if span.opened > since}
    return opened >= set(devices) and installation.sim.connections.live.keys() >= set(devices)


def figures(installation: Installation, devices: list[str], began: float, name: str) -> dict[str, Any]:
    """Absences of all devices since `began`, in seconds; and how often two connections held one device."""
    connections, away, overlaps = installation.sim.connections, [], 0
    for device in devices:
        spans = [span for span in connections.history if span.device == device]
        back = next(span for span in spans if span.opened > began)
        before = max((span for span in spans if span.opened < back.opened), key=lambda span: span.opened)
        ended = before.closed if name == "SIGTERM" and before.closed else began
        away.append(back.opened - ended)
        overlaps += sum(pair[1].opened > began for pair in connections.overlaps(device))
    cuts = statistics.quantiles(away, n=20)
    return {
        "name": name,
        "sessions": len(devices),
        "p50": statistics.median(away),
        "p95": cuts[18],
        "max": max(away),
        "overlaps": overlaps,
        "recorded": recorded(began),
    }


def recorded(began: float) -> int:
    """How many absences the timelines tell of since then."""
    from datetime import timedelta

    from django.utils import timezone

    from sessions_app.models import SessionEvent

    since = timezone.now() - timedelta(seconds=time.monotonic() - began)
    return int(SessionEvent.objects.filter(kind="recovery", at__gte=since).count())


def line(row: dict[str, Any]) -> str:
    rest = ", ".join(f"{key}: {row[key]}" for key in ("sessions said to be lost", "stale writes") if key in row)
    return (
        f"{row['name']:28} {row['sessions']:3} sessions  away p50 {row['p50']:5.2f} s  p95 {row['p95']:5.2f} s  max {row['max']:5.2f} s"
        f"  two at once {row['overlaps']}  in timelines {row['recorded']}  {rest}"
    )


if __name__ == "__main__":
    sys.exit(main())
