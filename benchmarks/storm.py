"""What becomes of hundreds of sessions on one host when everything happens to all of them at once.

    python -m benchmarks.storm [--sessions 300] [--outage 300] [--database 60] [--scenes restart,database,...] [--json FILE]

PostgreSQL and the simulator, on this machine too. In turn: the host is stopped and started; the database is away for a minute; WhatsApp is
away for five; the disk is full for a while (as root: on a file system of its own). A row says how long it took from the end of the
trouble until half, 95 % and all of the sessions were back, and what was lost of the messages that phones sent meanwhile.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django

from benchmarks.installation import KEYS, HostMachine, Installation, eventually

SCENES = ("restart", "database", "whatsapp", "disk")
SENDER = "5521900000000"
#: Bytes of the small disk for each session, and what is left of it while it is "full".
DISK_PER_SESSION, DISK_MORE = 8_000_000, 64_000_000


def main() -> int:
    options = read_options()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="oxy-storm-"))
    with Installation(folder, hosts=1) as installation, small_disk(installation, options):
        os.environ.update({**KEYS, "DATABASE_URL": installation.database_url})
        os.environ["DJANGO_SETTINGS_MODULE"] = "oxy.settings"
        django.setup()
        rows = run(installation, options)
    for row in rows:
        print(line(row))
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=2))
    return int(any(row["back"] != options.sessions or row["lost"] or row["new codes"] for row in rows))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=300)
    parser.add_argument("--outage", type=float, default=300.0)
    parser.add_argument("--database", type=float, default=60.0)
    parser.add_argument("--scenes", default=",".join(SCENES))
    parser.add_argument("--json", default="")
    parser.add_argument("--folder", default="", help="for logs and disks; kept")
    return parser.parse_args()


@contextlib.contextmanager
def small_disk(installation: Installation, options: argparse.Namespace) -> Iterator[None]:
    """As root: a disk that can be filled without filling this machine's."""
    if os.getuid() != 0 or "disk" not in options.scenes:
        yield
        return
    disk = installation.hosts[0].disk
    disk.mkdir(parents=True)
    size = options.sessions * DISK_PER_SESSION + DISK_MORE
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "oxy-storm", disk], check=True)
    try:
        yield
    finally:
        installation.hosts[0].stop()
        subprocess.run(["umount", "-l", disk], check=False)


def run(installation: Installation, options: argparse.Namespace) -> list[dict[str, Any]]:
    from benchmarks.talk import pair_up

    host = installation.hosts[0]
    host.start()
    talkers = pair_up(installation.sim, options.sessions)
    phone = installation.sim.phone(SENDER, name="Sender")
    numbers = [talker.phone.number for talker in talkers]
    for number in numbers:
        phone.send_text(number, "hello")
    found = []
    for scene in options.scenes.split(","):
        settle(options.sessions)
        texts = [f"{scene} {number}" for number in numbers]
        rounds, began = count_rounds(), time.monotonic()
        trouble(scene, installation, host, options, lambda texts=texts: write(phone, numbers, texts))
        over = time.monotonic()
        returned = watch(options.sessions, over)
        found.append({"scene": scene, "trouble": over - began, **returned, "new codes": count_rounds() - rounds})
        found[-1]["lost"] = lost(texts)
        say(line(found[-1]))
    return found


def trouble(scene: str, installation: Installation, host: HostMachine, options: argparse.Namespace, talk: Any) -> None:
    """Cause it, have the phones write in its midst, end it."""
    if scene == "restart":
        host.stop()
        talk()
        host.start()
    elif scene == "database":
        installation.postgres.stop()
        talk()
        time.sleep(options.database)
        installation.postgres.start()
    elif scene == "whatsapp":
        installation.sim.faults.outage(0)
        talk()
        time.sleep(options.outage)
        installation.sim.faults.clear()
    elif scene == "disk":
        full = fill(host.disk)
        talk()
        time.sleep(10)
        full.unlink()


def fill(disk: Path) -> Path:
    path = disk / "full"
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    return path


def write(phone: Any, numbers: list[str], texts: list[str]) -> None:
    for number, text in zip(numbers, texts, strict=True):
        phone.send_text(number, text)


def watch(sessions: int, since: float) -> dict[str, Any]:
    """Until all are back, or five minutes have passed: when half, 95 % and all were, in seconds."""
    marks: dict[str, float] = {}
    wanted = {"half": sessions // 2, "95 %": sessions * 95 // 100, "all": sessions}
    back = 0
    while time.monotonic() - since < 300 and "all" not in marks:
        back = connected()
        for name, count in wanted.items():
            if back >= count and steady(back):
                marks.setdefault(name, time.monotonic() - since)
        time.sleep(0.25)
    return {"back": back, **{name: marks.get(name) for name in wanted}}


def steady(back: int) -> bool:
    """Whether that is the truth: rows of a host that has just gone say "connected" too."""
    from sessions_app.models import Host

    return back > 0 and bool(Host.objects.alive().exists())


def connected() -> int:
    from django.db import Error, connections
    from django.db.models.functions import Now

    from sessions_app.lifecycle import Status
    from sessions_app.models import WhatsAppSession

    try:
        return int(
            WhatsAppSession.objects.filter(status=Status.CONNECTED, lease_until__gte=Now(), lost_at=None).count()
        )
    except Error:
        connections.close_all()
        return 0


def settle(sessions: int) -> None:
    eventually(lambda: connected() == sessions, "all connected", 120)
    time.sleep(8)


def count_rounds() -> int:
    from sessions_app.models import PairingRound

    return int(PairingRound.objects.count())


def lost(texts: list[str]) -> int:
    """How many of the phones' texts are in no session's messages, after a moment for the last."""
    from sessions_app.models import Message

    def missing() -> int:
        found = Message.objects.filter(direction="in", text__in=texts).values("text").distinct().count()
        return len(texts) - int(found)

    with contextlib.suppress(TimeoutError):
        eventually(lambda: missing() == 0, "all messages", 60)
    return missing()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def line(row: dict[str, Any]) -> str:
    times = "  ".join(
        f"{name} {row[name]:6.1f} s" if row[name] else f"{name} never" for name in ("half", "95 %", "all")
    )
    return (
        f"{row['scene']:9} trouble {row['trouble']:6.1f} s   back: {times}   "
        f"messages lost {row['lost']}, new codes {row['new codes']}"
    )


if __name__ == "__main__":
    sys.exit(main())
