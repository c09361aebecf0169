"""The doctor on the database: whether it answers, how fast, how many connections are left, its tables, its clock, its size."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from sessions_app.doctor.findings import Finding, failure, ok, warning

#: Milliseconds: a question that takes longer slows every message down; one that takes this long makes leases run out.
SLOW, FAR_TOO_SLOW = 25.0, 1000.0
#: Connections that one more worker and one more web process need at the most: lanes, beat, queue, webhooks, listener, requests.
NEXT_PROCESSES = 25
#: Seconds that two clocks may differ: retries, codes and expiry times are compared between machines.
CLOCK_WARNING, CLOCK_FAILURE = 2.0, 10.0
#: Size of the database file, in bytes, above which one machine's SQLite is not the best home any more.
LARGE_FOR_SQLITE = 4 * 2**30


def check() -> list[Finding]:
    """All about the database; the first finding alone where it cannot be reached."""
    return [answers(), connections(), migrations(), clock()]


def answers() -> Finding:
    times = [_time_one() for _n in range(7)]
    latency = statistics.median(times)
    saw = _("%(version)s answers in %(latency)s ms.") % {"version": version(), "latency": number_format(latency, 1)}
    if latency >= FAR_TOO_SLOW:
        return failure(
            "database",
            saw,
            _("Workers will lose their sessions. Find out what slows the database down, or move it nearer."),
        )
    if latency >= SLOW:
        return warning(
            "database", saw, _("Run the database in the same region as the workers: each message waits for it.")
        )
    return ok("database", saw)


def version() -> str:
    """The server's name and version."""
    if connection.vendor == "postgresql":
        return f"PostgreSQL {_ask('SHOW server_version').split()[0]}"
    return f"SQLite {_ask('SELECT sqlite_version()')}"


def connections() -> Finding:
    """How many more connections the server takes."""
    if connection.vendor != "postgresql":
        mode = _ask("PRAGMA journal_mode")
        if mode != "wal":
            return failure(
                "connections",
                _("SQLite's journal mode is %(mode)s.") % {"mode": mode},
                _("Put the database on a local disk: write-ahead logging does not work on network file systems."),
            )
        return ok("connections", _("SQLite with write-ahead logging, for the processes of one machine."))
    most = int(_ask("SHOW max_connections")) - int(_ask("SHOW superuser_reserved_connections"))
    used = int(_ask("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"))
    saw = _("%(used)d of %(most)d are in use.") % {"used": used, "most": most}
    if most - used < NEXT_PROCESSES:
        todo = _(
            "A deploy starts new processes beside the old ones, and they may find no connection. Raise max_connections."
        )
        return warning("connections", saw, todo)
    return ok("connections", saw)


def migrations() -> Finding:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return failure(
            "migrations",
            _("%(count)d migrations were not run.") % {"count": len(missing)},
            _("Run: python manage.py migrate"),
        )
    return ok("migrations", _("They are as this release wants them."))


def clock() -> Finding:
    """This machine's clock beside the database's; on one machine there is only one."""
    if connection.vendor != "postgresql":
        return ok("clock", _("The database has this machine's clock."))
    before = time.time()
    theirs = float(_ask("SELECT extract(epoch FROM clock_timestamp())"))
    return compare_clocks(theirs - (before + time.time()) / 2)


def compare_clocks(seconds: float) -> Finding:
    """What it means that the database's clock is so many seconds ahead."""
    saw = _("It differs from the database's by %(seconds)s s.") % {"seconds": number_format(abs(seconds), 1)}
    todo = _("Set this machine's clock by NTP: codes, retries and links end at the wrong time.")
    if abs(seconds) >= CLOCK_FAILURE:
        return failure("clock", saw, todo)
    return warning("clock", saw, todo) if abs(seconds) >= CLOCK_WARNING else ok("clock", saw)


# --- space ------------------------------------------------------------------------


@dataclass(frozen=True)
class TableSize:
    """A table: rows, and bytes with its indexes (None where the database does not say)."""

    name: str
    label: str
    rows: int
    bytes: int | None


def sizes() -> list[TableSize]:
    """Every table of ours, largest first."""
    found = [TableSize(table, label, _count(table), taken) for table, label in _tables() for taken in (_bytes(table),)]
    return sorted(found, key=lambda size: (-(size.bytes or 0), -size.rows, size.name))


def space() -> Finding:
    """How large the database is, and what takes most of it."""
    total, largest = total_bytes(), [size for size in sizes() if size.rows][:3]
    saw = _("%(total)s in all.") % {"total": filesizeformat(total)}
    if largest:
        names = ", ".join(f"{size.label} {_size_of(size)}" for size in largest)
        saw += " " + _("Most of it: %(names)s.") % {"names": names}
    if connection.vendor == "sqlite" and total > LARGE_FOR_SQLITE:
        return warning(
            "space", saw, _("Move to PostgreSQL, or keep messages for a shorter time (MESSAGE_RETENTION_DAYS).")
        )
    return ok("space", saw)


def total_bytes() -> int:
    """The whole database, with what is not ours."""
    if connection.vendor == "postgresql":
        return int(_ask("SELECT pg_database_size(current_database())"))
    return int(_ask("PRAGMA page_count")) * int(_ask("PRAGMA page_size"))


def _size_of(size: TableSize) -> str:
    return str(filesizeformat(size.bytes)) if size.bytes is not None else str(size.rows)


def _tables() -> Iterator[tuple[str, str]]:
    for app in ("sessions_app", "django_q"):
        models = apps.get_app_config(app).get_models(include_auto_created=True)
        for model in (each for each in models if not each._meta.proxy):
            yield model._meta.db_table, str(model._meta.verbose_name)


def _count(table: str) -> int:
    return int(_ask(f"SELECT count(*) FROM {connection.ops.quote_name(table)}"))  # noqa: S608 - our own table names


def _bytes(table: str) -> int | None:
    if connection.vendor == "postgresql":
        return int(_ask("SELECT pg_total_relation_size(%s::regclass)", connection.ops.quote_name(table)))
    names = "SELECT name FROM sqlite_master WHERE tbl_name = %s"
    try:
        return int(_ask(f"SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name IN ({names})", table))  # noqa: S608
    except connection.Database.Error:  # type: ignore[attr-defined]
        return None  # an SQLite that was built without dbstat


def _time_one() -> float:
    """Milliseconds for the smallest question."""
    began = time.perf_counter()
    _ask("SELECT 1")
    return (time.perf_counter() - began) * 1000


def _ask(question: str, *values: Any) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(question, values or None)
        row = cursor.fetchone()
    assert row
    return row[0]
