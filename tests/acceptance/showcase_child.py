"""Fills an installation with something of everything that people can see, each row complete and plausible; nothing of it is real.

`python -m tests.acceptance.showcase_child` in the environment of the installation; it prints what a browser needs to get there, as JSON.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oxy.settings")
django.setup()

from django.contrib.auth.models import Group, User  # noqa: E402
from django.utils import timezone  # noqa: E402

from sessions_app import people  # noqa: E402
from sessions_app.lifecycle import Command, Status  # noqa: E402
from sessions_app.models import (  # noqa: E402
    ApiToken,
    AuthBlob,
    Backup,
    ForeignState,
    Message,
    OutboxEvent,
    OwnerLimit,
    PairingLink,
    Sample,
    SessionCommand,
    SessionEvent,
    Webhook,
    WebhookDelivery,
    WebhookStream,
    WhatsAppSession,
)
from sessions_app.reasons import Reason  # noqa: E402
from sessions_app.vault import crypto  # noqa: E402
from tests import rows  # noqa: E402

NOW = timezone.now()
PASSWORD = "nobody-guesses-this-one"

#: One session for each thing that its page can say: id, name, owner, status, reason.
SESSIONS = (
    ("new", "Bookshop", "Rui", Status.NEW, Reason.NONE),
    ("pairing", "Flower market", "Bia", Status.PAIRING, Reason.NONE),
    ("timed-out", "Corner café", "Bia", Status.NEW, Reason.PAIRING_TIMED_OUT),
    ("to-type", "Hair salon", "Bia", Status.PAIRING, Reason.NONE),
    ("passkey", "Pharmacy", "Rui", Status.NEW, Reason.PASSKEY_NEEDED),
    ("wrong-number", "Pet clinic", "Rui", Status.LOGGED_OUT, Reason.WRONG_NUMBER),
    ("connecting", "Night kiosk", "Caio", Status.CONNECTING, Reason.NONE),
    ("connected", "Bakery downtown", "Ana", Status.CONNECTED, Reason.NONE),
    (
        "idle",
        "The-bakery-at-the-central-station-with-a-name-that-nobody-can-break",
        "Ana",
        Status.CONNECTED,
        Reason.NONE,
    ),
    ("waiting", "Car workshop", "Caio", Status.WAITING, Reason.CONNECTION_CUT),
    ("stopped", "Ice cream, summer only", "Caio", Status.STOPPED, Reason.ASKED),
    ("logged-out", "Tailor", "Rui", Status.LOGGED_OUT, Reason.UNLINKED),
    ("replaced", "Language school", "Caio", Status.REPLACED, Reason.STREAM_REPLACED),
    ("banned", "Party supplies", "Ana", Status.BANNED, Reason.TEMPORARILY_BANNED),
    ("failed", "Hardware store", "Ana", Status.FAILED, Reason.VAULT_UNREADABLE),
    ("deleting", "Old newsstand", "Rui", Status.CONNECTED, Reason.NONE),
)
RUNNING = {Status.PAIRING, Status.CONNECTING, Status.CONNECTED, Status.WAITING, Status.BANNED}
UNLINKED = {Status.NEW, Status.PAIRING, Status.LOGGED_OUT}


def ago(**much: float) -> datetime:
    return NOW - timedelta(**much)


def fill() -> dict[str, Any]:
    worker = rows.make_host(
        name="worker-1", version="Oxy 0.1.0", library="neonize 0.5.2", capacity=300, beat_at=NOW + timedelta(days=1)
    )
    made = {entry[0]: _session(n, worker, *entry) for n, entry in enumerate(SESSIONS)}
    made["deleting"].request(Command.DELETE, by="rui")
    _rounds(made)
    _history(made["connected"])
    _messages(made["connected"])
    samples()
    hook = _webhooks(made["connected"])
    ApiToken.issue("Order service", by="ana", scopes=["read", "send"])
    ApiToken.issue("Dashboard of the bakery", by="ana", scopes=["read"], owner="Ana", expires_at=ago(days=2))
    ApiToken.issue("Old script", by="rui", sessions=[made["stopped"]])[0].revoke()
    ForeignState.objects.create(session_id="legacy-shop", owner="Rui", file_count=31, size=48_000)
    _people()
    links = {name: PairingLink.issue(made[name], by="ana")[1] for name in ("pairing", "timed-out", "passkey")}
    used, links["used"] = PairingLink.issue(made["idle"], by="ana")
    PairingLink.objects.filter(pk=used.pk).update(used_at=NOW)
    return {
        "webhook": str(hook.code),
        "links": links,
        "password": PASSWORD,
        "nova": User.objects.get(username="nova").pk,
        "pks": {name: session.pk for name, session in made.items()},
    }


def _session(n: int, worker: Any, session_id: str, name: str, owner: str, status: Status, reason: Reason) -> Any:
    linked = status not in UNLINKED
    fields: dict[str, Any] = {"phone": f"55119876500{n:02}", "push_name": name, "paired_at": ago(days=40)}
    fields |= {"last_connected_at": ago(hours=n), "last_backup_at": ago(minutes=n), "last_heard_at": ago(seconds=20)}
    return rows.make_session(
        status,
        session_id=session_id,
        name=name,
        owner=owner,
        reason=reason.value,
        desired="running" if status in RUNNING else "stopped",
        creds={"noiseKey": rows.SECRET} if linked else None,
        lease_host=worker if status in RUNNING else None,
        lease_until=NOW + timedelta(days=1) if status in RUNNING else None,
        lease_epoch=3,
        retry_at=NOW + timedelta(minutes=25) if status in (Status.WAITING, Status.BANNED) else None,
        expected_phone="5511987650001" if session_id == "wrong-number" else "",
        **(fields if linked else {}),
    )


def _people() -> None:
    """One who may look, and one who may do everything with the sessions of an owner who has none yet."""
    for name, group in (("victor", people.VIEWER), ("nova", people.ADMINISTRATOR)):
        user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
        user.groups.add(Group.objects.get(name=group))
    OwnerLimit.objects.create(user=user, owners="Nova")


def _rounds(made: dict[str, Any]) -> None:
    """Codes that live long enough to be looked at, and rounds that ended."""
    rows.make_round(made["pairing"], seconds_left=3600)
    typed = made["to-type"]
    code = crypto.seal(b"ABCD-1234", typed.session_id, "pairing-code")
    rows.make_round(typed, seconds_left=3600, sealed_pairing_code=code, pairing_code_phone="5511987650003")
    for name, outcome in (("timed-out", "timeout"), ("passkey", "passkey-request")):
        rows.make_round(made[name], seconds_left=-10, index=6, sealed_code=None, ended_at=NOW, outcome=outcome)


def _history(session: WhatsAppSession) -> None:
    """A timeline with an entry of each kind, keys, and backups of which one has repaired something."""
    session.record("status", status="PAIRING", actor="ana")
    session.record("pairing", actor="whatsapp", outcome="paired")
    session.record("vault", source="file", why="")
    session.record("status", status="CONNECTED", actor="whatsapp")
    session.record("export", actor="ana", keys=214, bytes=61_000)
    session.record("status", status="WAITING", reason=Reason.CONNECTION_CUT.value, actor="whatsapp")
    session.record("status", status="CONNECTED", actor="whatsapp")
    SessionCommand.objects.create(
        session=session,
        verb="backup",
        requested_by="ana",
        taken_at=ago(minutes=5),
        done_at=ago(minutes=5),
        outcome="done",
    )
    SessionEvent.objects.filter(session=session).update(host="worker-1", epoch=3)
    AuthBlob.objects.bulk_create(
        AuthBlob(session=session, data_key=f"pre-key-{n}", data_value=b"x" * (300 + n)) for n in range(1, 31)
    )
    Backup.objects.bulk_create(
        Backup(session=session, at=ago(minutes=2 * n), keys=214, bytes=61_000 + n, duration_ms=9 + n, differed=n == 3)
        for n in range(6, -1, -1)
    )


CHAT = (
    ("in", "received", "", "Good morning! Do you have sourdough today?"),
    ("out", "read", "", "Good morning! Yes, fresh at ten. Shall I keep one for you?"),
    (
        "in",
        "received",
        "",
        "Two, please. And a look at https://bakery.example/a-very-long-address/that-does-not-break-anywhere",
    ),
    ("out", "delivered", "", "Two loaves are waiting for you."),
    ("out", "sent", "", "We close at six today."),
    ("out", "failed", Reason.NOT_ON_WHATSAPP.value, "Your order is ready."),
    ("out", "sending", "", "See you tomorrow!"),
    ("out", "queued", "", "Happy birthday, Bia!"),
)


def _messages(session: WhatsAppSession) -> None:
    for n, (direction, status, reason, text) in enumerate(CHAT):
        Message.objects.create(
            session=session,
            direction=direction,
            status=status,
            reason=reason,
            text=text,
            chat="5511987650002@s.whatsapp.net",
            message_id=f"3EB0{n:04}",
            created_at=ago(minutes=20 - n),
        )
    Message.objects.create(
        session=session,
        direction="in",
        status="received",
        kind="image",
        chat="120363041234567890@g.us",
        message_id="3EB1",
    )


def samples() -> None:
    """A day of it: a night with little to do, a deploy, an outage."""
    Sample.objects.bulk_create(
        Sample(
            at=ago(minutes=n),
            connected=0 if 400 < n < 410 else 7 if n > 900 else 9,
            wanted=9,
            received=max(0, 12 - abs(n - 300) // 40) + n % 3,
            sent=max(0, 8 - abs(n - 340) // 40) + n % 2,
        )
        for n in range(1440, -1, -5)
    )


def _webhooks(session: WhatsAppSession) -> Webhook:
    """One that works, with a delivery of each kind; one that fails; one that is switched off."""
    hook = Webhook.objects.create(url="https://shop.example/oxy", events=["*"], created_by="ana")
    stream = WebhookStream.objects.create(webhook=hook, key=session.pk)
    answers = (
        ("delivered", 200, "ok"),
        ("delivered", 204, ""),
        ("failed", 503, "upstream is down"),
        ("given-up", None, "No answer."),
    )
    for n, (status, answer, said) in enumerate((*answers, ("pending", None, ""))):
        event = OutboxEvent.objects.create(
            session=session, session_code=session.session_id, name="message.received", position=n + 1, data={}
        )
        WebhookDelivery.objects.create(
            webhook=hook, event=event, stream=stream, status=status, attempts=n, response_status=answer, excerpt=said,
            duration_ms=40 + n if answer else None, attempted_at=ago(minutes=n) if status != "pending" else None,
        )  # fmt: skip
    only = {"session": session, "session_code": session.session_id}
    Webhook.objects.create(
        url="https://crm.example/hooks/" + "whatsapp-" * 6,
        events=["message.received"],
        failing_since=ago(hours=3),
        **only,
    )
    Webhook.objects.create(url="https://old.example/", events=["*"], active=False)
    return hook


if __name__ == "__main__":
    print(json.dumps(fill()))
