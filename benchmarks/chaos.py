"""Real processes, two hosts, PostgreSQL and the simulator; sessions that talk all the time, and faults at random moments.

    python -m benchmarks.chaos --minutes 15 --seed 1 [--json FILE]
    python -m benchmarks.chaos --short

Prints the table that docs/durability.md explains. The exit status is 1 where something was lost or met that must not; how long
anything took does not matter for it, within generous limits, so that the short form can be a test on any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import django

from benchmarks.installation import KEYS, Installation, eventually

#: How long everything may take to be as before, after a fault is over; and how long until its effects show.
SETTLES_WITHIN, SHOWS_WITHIN = 180.0, 1.5
#: A message that is on its way and has not moved for so long never will.
STUCK_AFTER = 30.0
#: A message that had reached a machine so long before it was lost with its disk should have been in the database, however slow.
DISK_BOUND_MS = 5000
#: With `--short`: every kind of fault that is over in less than a minute.
SHORT = {"sessions": 12, "rate": 5.0, "longest": 40.0, "minutes": 0.0}


def main() -> int:
    options = read_options()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="oxy-chaos-"))
    with Installation(folder) as installation:
        os.environ.update({**KEYS, "DATABASE_URL": installation.postgres.url})
        os.environ["DJANGO_SETTINGS_MODULE"] = "oxy.settings"
        django.setup()
        found = run(installation, options)
    from benchmarks.chaos_figures import table

    print(table(found))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2))
    wrong = problems(found)
    for name in wrong:
        print(f"WRONG: {name}: {found['messages'].get(name, found.get(name, ''))}")
    if wrong:
        print(f"Logs and disks are in {folder}.")
    return int(bool(wrong))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--rate", type=float, default=8.0, help="messages a second, of all sessions together")
    parser.add_argument("--kinds", default="", help="comma separated, in order; instead of a random plan")
    parser.add_argument("--longest", type=float, default=60.0, help="seconds; only faults that are over by then")
    parser.add_argument("--short", action="store_true", help="each short fault once, in about three minutes")
    parser.add_argument("--json", default="")
    parser.add_argument("--folder", default="", help="for logs and disks; kept")
    if parser.parse_known_args()[0].short:
        parser.set_defaults(**SHORT)
    return parser.parse_args()


def run(installation: Installation, options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import chaos_faults, chaos_figures, talk

    installation.web.start()
    for host in installation.hosts:
        host.start()
    began = time.monotonic()
    observer = talk.Observer(installation.sim)
    talkers = talk.pair_up(installation.sim, options.sessions)
    say(began, f"{len(talkers)} sessions paired")
    talking = talk.Talk(talkers, options.rate, options.seed)
    saboteur = chaos_faults.Saboteur(installation, options.seed)
    faults = []
    for kind in options.kinds.split(",") if options.kinds else saboteur.plan(options.minutes, options.longest):
        time.sleep(saboteur.pause())
        fault = saboteur.cause(kind)
        faults.append(fault)
        fault.settled = wait_until_settled(installation, options.sessions)
        took = f"{fault.settled - fault.at:.1f} s" if fault.settled else "NOT SETTLED"
        say(began, f"{kind} {fault.what} ({len(fault.sessions)} sessions): {took}")
    time.sleep(3)
    talking.end()
    wait_for_the_last()
    observer.end()
    verdict = chaos_figures.judge(talking, talkers, observer, faults, installation.sim)
    away = chaos_figures.times_away(faults, talkers, installation.sim)
    connected = talk.all_connected(options.sessions)
    facts = {
        "connected_at_the_end": connected,
        "sessions": options.sessions,
        "seed": options.seed,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    return chaos_figures.summary(verdict, faults, away, **facts)


def wait_until_settled(installation: Installation, sessions: int) -> float | None:
    """When every session is connected again, as the database and the simulator see it; None where they never are."""
    from benchmarks import talk

    def settled() -> bool:
        return len(installation.sim.connections.live) == sessions and talk.all_connected(sessions)

    time.sleep(SHOWS_WITHIN)
    try:
        eventually(settled, "every session connected again", SETTLES_WITHIN)
    except TimeoutError:
        return None
    return time.monotonic()


def wait_for_the_last() -> None:
    """Until nothing is on its way any more, or has been for so long that it never will."""
    from sessions_app.models import Message

    on_the_way = Message.objects.filter(direction="out", status__in=("queued", "sending", "sent"))
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < STUCK_AFTER:
        if (left := on_the_way.count()) != seen:
            seen, since = left, time.monotonic()
        if not left:
            return
        time.sleep(0.2)


def problems(found: dict[str, Any]) -> list[str]:
    """What must not be, as names; empty after a good run."""
    messages = found["messages"]
    bad = ("unfinished", "vanished_from_database", "lost_in_silence", "duplicates")
    wrong = [name for name in bad if messages[name]]
    wrong += [name for name in ("qr_codes_after_pairing", "two_hosts_on_a_session") if found[name]]
    if messages["lost_with_a_disk_oldest_ms"] > DISK_BOUND_MS:
        wrong.append("lost_with_a_disk_oldest_ms")
    if not found["connected_at_the_end"]:
        wrong.append("connected_at_the_end")
    return wrong + [f"unsettled after {kind}" for kind, row in found["faults"].items() if row["unsettled"]]


def say(began: float, what: str) -> None:
    print(f"{time.monotonic() - began:7.1f} s  {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
