"""What django-q calls: the host task, what its schedules run, and the schedules themselves."""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from sessions_app import broadcast
from sessions_app.lifecycle import Command, Status
from sessions_app.models import (
    PHONE_WARNINGS,
    SCHEDULE,
    Host,
    Message,
    NotAllowed,
    Sample,
    SessionCommand,
    WhatsAppSession,
)

#: What runs again and again, and every how many minutes.
SCHEDULES = {
    "ensure_hosts": 1,
    "back_up": 2,
    "give_up_expired_messages": 1,
    "deliver_webhooks": 1,
    "fetch_files": 1,
    "prune": 60,
    "watch": 1,
    "take_sample": 1,
    "warn_of_absent_phones": 60,
}


def host_sessions() -> str:
    """The one long task: host sessions until told to stop.

    A cluster of ours (`runhost`) keeps one process for it; anywhere else in that cluster it returns at once. Under django-q's own
    `qcluster`, which has no such process, the queue delivers it again and again: it returns where a host is beating already.
    """
    from sessions_app.hosting import cluster, supervisor

    stop = cluster.host_stop()
    if stop is None:
        if cluster.in_cluster() or Host.objects.alive().exists():
            return "hosted already"
        stop = cluster.HostStop(cluster.StopPipe())
    supervisor.run(stop)
    return "stopped"


def ensure_hosts() -> str:
    """Queue a host task where no host is beating and none is queued. Clusters of ours start their hosts by themselves."""
    if Host.objects.alive().exists():
        return "hosted"
    name = f"{__name__}.{host_sessions.__name__}"
    if any(row.func() == name for row in OrmQ.objects.all()):
        return "queued already"
    async_task(name, timeout=-1)
    return "queued"


def back_up() -> int:
    """Ask the host of each connected session for a backup, unless one is asked for already; how many were asked."""
    asked = SessionCommand.objects.filter(verb=Command.BACKUP.value, done_at=None).values("session")
    count = 0
    for session in WhatsAppSession.objects.filter(status=Status.CONNECTED.value).exclude(pk__in=asked):
        try:
            session.request(Command.BACKUP, by=SCHEDULE)
        except NotAllowed:  # it is being deleted
            continue
        count += 1
    return count


def give_up_expired_messages() -> int:
    """End queued messages whose time has passed, of sessions that no host runs too; how many."""
    return Message.objects.give_up_expired()


def queue_delivery() -> None:
    """Have a worker deliver webhooks; `webhooks.deliver_soon` says when."""
    async_task(f"{__name__}.{deliver_webhooks.__name__}", save=False)


def deliver_webhooks() -> int:
    """Deliver to webhooks what is due; how many attempts were made. Queued as events happen, and by its schedule."""
    from sessions_app import delivery

    return delivery.deliver()


def queue_fetch(pk: int) -> None:
    """Have a worker fetch the file of a message; call it after the commit."""
    async_task(f"{__name__}.{fetch_file.__name__}", pk, save=False)


def fetch_file(pk: int) -> bool:
    """Fetch one file; whether its message can go out now."""
    from sessions_app import fetching

    return fetching.fetch(pk)


def fetch_files() -> int:
    """Queue what is to be fetched (again), one task a file; how many."""
    from sessions_app import fetching

    pks = fetching.due()
    for pk in pks:
        queue_fetch(pk)
    return len(pks)


def prune() -> dict[str, int]:
    """Delete what nobody needs any more; how many rows of what."""
    from sessions_app import pruning

    return pruning.prune()


def watch() -> int:
    """Look for trouble and tell those who are to be told; how many alerts are open."""
    from sessions_app import alerts

    return alerts.watch()


def take_sample() -> int:
    """Write down how things stand, for the charts of the overview; how many sessions are connected."""
    connected = Sample.take().connected
    broadcast.sessions_changed()
    return connected


def warn_of_absent_phones() -> int:
    """Write into the timeline of each session whose phone was not heard of for long, once for each warning; how many."""
    count = 0
    for days, reason in PHONE_WARNINGS:
        due = WhatsAppSession.objects.filter(phone_warned__lt=days, phone_seen_at__lte=Now() - timedelta(days=days))
        for session in due.defer("creds", "proxy_url"):
            if due.filter(pk=session.pk).update(phone_warned=days):
                session.record("phone", reason=reason.value)
                broadcast.session_changed(session.pk)
                count += 1
    return count


def probe() -> None:
    """Show that short tasks are run: `hosting.cluster` watches."""
    from sessions_app.hosting import cluster

    cluster.note_probe()


def make_schedules() -> None:
    """Write the schedules as this release wants them; any number of workers may do it, at once too.

    Done by a worker at its start and not by a migration: a changed period then comes with the release that changes it, and a
    schedule that somebody deleted comes back.
    """
    for name, minutes in SCHEDULES.items():
        wanted = {"func": f"{__name__}.{name}", "schedule_type": Schedule.MINUTES, "minutes": minutes, "repeats": -1}
        rows = Schedule.objects.filter(name=name)
        if not rows.update(**wanted):
            Schedule.objects.create(name=name, **wanted)
        # Names are not unique: of two that were made at the same time the first stays.
        rows.exclude(pk=rows.order_by("pk").values_list("pk", flat=True)[0]).delete()
