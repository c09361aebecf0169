"""`/metrics` for Prometheus: everything is read from the database at the moment of the scrape.

So the numbers are right whichever process answers, and every process answers the same. Names and meanings are in `FAMILIES`; they
are documented in docs/operate.md, and what the dashboard and the alert rules use (docs/monitoring/). A session is never a label:
there are thousands.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.db.models import Count, Max, Min, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from prometheus_client.core import CollectorRegistry, CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

import oxy
from sessions_app import outbox, troubles
from sessions_app.lifecycle import Status
from sessions_app.models import (
    Alert,
    ApiToken,
    Backup,
    Host,
    Message,
    Scope,
    SessionCommand,
    SessionEvent,
    WebhookDelivery,
    WhatsAppSession,
)

log = logging.getLogger(__name__)

#: What is counted of the recent past is counted over this: rows are pruned, so counters over all time would fall.
RECENT = timedelta(minutes=5)
#: A session that is not connected for so long is down.
DOWN = timedelta(minutes=5)

Values = dict[tuple[str, ...], float]


def answer(request: HttpRequest) -> HttpResponse:
    """The page, for who knows OXY_METRICS_TOKEN or has an API token with the scope `read` for every session."""
    try:
        if not _may_read(request.headers.get("Authorization", "")):
            response = HttpResponse("Send Authorization: Bearer TOKEN.\n", status=401, content_type="text/plain")
            response["WWW-Authenticate"] = 'Bearer realm="Oxy"'
            return response
        registry = CollectorRegistry()
        registry.register(_Collector())
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
    except (DatabaseError, InterfaceError) as error:
        log.warning("metrics_unavailable", extra={"error": type(error).__name__})
        return HttpResponse("The database cannot be reached.\n", status=503, content_type="text/plain")


def _may_read(header: str) -> bool:
    scheme, _, text = header.strip().partition(" ")
    if scheme.lower() != "bearer":
        return False
    own = settings.OXY_METRICS_TOKEN
    if own and hmac.compare_digest(own.encode(), text.strip().encode()):
        return True
    token = ApiToken.find(text.strip())
    return token is not None and token.has(Scope.READ) and not token.limited and not token.owner


# --- what is measured: each gives its values, by the values of its labels ------------------


def _build() -> Values:
    return {(oxy.__version__,): 1}


def _sessions() -> Values:
    counted = WhatsAppSession.objects.order_by().values_list("status").annotate(n=Count("pk"))
    return {(status.value,): 0.0 for status in Status} | {(status,): n for status, n in counted}


def _wanted() -> Values:
    running = Q(desired=WhatsAppSession.Desired.RUNNING, deleting=False, paired_at__isnull=False)
    return {(): WhatsAppSession.objects.filter(running).count()}


def _down() -> Values:
    return {(): len(troubles.down(timezone.now() - DOWN))}


def _losses() -> Values:
    lost = SessionEvent.objects.filter(kind="status", status=Status.WAITING, at__gte=timezone.now() - RECENT)
    return {(): lost.count()}


def _messages() -> Values:
    recent = Message.objects.order_by("-pk").filter(created_at__gte=timezone.now() - RECENT).order_by()
    counted = dict(recent.values_list("direction").annotate(n=Count("pk")))
    return {(direction,): counted.get(direction, 0) for direction in Message.Direction.values}


def _queued() -> Values:
    waiting = Message.objects.filter(direction="out", status__in=["queued", "sending"])
    return {(): waiting.count()}


def _oldest_queued() -> Values:
    waiting = Message.objects.filter(direction="out", status="queued")
    return {(): _age(waiting.aggregate(at=Min("created_at"))["at"])}


def _backup_age() -> Values:
    """Of the connected session whose backup is oldest; of its connecting, where it has none yet."""
    connected = WhatsAppSession.objects.filter(status=Status.CONNECTED)
    times = connected.values_list("last_backup_at", "status_at")
    oldest = min((max(each for each in pair if each) for pair in times), default=None)
    return {(): _age(oldest)}


def _backup_faults() -> Values:
    return {(): Backup.objects.filter(differed__gt=0, at__gte=timezone.now() - timedelta(days=1)).count()}


def _commands() -> Values:
    return {(): SessionCommand.objects.filter(done_at=None).count()}


def _deliveries() -> Values:
    return {(): WebhookDelivery.objects.filter(status__in=WebhookDelivery.OPEN, webhook__active=True).count()}


def _oldest_delivery() -> Values:
    waiting = WebhookDelivery.objects.filter(status__in=WebhookDelivery.OPEN, webhook__active=True)
    return {(): _age(waiting.aggregate(at=Min("created_at"))["at"])}


def _hosts() -> Values:
    return {(): Host.objects.alive().count()}


def _host_values(name: str) -> Callable[[], Values]:
    return lambda: {(host.name,): float(getattr(host, name)) for host in Host.objects.alive()}


def _free() -> Values:
    return {(host.name,): host.free_bytes for host in Host.objects.alive() if host.free_bytes is not None}


def _lag() -> Values:
    return {(host.name,): host.lag_ms / 1000 for host in Host.objects.alive()}


def _host_sessions() -> Values:
    held = Count("sessions", filter=Q(sessions__lease_until__gte=timezone.now()))
    return {(name,): n for name, n in Host.objects.alive().annotate(n=held).values_list("name", "n")}


def _beat_age() -> Values:
    return {(host.name,): _age(host.beat_at) for host in Host.objects.alive()}


def _lease_left() -> Values:
    """Of the lease that runs out first, of each host: renewed every 5 s to 30 s."""
    soonest = Host.objects.alive().annotate(until=Min("sessions__lease_until")).filter(until__isnull=False)
    now = timezone.now()
    return {(name,): (until - now).total_seconds() for name, until in soonest.values_list("name", "until")}


def _tasks() -> Values:
    return {(): OrmQ.objects.count()}


def _schedule_late() -> Values:
    late = Schedule.objects.filter(func__startswith="sessions_app.tasks.").aggregate(at=Min("next_run"))["at"]
    return {(): _age(late)}


def _alerts() -> Values:
    counted = dict(Alert.objects.filter(ended_at=None).order_by().values_list("kind").annotate(n=Count("pk")))
    return {(kind,): counted.get(kind, 0) for kind in Alert.Kind.values}


def _last_event() -> Values:
    return {(): outbox.last_position()}


def _last_seen() -> Values:
    newest = Message.objects.filter(direction="in").aggregate(at=Max("created_at"))["at"]
    return {(): newest.timestamp() if newest else 0.0}


def _age(since: datetime | None) -> float:
    """Seconds since a time, never negative; 0 where there is none."""
    return max(0.0, (timezone.now() - since).total_seconds()) if since else 0.0


#: Name → what it says, its labels, and how it is measured.
FAMILIES: dict[str, tuple[str, tuple[str, ...], Callable[[], Values]]] = {
    "oxy_build_info": ("The release that answers.", ("version",), _build),
    "oxy_sessions": ("Sessions by status.", ("status",), _sessions),
    "oxy_sessions_wanted": ("Linked sessions that are to run.", (), _wanted),
    "oxy_sessions_down": ("Linked sessions that are to run and were not connected for five minutes.", (), _down),
    "oxy_connection_losses": ("Connections that sessions lost within the last five minutes.", (), _losses),
    "oxy_messages": ("Messages of the last five minutes.", ("direction",), _messages),
    "oxy_messages_queued": ("Outgoing messages that wait or are being sent.", (), _queued),
    "oxy_messages_queued_oldest_seconds": ("Age of the outgoing message that waits longest.", (), _oldest_queued),
    "oxy_message_last_received_timestamp_seconds": ("When a message came in last, in Unix time.", (), _last_seen),
    "oxy_backup_age_seconds": ("Age of the oldest last backup of a connected session.", (), _backup_age),
    "oxy_backups_differed": (
        "Backups of the last day that found what the write-through had missed.",
        (),
        _backup_faults,
    ),
    "oxy_commands_open": ("Commands that no worker has finished.", (), _commands),
    "oxy_webhook_deliveries_open": ("Webhook deliveries that wait, first or again.", (), _deliveries),
    "oxy_webhook_oldest_seconds": ("Age of the webhook delivery that waits longest.", (), _oldest_delivery),
    "oxy_hosts": ("Workers that are beating.", (), _hosts),
    "oxy_host_beat_age_seconds": ("Since a worker's last beat.", ("host",), _beat_age),
    "oxy_host_sessions": ("Sessions whose lease a worker holds.", ("host",), _host_sessions),
    "oxy_host_capacity": ("Sessions that a worker takes.", ("host",), _host_values("capacity")),
    "oxy_host_lease_seconds": ("What is left of the lease that ends first.", ("host",), _lease_left),
    "oxy_host_engines": ("Engine processes of a worker.", ("host",), _host_values("engines")),
    "oxy_host_engine_memory_bytes": ("Memory of a worker's engines.", ("host",), _host_values("engine_bytes")),
    "oxy_host_free_bytes": ("What is free on the session path's disk.", ("host",), _free),
    "oxy_host_write_lag_seconds": ("Longest wait of a changed key for the vault since the last beat.", ("host",), _lag),
    "oxy_tasks_queued": ("Background tasks in the queue.", (), _tasks),
    "oxy_schedule_late_seconds": ("By how much the latest schedule is overdue.", (), _schedule_late),
    "oxy_alerts": ("Open alerts.", ("kind",), _alerts),
    "oxy_events_total": ("Events for programs since the beginning.", (), _last_event),
}


class _Collector(Collector):
    def collect(self) -> Iterator[Metric]:
        for name, (text, labels, measure) in FAMILIES.items():
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            metric = family(name, text, labels=labels)
            for values, value in sorted(measure().items()):
                metric.add_metric(values, value)
            yield metric
