"""How soon webhooks hear of an event, and what kill -9 costs: the real worker, a receiver on loopback, a database of its own.

    python -m benchmarks.webhooks                          on SQLite
    python -m tests.postgres python -m benchmarks.webhooks   on PostgreSQL

Prints the figures that docs/webhooks.md quotes. The exit status is 1 where an event was lost or came out of order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django

from tests.postgres import URL_VARIABLE
from tests.processes import ROOT
from tests.receivers import Receiver, receiver

SESSIONS, SINGLE, BURST, SLOW = 20, 20, 500, 60
PATIENCE = 180.0


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="oxy-webhooks-") as name:
        set_up(Path(name))
        with receiver() as hook, worker() as first:
            webhooks_to(hook)
            wait(lambda: beating(), "a worker")
            print(f"{SINGLE} events, one at a time: {single(hook)}")
            print(f"{BURST} events of {SESSIONS} sessions at once: {burst(hook)}")
            print(f"kill -9 of the worker among {SLOW} slow deliveries: {killed(hook, first)}")
            return verdict(hook)


def set_up(folder: Path) -> None:
    """An installation's environment and tables."""
    os.environ |= {
        "SECRET_KEY": "benchmark-" * 6,
        "OXY_ENCRYPTION_KEYS": "dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk=",
        "DATABASE_URL": os.environ.get(URL_VARIABLE) or f"sqlite:///{folder / 'oxy.sqlite3'}",
        "WHATSAPP_SESSION_PATH": str(folder / "sessions"),
        "OXY_WEBHOOK_ALLOW_PRIVATE": "1",
        "DJANGO_SETTINGS_MODULE": "oxy.settings",
    }
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, check=True)
    django.setup()
    import logging

    logging.disable(logging.CRITICAL)


@contextlib.contextmanager
def worker() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "runhost"], cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def webhooks_to(hook: Receiver) -> None:
    from sessions_app import webhooks
    from sessions_app.models import WhatsAppSession

    for number in range(SESSIONS):
        WhatsAppSession.objects.create(session_id=f"s{number:02}", name="Shop")
    webhooks.make(hook.url, by="benchmark")


def happen(session: Any, number: int = 1) -> None:
    from django.db import transaction

    from sessions_app.models import EventName, OutboxEvent

    with transaction.atomic():
        OutboxEvent.write(session, EventName.SESSION_STATUS, *({"n": n} for n in range(number)))


def sessions() -> list[Any]:
    from sessions_app.models import WhatsAppSession

    return list(WhatsAppSession.objects.order_by("pk"))


def beating() -> bool:
    from sessions_app.models import Host

    return Host.objects.alive().exists()


def wait(look: Callable[[], Any], what: str) -> float:
    began = time.monotonic()
    while not look():
        if time.monotonic() - began > PATIENCE:
            sys.exit(f"not seen within {PATIENCE:.0f} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - began


def single(hook: Receiver) -> str:
    taken = []
    for session in sessions()[:SINGLE]:
        before = len(hook.calls)
        happen(session)
        taken.append(wait(lambda before=before: len(hook.calls) > before, "a delivery"))
        time.sleep(0.7)  # the worker has gone back to its queue
    return f"p50 {statistics.median(taken):.2f} s, longest {max(taken):.2f} s"


def burst(hook: Receiver) -> str:
    before, began = len(hook.calls), time.monotonic()
    for _ in range(BURST // SESSIONS):
        for session in sessions():
            happen(session)
    written = time.monotonic() - began
    wait(lambda: len(hook.calls) - before >= BURST, "the burst")
    return f"written in {written:.1f} s, the last delivered after {time.monotonic() - began:.1f} s"


def killed(hook: Receiver, process: subprocess.Popen[bytes]) -> str:
    hook.reply = lambda call: (time.sleep(0.3), (200, b"", {}))[1]
    before = len(hook.calls)
    for session in sessions():
        happen(session, SLOW // SESSIONS)
    wait(lambda: len(hook.calls) - before >= SLOW // 3, "the first deliveries")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with worker():
        took = wait(lambda: not waiting(), "the rest")
    ids = hook.ids[before:]
    return f"all delivered {took:.0f} s after the restart, {len(ids) - len(set(ids))} twice"


def waiting() -> bool:
    from sessions_app.models import OutboxEvent, WebhookDelivery

    open_ones = WebhookDelivery.objects.filter(status__in=WebhookDelivery.OPEN).exists()
    return open_ones or OutboxEvent.objects.filter(position=None).exists()


def verdict(hook: Receiver) -> int:
    """Whether every event came, and those of each session in their order (repeats aside)."""
    from sessions_app.models import OutboxEvent

    first_seen: dict[str, list[int]] = {}
    for call in hook.calls:
        seen = first_seen.setdefault(call.json["session_id"], [])
        if call.json["id"] not in seen:
            seen.append(call.json["id"])
    whole = {position for seen in first_seen.values() for position in seen}
    lost = set(OutboxEvent.objects.values_list("position", flat=True)) - whole
    disordered = [name for name, seen in first_seen.items() if seen != sorted(seen)]
    print(f"lost {len(lost)}, sessions out of order {len(disordered)}")
    return int(bool(lost or disordered))


if __name__ == "__main__":
    sys.exit(main())
