"""How old a change of a live store is when the database has it, and what it costs to watch live stores in which nothing happens.

    python -m benchmarks.vault_lag [--database postgresql|sqlite] [--sessions 100] [--rate 50] [--seconds 60] [--json FILE]

One worker, real engines, and phones of the simulator that send `rate` messages a second in all to random sessions. The simulator
runs on the same machine and takes its share of it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import django

from benchmarks.installation import KEYS, Installation, Process, eventually

#: Goals of the project: seconds, and share of one core.
P50, P99, IDLE = 0.050, 0.250, 0.03
SENDERS, FIRST_SENDER = 10, 5521900000000
WATCHED, WATCHED_FOR = 200, 20.0


def main() -> int:
    options = read_options()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="oxy-lag-"))
    lags = folder / "lags"
    with Installation(folder, hosts=0, database=options.database) as installation:
        os.environ.update({**KEYS, "DATABASE_URL": installation.database_url})
        os.environ["DJANGO_SETTINGS_MODULE"] = "oxy.settings"
        django.setup()
        environment = {
            **installation.environment,
            "OXY_BENCHMARK_LAG": str(lags),
            "WHATSAPP_SESSION_PATH": str(folder / "disk"),
        }
        worker = Process("worker", [sys.executable, "-m", "benchmarks.host_probed"], environment, folder)
        worker.start()
        try:
            found = measure(installation, worker, options)
        finally:
            worker.stop()
        found |= judge(lags, found.pop("window"))
    # In a process of its own: this one has a simulator's past.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        found["idle_share_of_a_core"] = alone.submit(cost_of_watching, folder / "idle").result()
    print(table(found))
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2))
    return int(found["p50"] > P50 or found["p99"] > P99 or found["idle_share_of_a_core"] > IDLE)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", default="")
    parser.add_argument("--folder", default="")
    return parser.parse_args()


def measure(installation: Installation, worker: Process, options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks.talk import pair_up
    from sessions_app.models import Message

    talkers = pair_up(installation.sim, options.sessions)
    senders = [installation.sim.phone(str(FIRST_SENDER + n), name=f"Sender {n}") for n in range(SENDERS)]
    # A first message between two people starts a Signal session; that is not what is measured here.
    for sender, talker in itertools.product(senders, talkers):
        sender.send_text(talker.phone.number, "hello")
    everything = len(senders) * len(talkers)
    eventually(lambda: Message.objects.filter(direction="in").count() >= everything, "the first messages", 120)
    time.sleep(2)
    cpu, began, window = cpu_seconds(worker.pids), time.monotonic(), time.time()
    sent = send(senders, [talker.phone.number for talker in talkers], options.rate, options.seconds)
    lasted = time.monotonic() - began
    cpu = cpu_seconds(worker.pids) - cpu
    eventually(lambda: Message.objects.filter(direction="in").count() >= everything + sent, "every message", 60)
    return {
        "database": options.database,
        "sessions": options.sessions,
        "messages": sent,
        "messages_a_second": sent / lasted,
        "worker_cores": cpu / lasted,
        "load_average": os.getloadavg()[0],
        "window": (window, window + lasted),
    }


def send(senders: list[Any], numbers: list[str], rate: float, seconds: float) -> int:
    """Send at random moments, `rate` a second; returns how many were sent."""
    chance, sent, due = random.Random(1), 0, time.monotonic()
    end = due + seconds
    while (due := due + chance.expovariate(rate)) < end:
        time.sleep(max(0.0, due - time.monotonic()))
        chance.choice(senders).send_text(chance.choice(numbers), f"message {sent}")
        sent += 1
    return sent


def cpu_seconds(pids: list[int]) -> float:
    """What these processes have used of a core so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def judge(lags: Path, window: tuple[float, float]) -> dict[str, Any]:
    pairs = [tuple(map(float, line.split())) for line in lags.read_text().splitlines()]
    found = sorted(lag for at, lag in pairs if window[0] <= at <= window[1])
    at = lambda share: found[min(len(found) - 1, int(share * len(found)))]  # noqa: E731
    return {"changes": len(found), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": found[-1]}


def cost_of_watching(folder: Path) -> float:
    """The share of one core that the watcher takes for live stores in which nothing happens."""
    from sessions_app.hosting.watcher import Watcher
    from sessions_app.vault.live_store import LiveStore

    watcher = Watcher()
    for number in range(WATCHED):
        path = folder / str(number) / "store.db"
        LiveStore.create(path)
        watcher.watch(number, path, lambda: None)
    time.sleep(1)
    before, began = time.process_time(), time.monotonic()
    time.sleep(WATCHED_FOR)
    share = (time.process_time() - before) / (time.monotonic() - began)
    watcher.end()
    return share


def table(found: dict[str, Any]) -> str:
    rows = (
        ("database", found["database"]),
        ("sessions", found["sessions"]),
        ("messages received a second, in all", f"{found['messages_a_second']:.1f}"),
        ("changes of live stores", found["changes"]),
        ("lag p50", f"{found['p50'] * 1000:.0f} ms   (goal {P50 * 1000:.0f})"),
        ("lag p95", f"{found['p95'] * 1000:.0f} ms"),
        ("lag p99", f"{found['p99'] * 1000:.0f} ms   (goal {P99 * 1000:.0f})"),
        ("lag max", f"{found['max'] * 1000:.0f} ms"),
        ("the worker with its engines", f"{found['worker_cores']:.2f} cores"),
        ("load average of the machine", f"{found['load_average']:.1f} on {os.cpu_count()} cores"),
        (
            f"watching {WATCHED} idle live stores",
            f"{found['idle_share_of_a_core'] * 100:.1f} % of a core   (goal {IDLE * 100:.0f})",
        ),
    )
    return "\n".join(f"{name:<38}{value}" for name, value in rows)


if __name__ == "__main__":
    sys.exit(main())
