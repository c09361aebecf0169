"""What the overview costs the server at 10,000 sessions: `python -m benchmarks.overview [SESSIONS]`.

It makes its own database (SQLite in a temporary folder, or DATABASE_URL where OXY_BENCHMARK_DATABASE_URL names an empty PostgreSQL one),
fills it, and prints the median and the slowest of twenty requests for each address.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from datetime import timedelta

ROUNDS = 20
PATHS = (
    "/",
    "/?page=100",
    "/?sort=-connected",
    "/?sort=worker&page=150",
    "/?status=WAITING&sort=-backup",
    "/?q=shop%2077",
    "/?q=%2B55%2011%2090000-1",
    "/?owner=Owner%207",
)


def main(sessions: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        set_up(folder)
        fill(sessions)
        report(sessions)


def set_up(folder: str) -> None:
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "oxy.settings",
        "SECRET_KEY": "benchmark",
        "ALLOWED_HOSTS": "testserver",
        "OXY_ENCRYPTION_KEYS": "YmVuY2htYXJrLWJlbmNobWFyay1iZW5jaG1hcmstYmU=",
        "DATABASE_URL": os.environ.get("OXY_BENCHMARK_DATABASE_URL") or f"sqlite:///{folder}/oxy.sqlite3",
    }
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def fill(count: int) -> None:
    """Sessions with credentials of the usual size, on forty workers, with messages of today and a day of samples."""
    from django.utils import timezone

    from sessions_app.lifecycle import Status
    from sessions_app.models import Host, Message, Sample, WhatsAppSession

    now, creds = timezone.now(), {"noiseKey": "x" * 3000}
    hosts = Host.objects.bulk_create(
        [Host(name=f"worker-{n}", pid=n + 1, beat_at=now + timedelta(days=1)) for n in range(40)]
    )
    rows = [
        WhatsAppSession(
            name=f"Shop {n}",
            owner=f"Owner {n % 500}",
            session_id=f"shop-{n}",
            phone=f"55119{n:08}",
            status=Status.WAITING if n % 20 == 0 else Status.CONNECTED,
            desired="running",
            creds=creds,
            paired_at=now,
            lease_host=hosts[n % 40],
            last_connected_at=now - timedelta(seconds=n * 7919 % 100_000),
            last_backup_at=now - timedelta(seconds=n * 104_729 % 1000),
        )
        for n in range(count)
    ]
    made = WhatsAppSession.objects.bulk_create(rows, batch_size=500)
    texts = (
        Message(session=session, direction="in", chat="1@s.whatsapp.net", text="x", status="received")
        for session in made
        for _ in range(20)
    )
    Message.objects.bulk_create(texts, batch_size=500)
    Sample.objects.bulk_create(
        [Sample(at=now - timedelta(minutes=n), connected=count - n % 50, wanted=count, received=n) for n in range(1440)]
    )


def report(count: int) -> None:
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_superuser("ana"))
    print(f"{count} sessions, {connection.vendor}\n\n| address | median, ms | slowest, ms |\n| --- | --- | --- |")
    for path in PATHS:
        assert client.get(path).status_code == 200
        times = [timed(client, path) for _ in range(ROUNDS)]
        print(f"| {path} | {statistics.median(times):.0f} | {max(times):.0f} |")


def timed(client: object, path: str) -> float:
    began = time.perf_counter()
    client.get(path)  # type: ignore[attr-defined]
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
