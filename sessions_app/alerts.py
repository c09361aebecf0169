"""Telling operators of trouble once, and once that it is over: by e-mail and by a webhook.

A scheduled task looks every minute. A trouble is a kind and a subject; while its alert is open nothing is told again. It is over when
it has not been seen for some minutes, so that what comes and goes is one alert and not twenty. Each way of telling is remembered by
itself: where the mail server is down the mail is tried again, and the webhook is not.

No alert can tell that nothing runs any more: for that, have something outside ask `/readyz`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Max
from django.template.defaultfilters import filesizeformat
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from sessions_app import outbound, troubles, words
from sessions_app.models import PHONE_WARNINGS, Alert, Host, VaultCheck, WhatsAppSession
from sessions_app.vault import crypto

log = logging.getLogger(__name__)

#: How long a trouble must be out of sight before it is over.
CALM = timedelta(minutes=5)
#: A session that loses its connection so often within that time flaps.
FLAPS, FLAPPING = 5, timedelta(minutes=30)
#: Backups are made every two minutes, hosts beat every five seconds, and keys are best rotated on the day they are changed.
BACKUP_OVERDUE, NO_WORKER, OLD_KEY = timedelta(minutes=15), timedelta(minutes=2), timedelta(days=1)
#: How long before its day an encryption key that is to be changed is told of.
KEY_NOTICE = timedelta(days=14)
#: Bytes free on a session path's disk.
LITTLE_SPACE = 500 * 2**20
#: What could not be told for so long is not told any more.
TELL_WITHIN = timedelta(days=1)


@dataclass(frozen=True)
class Trouble:
    kind: Alert.Kind
    subject: str
    sentence: str


def watch(now: datetime | None = None) -> int:
    """Look, write down what began and what is over, and tell; how many alerts are open. It is told to nobody in particular."""
    now = now or timezone.now()
    with translation.override(settings.LANGUAGE_CODE):
        note(list(look(now)), now)
        tell(now)
    return Alert.objects.filter(ended_at=None).count()


# --- looking ------------------------------------------------------------------------


def look(now: datetime) -> Iterator[Trouble]:
    """What is wrong at the moment."""
    yield from _workers(now)
    yield from _sessions_down(now)
    for session_id, times in troubles.flapping(now - FLAPPING, FLAPS).items():
        sentence = _("%(session)s lost its connection %(times)d times within %(minutes)d minutes.")
        named = {"session": session_id, "times": times, "minutes": FLAPPING.total_seconds() // 60}
        yield Trouble(Alert.Kind.FLAPPING, session_id, sentence % named)
    yield from _phones_away(now)
    for session in troubles.backup_overdue(now - BACKUP_OVERDUE):
        sentence = _("%(session)s was not backed up for %(minutes)d minutes.")
        named = {"session": session.session_id, "minutes": BACKUP_OVERDUE.total_seconds() // 60}
        yield Trouble(Alert.Kind.BACKUP_OVERDUE, session.session_id, sentence % named)
    yield from _storage()
    yield from _key_due(now)
    yield from _old_keys(now)


def _workers(now: datetime) -> Iterator[Trouble]:
    last = Host.objects.aggregate(at=Max("beat_at"))["at"]
    if WhatsAppSession.objects.filter(desired="running").exists() and (last is None or last < now - NO_WORKER):
        yield Trouble(Alert.Kind.NO_WORKER, "", _("No worker is running: sessions are not connected."))


def _sessions_down(now: datetime) -> Iterator[Trouble]:
    for down in troubles.down(now - timedelta(minutes=settings.OXY_ALERT_DOWN_MINUTES)):
        session, why = down.session, down.session.explanation.sentence
        sentence = _("%(session)s has not been connected since %(time)s. %(why)s") % {
            "session": f"{session.name} ({session.session_id})",
            "time": words.moment(down.since),
            "why": _(why) if why else "",
        }
        yield Trouble(Alert.Kind.DOWN, session.session_id, sentence.strip())


def _phones_away(now: datetime) -> Iterator[Trouble]:
    days = min(days for days, _reason in PHONE_WARNINGS)
    away = WhatsAppSession.objects.filter(phone_seen_at__lte=now - timedelta(days=days), status="CONNECTED")
    for session_id in away.order_by("pk").values_list("session_id", flat=True):
        sentence = _("Nothing was heard of the phone of %(session)s for %(days)d days. After 14, WhatsApp unlinks it.")
        yield Trouble(Alert.Kind.PHONE_AWAY, session_id, sentence % {"session": session_id, "days": days})


def _storage() -> Iterator[Trouble]:
    for host in Host.objects.alive():
        if host.path_fell_back:
            sentence = _("Worker %(host)s cannot write to the session path; it uses %(path)s.")
            named = {"host": host.name, "path": host.session_path}
        elif host.free_bytes is not None and host.free_bytes < LITTLE_SPACE:
            sentence = _("The disk of worker %(host)s has only %(free)s left.")
            named = {"host": host.name, "free": filesizeformat(host.free_bytes)}
        else:
            continue
        yield Trouble(Alert.Kind.STORAGE, host.name, sentence % named)


def _key_due(now: datetime) -> Iterator[Trouble]:
    """The key in front has nearly been in use for as long as it is to be."""
    used = VaultCheck.objects.filter(key_id=crypto.key_ids()[0]).first()
    if used is None or not settings.OXY_KEY_DAYS:
        return
    due = used.created_at + timedelta(days=settings.OXY_KEY_DAYS)
    if due - KEY_NOTICE <= now:
        sentence = _(
            "The encryption key is to be changed by %(day)s: put a new one in front of it, and run rotate_keys."
        )
        yield Trouble(Alert.Kind.KEY_DUE, "", sentence % {"day": due.strftime("%Y-%m-%d")})


def _old_keys(now: datetime) -> Iterator[Trouble]:
    """`rotate_keys` removes the rows of keys that nothing needs any more."""
    first = crypto.key_ids()[0]
    changed = VaultCheck.objects.filter(key_id=first, created_at__lt=now - OLD_KEY).exists()
    if changed and VaultCheck.objects.exclude(key_id=first).exists():
        yield Trouble(Alert.Kind.OLD_KEY, "", _("Values are still encrypted with an older key. Run rotate_keys."))


# --- remembering ----------------------------------------------------------------------


def note(found: list[Trouble], now: datetime) -> None:
    """Open an alert for what is new, and end those of what has not been seen for a while."""
    seen = {(trouble.kind.value, trouble.subject): trouble for trouble in found}
    for alert in Alert.objects.filter(ended_at=None):
        trouble = seen.pop((alert.kind, alert.subject), None)
        mine = Alert.objects.filter(pk=alert.pk, ended_at=None)
        if trouble is not None:
            mine.filter(calm_since__isnull=False).update(calm_since=None)
        elif alert.calm_since is None:
            mine.update(calm_since=now)
        elif alert.calm_since <= now - CALM:
            mine.update(ended_at=now)
            log.info("alert_ended", extra={"kind": alert.kind, "subject": alert.subject})
    fresh = [
        Alert(kind=each.kind, subject=each.subject, sentence=each.sentence[:500], began_at=now)
        for each in seen.values()
    ]
    # Another worker may have opened the same one in this moment.
    Alert.objects.bulk_create(fresh, ignore_conflicts=True)
    for alert in fresh:
        log.warning("alert_began", extra={"kind": alert.kind, "subject": alert.subject})


# --- telling ---------------------------------------------------------------------------


@dataclass(frozen=True)
class News:
    """An alert that began or ended."""

    alert: Alert
    phase: str

    @property
    def line(self) -> str:
        return (
            _("All clear: %(what)s") % {"what": self.alert.sentence} if self.phase == "ended" else self.alert.sentence
        )


def tell(now: datetime) -> None:
    """Tell each way what it has not told yet; a way that fails is tried again the next time."""
    for way, tell_by in _ways().items():
        news = list(_untold(way, now))
        # One mail for everything; a request for each, so that one that fails repeats no other.
        for batch in [news] if way == "email" and news else [[each] for each in news]:
            try:
                tell_by(batch)
            except (OSError, outbound.Refused, outbound.Failed) as error:
                log.error("alert_not_told", extra={"way": way, "error": type(error).__name__, "alerts": len(batch)})
                break
            for each in batch:
                _note_told(each.alert, f"{each.phase}/{way}")


def _ways() -> dict[str, Callable[[list[News]], None]]:
    ways: dict[str, Callable[[list[News]], None]] = {}
    if settings.OXY_ALERT_EMAILS:
        ways["email"] = _send_email
    if settings.OXY_ALERT_WEBHOOK:
        ways["webhook"] = _send_webhook
    return ways


def _untold(way: str, now: datetime) -> Iterator[News]:
    for alert in Alert.objects.filter(began_at__gt=now - TELL_WITHIN, ended_at=None).order_by("pk"):
        if f"began/{way}" not in alert.told:
            yield News(alert, "began")
    # Whoever was never told of the beginning does not need the end.
    for alert in Alert.objects.filter(ended_at__gt=now - TELL_WITHIN).order_by("pk"):
        if f"began/{way}" in alert.told and f"ended/{way}" not in alert.told:
            yield News(alert, "ended")


def _note_told(alert: Alert, what: str) -> None:
    alert.told = [*alert.told, what]
    Alert.objects.filter(pk=alert.pk).update(told=alert.told)


def _send_email(news: list[News]) -> None:
    lines = [each.line for each in news]
    subject = f"Oxy: {lines[0]}" if len(lines) == 1 else _("Oxy: %(count)d alerts") % {"count": len(lines)}
    # A line break in a subject would be a header of its own.
    subject = " ".join(subject.split())[:150]
    EmailMessage(subject, "\n\n".join(lines) + "\n", to=settings.OXY_ALERT_EMAILS).send()


def _send_webhook(news: list[News]) -> None:
    """One request each; `text` and `content` are what Slack and Discord show."""
    with outbound.Client() as client:
        for each in news:
            body = {
                "event": f"alert.{each.phase}",
                "text": each.line,
                "content": each.line,
                "alert": each.alert.to_dict(),
            }
            data = json.dumps(body, cls=DjangoJSONEncoder, ensure_ascii=False).encode()
            answer = client.post(settings.OXY_ALERT_WEBHOOK, {"Content-Type": "application/json"}, data)
            if not 200 <= answer.status < 300:
                raise outbound.Failed(f"HTTP {answer.status}")
