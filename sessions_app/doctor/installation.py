"""The doctor on the installation: settings, keys, session path, news, workers, schedules, and how sessions are doing."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import uuid
from datetime import timedelta
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django_q.models import Failure, Schedule

import oxy
from sessions_app import tasks, troubles
from sessions_app.doctor.findings import Finding, failure, ok, warning
from sessions_app.hosting import session_path as path_of_sessions
from sessions_app.lifecycle import Status
from sessions_app.models import Host, VaultCheck, WhatsAppSession
from sessions_app.vault import crypto, rotation

#: Seconds for another process to start and for its news to arrive.
NEWS_WITHIN = 30.0
#: Bytes free on the session path's disk: a live store grows to some megabytes, a large account's to a hundred.
LITTLE_SPACE, NO_SPACE = 500 * 2**20, 50 * 2**20
#: How long a schedule may be late: a cluster looks every 15 s, and a redeploy takes a minute or two.
SCHEDULE_LATE = timedelta(minutes=5)
#: Backups are made every two minutes.
BACKUP_OVERDUE = timedelta(minutes=15)
#: A session that was asked to run, and does not, is worth a word after this.
DOWN_FOR = timedelta(minutes=5)
#: Names that one sentence lists.
NAMED = 3


def check_settings() -> Finding:
    """What is allowed at home and not in production."""
    if settings.DEBUG:
        return warning("settings", _("DEBUG is on."), _("Set DEBUG=0 where others can reach this installation."))
    local = {"localhost", "127.0.0.1", "[::1]"}
    if set(settings.ALLOWED_HOSTS) <= local:
        return warning(
            "settings",
            _("ALLOWED_HOSTS names this machine alone."),
            _("Set it to the name under which people open the console, or they get an error page."),
        )
    return ok(
        "settings",
        _("Oxy %(version)s, for %(hosts)s.")
        % {
            "version": oxy.__version__,
            "hosts": ", ".join(settings.ALLOWED_HOSTS),
        },
    )


def news() -> Finding:
    """Whether what another process says is heard in this one: a real child says it."""
    group = f"oxy.doctor.{uuid.uuid4().hex}"
    problem = async_to_sync(_why_not_heard)(group)
    if problem:
        todo = _(
            "Pages will not change by themselves. A pooler such as PgBouncer must run in session mode; or set REDIS_URL."
        )
        return failure("news", problem, todo)
    return ok("news", _("What another process said was heard here."))


async def _why_not_heard(group: str) -> str:
    layer: Any = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(group, channel)
    try:
        said = asyncio.get_running_loop().run_in_executor(None, _say_from_another_process, group)
        try:
            while (await asyncio.wait_for(layer.receive(channel), NEWS_WITHIN)).get("type") != RING:
                pass
        except TimeoutError:
            return _("What another process said was not heard here within %(seconds)d s.") % {"seconds": NEWS_WITHIN}
        finally:
            await said
    except subprocess.SubprocessError as error:
        return _("The process that was to speak failed (%(error)s).") % {"error": type(error).__name__}
    finally:
        await layer.group_discard(group, channel)
    return ""


#: The message that `say()` sends.
RING = "doctor.ring"


def _say_from_another_process(group: str) -> None:
    subprocess.run(
        [sys.executable, str(settings.BASE_DIR / "manage.py"), "doctor", "--say-to", group],
        env=dict(os.environ),
        check=True,
        capture_output=True,
        timeout=NEWS_WITHIN,
    )


def say(group: str) -> None:
    """What the child does."""
    layer: Any = get_channel_layer()
    async_to_sync(layer.group_send)(group, {"type": RING})


def keys() -> Finding:
    """Whether every stored value is under a key that is there and opens it, and what is left under older ones."""
    known, counts = crypto.key_ids(), rotation.census()
    unknown = sorted((set(counts) | set(VaultCheck.objects.values_list("key_id", flat=True))) - set(known))
    if unknown:
        return failure(
            "keys",
            _("%(count)d values were encrypted with keys that are not here (%(ids)s).")
            % {"count": sum(counts[key_id] for key_id in unknown), "ids": ", ".join(unknown)},
            _("Add those keys to OXY_ENCRYPTION_KEYS. Without them the values cannot be read by anybody."),
        )
    if broken := rotation.open_some():
        return failure(
            "keys",
            _("These values are damaged, or were moved, and cannot be opened: %(names)s.") % {"names": _some(broken)},
            _("Restore them from a copy of the database, or link the session again."),
        )
    older = sum(count for key_id, count in counts.items() if key_id != known[0])
    if older:
        return warning(
            "keys",
            _("%(count)d of %(all)d values are still encrypted with an older key.")
            % {"count": older, "all": counts.total()},
            _("Run: python manage.py rotate_keys"),
        )
    if len(known) > 1:
        return warning(
            "keys",
            _("All %(all)d values are encrypted with the first of %(keys)d keys.")
            % {"all": counts.total(), "keys": len(known)},
            _("Run rotate_keys once more; when it says so, take the older keys out of OXY_ENCRYPTION_KEYS."),
        )
    return ok("keys", _("All %(all)d values are encrypted with the one key.") % {"all": counts.total()})


def session_path() -> Finding:
    """As this process sees it; what workers see is in their own finding."""
    try:
        path = path_of_sessions.choose()
    except OSError as error:
        return failure(
            "session-path", str(error), _("Give the process a directory to write to, or no session can run.")
        )
    free = shutil.disk_usage(path.root).free
    saw = _("%(path)s can be written and has %(free)s free.") % {"path": path.root, "free": filesizeformat(free)}
    if free < NO_SPACE:
        return failure("session-path", saw, _("Free some space: live stores cannot be written for long."))
    if path.fell_back:
        todo = _(
            "Make WHATSAPP_SESSION_PATH writable. Nothing is lost meanwhile: sessions are rebuilt from the database."
        )
        return warning("session-path", saw + " " + _("It is not the path that was asked for."), todo)
    if free < LITTLE_SPACE:
        return warning("session-path", saw, _("Free some space."))
    return ok("session-path", saw)


def workers() -> Finding:
    """Whether any is beating, on this release, with a path to write to and room for every session."""
    hosts = list(Host.objects.alive().order_by("name"))
    if not hosts:
        return failure(
            "workers", _("None is running."), _("Start one: python manage.py runhost. Read its log if it ends.")
        )
    running = WhatsAppSession.objects.filter(desired=WhatsAppSession.Desired.RUNNING).count()
    room = sum(host.capacity for host in hosts)
    saw = ngettext(
        "%(count)d is beating, with room for %(room)d sessions (%(running)d are to run).",
        "%(count)d are beating, with room for %(room)d sessions (%(running)d are to run).",
        len(hosts),
    ) % {"count": len(hosts), "room": room, "running": running}
    if running > room:
        return failure("workers", saw, _("Start another worker, or raise OXY_HOST_CAPACITY."))
    if fallen := [host.name for host in hosts if host.path_fell_back]:
        saw += " " + _("These cannot write to the session path: %(names)s.") % {"names": _some(fallen)}
        return warning("workers", saw, _("Make the session path writable for them."))
    if others := [host.name for host in hosts if host.version != oxy.__version__]:
        saw += " " + _("These run another release: %(names)s.") % {"names": _some(others)}
        return warning("workers", saw, _("Deploy the same release for web and worker."))
    return ok("workers", saw)


def schedules() -> Finding:
    """Whether the background tasks are there, run on time, and do not fail."""
    rows = {row.name: row for row in Schedule.objects.filter(name__in=tasks.SCHEDULES)}
    if missing := sorted(set(tasks.SCHEDULES) - set(rows)):
        saw = _("These do not exist: %(names)s.") % {"names": ", ".join(missing)}
        return failure("schedules", saw, _("Start a worker (python manage.py runhost): it makes them."))
    late_since = timezone.now() - SCHEDULE_LATE
    if late := sorted(name for name, row in rows.items() if row.next_run and row.next_run < late_since):
        saw = _("These are overdue: %(names)s.") % {"names": ", ".join(late)}
        return failure("schedules", saw, _("Is a worker running? Restart it if its log says that it takes no tasks."))
    failed = Failure.objects.filter(
        func__startswith="sessions_app.tasks.", started__gt=timezone.now() - timedelta(hours=1)
    )
    if names := sorted({func.rpartition(".")[2] for func in failed.values_list("func", flat=True)}):
        saw = _("These failed within the last hour: %(names)s.") % {"names": ", ".join(names)}
        return warning("schedules", saw, _("Read the failed tasks in the admin, under “Background tasks”."))
    return ok("schedules", _("%(count)d background tasks run on time.") % {"count": len(rows)})


def sessions() -> Finding:
    """Whether those that are to run do run."""
    counts = {
        "connected": WhatsAppSession.objects.filter(status=Status.CONNECTED).count(),
        "all": WhatsAppSession.objects.count(),
    }
    saw = _("%(connected)d of %(all)d are connected.") % counts
    if down := [each.session.session_id for each in troubles.down(timezone.now() - DOWN_FOR)]:
        saw += " " + _("These should be, and are not: %(names)s.") % {"names": _some(down)}
        return warning("sessions", saw, _("Their pages say why, and what to do."))
    return ok("sessions", saw)


def backups() -> Finding:
    """Whether every connected session has been compared with its vault lately."""
    late = troubles.backup_overdue(timezone.now() - BACKUP_OVERDUE)
    if overdue := list(late.values_list("session_id", flat=True)):
        saw = _("These were not backed up for %(minutes)d minutes: %(names)s.") % {
            "minutes": BACKUP_OVERDUE.total_seconds() // 60,
            "names": _some(overdue),
        }
        return warning("backups", saw, _("What changed was written through all the same. Look at the worker's log."))
    return ok(
        "backups",
        _("Every connected session was backed up within %(minutes)d minutes.")
        % {"minutes": BACKUP_OVERDUE.total_seconds() // 60},
    )


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    listed = ", ".join(names[:NAMED])
    return _("%(names)s and %(more)d more") % {"names": listed, "more": more} if more > 0 else listed
