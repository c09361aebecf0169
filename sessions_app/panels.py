"""The parts of a page that change by themselves, each rendered from the database as it is now.

A page includes its panels; its websocket sends the same panels again, out of band, whenever something may have changed. Both
come from here, so they can't differ. A panel carries a digest of its content (`data-v`): whoever holds the same one leaves it
alone, so that nothing blinks and no typed text is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext

from sessions_app import people, qr, words
from sessions_app.lifecycle import Command, Status
from sessions_app.models import Host, PairingRound, SessionCommand, Webhook, WhatsAppSession
from sessions_app.querysets import SessionQuerySet
from sessions_app.reasons import Reason
from sessions_app.vault.crypto import Unreadable

#: A command that no host has answered for so long is no longer said to be under way.
PATIENCE = timedelta(seconds=60)
#: Commands that are asked for only after a page has said what will be lost.
CONFIRMED = frozenset({Command.LOGOUT, Command.DELETE})
SESSION_PANELS = (
    "warnings", "state", "pairing", "code", "binding", "facts", "timeline", "backups", "messages", "send", "hooks", "danger",
)  # fmt: skip

_ORDER = (Command.START, Command.STOP, Command.RESTART, Command.BACKUP, Command.LOGOUT, Command.DELETE)
_BEGIN = frozenset({Command.START.value, Command.RESTART.value})
#: The outcome of a round whose code was scanned: it is over, but no code of it has died unused.
PAIRED = "paired"
#: What a dead code is drawn from where the page was opened too late to have seen it: it says nothing.
_BLANK_CODE = "This code is no longer valid. " * 7


@dataclass(frozen=True)
class Panel:
    """One part of a page; `{{ panel }}` in a template is its element."""

    name: str
    body: str

    @property
    def digest(self) -> str:
        return hashlib.blake2s(self.body.encode(), digest_size=8).hexdigest()

    def element(self, *, out_of_band: bool) -> SafeString:
        return format_html(
            '<div id="panel-{}" class="panel" data-v="{}"{}>{}</div>',
            self.name,
            self.digest,
            mark_safe(' hx-swap-oob="true"') if out_of_band else "",
            mark_safe(self.body),  # noqa: S308 - rendered by our own template, which escapes
        )

    def __html__(self) -> SafeString:
        return self.element(out_of_band=False)

    __str__ = __html__


def clock(*, out_of_band: bool) -> SafeString:
    """The server's time in Unix milliseconds: pages count down by it, whatever their own clock says."""
    return format_html(
        '<i id="clock" data-now="{}" hidden{}></i>',
        str(int(timezone.now().timestamp() * 1000)),
        mark_safe(' hx-swap-oob="true"') if out_of_band else "",
    )


def out_of_band(panels: Iterable[Panel]) -> str:
    """The panels as htmx takes them from a response or a websocket message."""
    return clock(out_of_band=True) + "".join(panel.element(out_of_band=True) for panel in panels)


def warnings() -> list[str]:
    """What is wrong with the installation as a whole, in sentences."""
    hosts = list(Host.objects.alive().only("name", "path_fell_back", "session_path"))
    if not hosts:
        return [gettext("No worker is running: sessions stay as they are. Start one with “python manage.py runhost”.")]
    return [
        gettext("Worker %(name)s cannot write to the session path, so it uses %(path)s.")
        % {"name": host.name, "path": host.session_path}
        for host in hosts
        if host.path_fell_back
    ]


def session_warnings(session: WhatsAppSession) -> list[str]:
    """What is wrong with the installation, or about to go wrong with this session."""
    away = session.phone_away
    return [*warnings(), *([f"{words.sentence(away)} {words.next_step(away)}"] if away else [])]


def public(rows: SessionQuerySet) -> SessionQuerySet:
    """These sessions with what pages show of them: the sealed columns stay in the database."""
    return rows.select_related("lease_host").defer("creds", "proxy_url")


# --- one session -------------------------------------------------------------


def session_panels(session_pk: int, user: Any) -> list[Panel]:
    """The panels of a session's page as this person may see it; of a session that is gone, one that says so."""
    session = public(people.visible_to(user)).filter(pk=session_pk).first()
    if session is None:
        gone = Panel("state", render_to_string("oxy/panels/gone.html"))
        return [gone if name == "state" else Panel(name, "") for name in SESSION_PANELS]
    context = session_context(session, user)
    return [Panel(name, render_to_string(f"oxy/panels/{name}.html", context).strip()) for name in SESSION_PANELS]


def session_context(session: WhatsAppSession, user: Any) -> dict[str, Any]:
    """What the templates of a session's panels read."""
    last, pending = _commands(session)
    pairs = session.allows(Command.PAIRING_CODE) and people.may(user, Command.PAIRING_CODE)
    return {
        "session": session,
        "said": words.status_words(session.status),
        "pending": pending,
        "refused": last if last and last.outcome == SessionCommand.Outcome.FAILED else None,
        "actions": _actions(session, user, pairs=pairs),
        "pairs": pairs,
        **(_pairing_with_addresses(session, pending) if pairs else {}),
        "warnings": session_warnings(session),
        "events": session.events.all()[:30],
        "backups": session.backups.all()[:5],
        "chat": session.messages.all()[:20],
        "simulator_control": settings.OXY_SIMULATOR_CONTROL,
        **_permitted(session, user),
    }


def _permitted(session: WhatsAppSession, user: Any) -> dict[str, Any]:
    """What is only for some: a form to send with, addresses of webhooks, the keys as a file, and what destroys."""
    dangers = [command.value for command in _ORDER if command in CONFIRMED and session.allows(command)]
    dangers = [verb for verb in dangers if people.may(user, Command(verb))]
    sees_hooks = user.has_perm(people.SEE_WEBHOOKS)
    return {
        "may_send": bool(session.phone) and user.has_perm(people.OPERATE),
        "may_export": bool(session.phone) and user.has_perm(people.EXPORT),
        "running": session.desired == WhatsAppSession.Desired.RUNNING,
        "sees_hooks": sees_hooks,
        # Webhooks of all sessions belong to nobody's owner: whoever is limited does not see them.
        "hooks": Webhook.objects.filter(_tells_of(session, user))[:20] if sees_hooks else [],
        "dangers": dangers,
    }


def _tells_of(session: WhatsAppSession, user: Any) -> Q:
    mine = Q(session=session)
    return mine if people.owners_of(user) is not None else mine | Q(session=None, session_code="")


def losses(session: WhatsAppSession) -> dict[str, int]:
    """How much there is to lose, by what it is."""
    return {
        "keys": session.blobs.count(),
        "message_count": session.messages.count(),
        "event_count": session.events.count(),
    }


def _actions(session: WhatsAppSession, user: Any, *, pairs: bool) -> list[dict[str, Any]]:
    """The buttons, in order. Where codes are shown, "New round" beside them stands for start and restart."""
    return [
        {"verb": command.value}
        for command in _ORDER
        if command not in CONFIRMED
        and session.allows(command)
        and people.may(user, command)
        and not (pairs and command.value in _BEGIN)
    ]


def _commands(session: WhatsAppSession) -> tuple[SessionCommand | None, SessionCommand | None]:
    """The last command, and the same again while it is under way."""
    last = session.commands.order_by("-pk").first()
    pending = last and last.done_at is None and last.created_at > timezone.now() - PATIENCE
    return last, last if pending else None


def pairing_context(session: WhatsAppSession) -> dict[str, Any]:
    """What the panels read that link a phone; they also read where their buttons lead."""
    return _pairing_context(session, _commands(session)[1])


def _pairing_with_addresses(session: WhatsAppSession, pending: SessionCommand | None) -> dict[str, Any]:
    context = _pairing_context(session, pending)
    return context | {
        "new_round_url": reverse("oxy-command", args=[session.session_id, context["new_round"]]),
        "code_url": reverse("oxy-command", args=[session.session_id, Command.PAIRING_CODE.value]),
        "check_url": reverse("oxy-check-number"),
        "binds": True,
    }


def _pairing_context(session: WhatsAppSession, pending: SessionCommand | None) -> dict[str, Any]:
    last_round = session.rounds.order_by("-pk").first()
    code = _open_code(last_round)
    spent = bool(last_round and last_round.index and last_round.outcome != PAIRED)
    begins = bool(pending and pending.verb in _BEGIN)
    dead = spent and not code and not begins
    return {
        "round": last_round,
        "qr_state": "live" if code else "dead" if dead else "none",
        "qr_svg": mark_safe(qr.svg(code or _BLANK_CODE)) if code or dead else "",  # noqa: S308 - drawn by us
        # The page hands it to the simulated phone by a message between windows; a real code stays a picture.
        "qr_text": code if settings.OXY_SIMULATOR else None,
        "pairing_code": _open_pairing_code(last_round),
        "begins": begins,
        "waits_for_code": session.status == Status.PAIRING,
        "code_asked": bool(pending and pending.verb == Command.PAIRING_CODE),
        "passkey": session.reason == Reason.PASSKEY_NEEDED,
        "simulator_control": settings.OXY_SIMULATOR_CONTROL,
        "new_round": (Command.START if session.allows(Command.START) else Command.RESTART).value,
    }


def _open_code(last_round: PairingRound | None) -> str | None:
    try:
        return last_round.code if last_round else None
    except Unreadable:
        return None  # sealed with a key that is gone: as good as dead


def _open_pairing_code(last_round: PairingRound | None) -> str | None:
    try:
        return last_round.pairing_code if last_round else None
    except Unreadable:
        return None
