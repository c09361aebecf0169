"""`runhost` that notes how old each change is when it is in the database: lines of "moment of the change, seconds" in OXY_BENCHMARK_LAG.

The moment is taken by SQLite itself, in the engine, when the journal's trigger runs: inside the transaction of the change, so a
little before its commit. The other end is taken right after the database has committed. What is noted is thus never too short.
"""

from __future__ import annotations

import os
import sys
import time

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "oxy.settings"
    django.setup()
    probe(os.environ["OXY_BENCHMARK_LAG"])
    from django.core.management import call_command

    call_command("runhost")


def probe(path: str) -> None:
    from sessions_app.vault import journal
    from sessions_app.vault.live_store import LiveStore

    last = journal._SLOTS[-1]
    stamped = f"{journal._SLOTS[-1]}, at REAL DEFAULT ((julianday('now') - 2440587.5) * 86400.0)"
    journal._OURS = stamped.join(journal._OURS.rsplit(last, 1))
    clear, lines = LiveStore.clear_journal, open(path, "ab", buffering=0)  # noqa: SIM115 - as long as the process

    def clear_journal(live: LiveStore, upto: int) -> None:
        now = time.time()
        with live._reading() as connection:
            moments = connection.execute("SELECT at FROM oxy_journal WHERE seq <= ?", (upto,)).fetchall()
        lines.write(b"".join(b"%.4f %.4f\n" % (at, now - at) for (at,) in moments))
        clear(live, upto)

    LiveStore.clear_journal = clear_journal  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
