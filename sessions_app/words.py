"""What people read: a label, an icon and a sentence for each status, a label for each command, a line for each event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.template.defaultfilters import filesizeformat
from django.utils.dateparse import parse_datetime
from django.utils.formats import date_format, number_format
from django.utils.functional import Promise
from django.utils.translation import gettext, gettext_noop, ngettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from sessions_app import numbers, reasons
from sessions_app.lifecycle import Command, Status
from sessions_app.models import SCHEDULE, SYSTEM, WHATSAPP, Message, NotAllowed, SessionEvent

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    Text = str | _StrPromise
else:
    Text = str | Promise


@dataclass(frozen=True)
class StatusWords:
    """`icon` is a symbol of static/icons.svg; `tone` a class of static/status.css: ok, busy, idle, warn or bad."""

    label: Text
    icon: str
    tone: str
    sentence: Text


STATUSES: dict[Status, StatusWords] = {
    Status.NEW: StatusWords(_("New"), "new", "idle", _("Not linked to a phone yet.")),
    Status.PAIRING: StatusWords(_("Pairing"), "pairing", "busy", _("Waiting for a phone to scan the code.")),
    Status.CONNECTING: StatusWords(_("Connecting"), "connecting", "busy", _("Opening the connection to WhatsApp.")),
    Status.CONNECTED: StatusWords(_("Connected"), "connected", "ok", _("Connected to WhatsApp.")),
    Status.WAITING: StatusWords(_("Waiting"), "waiting", "warn", _("Not connected; it tries again by itself.")),
    Status.STOPPED: StatusWords(_("Stopped"), "stopped", "idle", _("Stopped. Its credentials are kept.")),
    Status.LOGGED_OUT: StatusWords(
        pgettext_lazy("status", "Logged out"), "logged-out", "bad", _("No longer linked to the phone.")
    ),
    Status.REPLACED: StatusWords(_("Replaced"), "replaced", "bad", _("Another program took over the connection.")),
    Status.BANNED: StatusWords(_("Banned"), "banned", "bad", _("WhatsApp has blocked this account for some time.")),
    Status.FAILED: StatusWords(_("Failed"), "failed", "bad", _("It cannot go on without you.")),
}

COMMANDS: dict[Command, Text] = {
    Command.START: _("Start"),
    Command.STOP: _("Stop"),
    Command.RESTART: _("Restart"),
    Command.PAIRING_CODE: _("Get a code"),
    Command.LOGOUT: pgettext_lazy("command", "Log out"),  # else it is the button of Django's admin
    Command.BACKUP: _("Back up now"),
    Command.DELETE: _("Delete"),
}

_ASKED: dict[str, Text] = {
    Command.START: _("Asked to start"),
    Command.STOP: _("Asked to stop"),
    Command.RESTART: _("Asked to restart"),
    Command.PAIRING_CODE: _("Asked for a pairing code"),
    Command.LOGOUT: _("Asked to log out"),
    Command.BACKUP: _("Asked for a backup"),
    Command.DELETE: _("Asked to delete"),
}

_KINDS: dict[str, Text] = {
    "status": _("Status"),
    "command": _("Command"),
    "created": _("Made"),
    "changed": _("Changed"),
    "backup": _("Backup"),
    "pairing": _("Pairing"),
    "vault": _("Vault"),
    "engine": _("Engine"),
    "lease": _("Worker"),
    "host": _("Worker"),
    "message": _("Message"),
    "recovery": _("Connected again"),
    "phone": _("Phone"),
    "export": _("Keys downloaded, encrypted"),
    "link": _("Pairing link"),
    "expected": _("Expected number"),
    "delete": _("Not deleted"),
}

#: What the details of timeline entries are called, and what the ones say that are a word.
_FACTS: dict[str, Text] = {
    "keys": _("keys"),
    "bytes": _("size"),
    "differed": _("keys that differed"),
    "fields": _("fields"),
    "outcome": _("outcome"),
    "number": _("number"),
    "imported": _("keys imported"),
    "scanned_by": _("scanned by"),
    "seconds": _("seconds"),
    "until": _("until"),
    "error": _("what went wrong"),
    "library": _("library"),
}
_FACT_WORDS: dict[str, Text] = {"withdrawn": _("withdrawn"), "revoked": _("taken back")}

#: What a message is, by its type, where its text does not say so by itself.
_MESSAGES: dict[str, Text] = {
    "reaction": _("Reaction"),
    "location": _("Place"),
    "contact": _("Contact"),
    "contacts": _("Contacts"),
    "image": _("Picture"),
    "document": _("Document"),
    "audio": _("Audio"),
    "video": _("Video"),
    "sticker": _("Sticker"),
    "poll": _("Poll"),
    "unreadable": _("A message that could not be read"),
    "empty": _("Empty message"),
}

#: How sentences begin that engines write down, which know no catalogue; what follows the colon is the library's own.
_BEGINNINGS = (
    gettext_noop("WhatsApp gave no pairing code"),
    gettext_noop("The session could not be logged out"),
    gettext_noop("The certificate of the host is not valid"),
)

#: What a host says about the working file that it began with (hosting/keeper.py).
_SOURCES: dict[str, Text] = {
    "file": _("The working file on this worker's disk was up to date, and is used."),
    "vault": _("The working file was rebuilt from the stored copy."),
    "new": _("An empty working file was made: no phone is linked yet."),
}
_STALE: Text = _("Signal sessions that may be stale were dropped, so that no message is lost in silence.")


def status_words(status: str) -> StatusWords:
    """The words for a stored status; one that is not known is shown as it is."""
    try:
        return STATUSES[Status(status)]
    except ValueError:
        return StatusWords(status, "new", "idle", "")


def sentence(reason: str) -> str:
    """Why, in the reader's language; empty where there is no reason."""
    text = reasons.explain(reason).sentence
    return gettext(text) if text else ""


def next_step(reason: str) -> str:
    """What to do now, in the reader's language; empty where nothing is needed."""
    text = reasons.explain(reason).action
    return gettext(text) if text else ""


def told(text: str) -> str:
    """A sentence that a worker wrote down in English, in the reader's language; nothing else is changed."""
    said = gettext(text) if text else ""
    beginning, colon, rest = text.partition(": ")
    return f"{gettext(beginning)}: {rest}" if said == text and colon and beginning in _BEGINNINGS else said


def moment(at: datetime) -> str:
    """A time for where no script makes it the reader's own."""
    # A text like any other: in the catalogue stands how the language writes a date and a time.
    form = gettext("Y-m-d H:i")
    return f"{date_format(at.astimezone(UTC), form)} UTC"


def message_label(message: Message) -> Text:
    """The word for what it is; empty for a text."""
    if message.type == "text":
        return ""
    if message.type == "reaction" and not message.text:
        return _("Reaction taken back")
    return _MESSAGES.get(message.type, message.type)


def message_facts(message: Message) -> str:
    """What it carries besides its text, on one line."""
    content = message.content or {}
    if "latitude" in content:
        place = f"{content['latitude']:.5f}, {content['longitude']:.5f}"
        return f"{content['address']} ({place})" if content.get("address") else place
    return numbers.pretty(content["phone"]) if content.get("phone") else ""


def actor(name: str) -> str:
    """Who did it: a person's name as it is, ours in words."""
    return {SYSTEM: "Oxy", WHATSAPP: "WhatsApp", SCHEDULE: gettext("Schedule")}.get(name, name)


def event_title(event: SessionEvent) -> Text:
    """The first line of a timeline entry."""
    if event.kind == "status":
        return status_words(event.status).label
    if event.kind == "command":
        return _ASKED.get(str(event.detail.get("command", "")), _("Command"))
    return kind_label(event.kind)


def kind_label(kind: str) -> Text:
    """What entries of one kind are about."""
    return _KINDS.get(kind, kind)


def event_sentence(event: SessionEvent) -> str:
    """Why, or what it means, in the reader's language."""
    if not _is_source(event):
        return sentence(event.reason)
    stale = "stale" in str(event.detail.get("why", ""))
    return " ".join(str(part) for part in (_SOURCES[event.detail["source"]], _STALE if stale else "") if part)


def _is_source(event: SessionEvent) -> bool:
    return event.kind == "vault" and event.detail.get("source") in _SOURCES


def event_facts(event: SessionEvent) -> list[tuple[Text, str]]:
    """What else the entry says: the plain values of its detail, by name."""
    said = {"command", *(("source", "why") if _is_source(event) else ())}
    return [
        (_FACTS.get(name, name.replace("_", " ")), _fact(name, value))
        for name, value in event.detail.items()
        if name not in said and isinstance(value, str | int | float) and value != ""
    ]


def _fact(name: str, value: Any) -> str:
    if name == "bytes":
        return filesizeformat(value)
    if isinstance(value, float):
        return number_format(value)
    if name == "until" and (at := parse_datetime(str(value))):
        return moment(at)
    return told(str(value)) if name == "error" else str(_FACT_WORDS.get(str(value), value))


def asked_of_many(command: Command, asked: int, refused: dict[str, int]) -> str:
    """What came of asking the same of many sessions."""
    if not asked and not refused:
        return gettext("Tick the sessions first.")
    said = ngettext("“%(verb)s” was asked of %(n)d session.", "“%(verb)s” was asked of %(n)d sessions.", asked)
    parts = [said % {"verb": COMMANDS[command], "n": asked}]
    if refused:
        listed = ", ".join(f"{n} × {_refused_status(status)}" for status, n in sorted(refused.items()))
        missed = ngettext(
            "It is not possible for %(n)d: %(listed)s.",
            "It is not possible for %(n)d: %(listed)s.",
            sum(refused.values()),
        )
        parts.append(missed % {"n": sum(refused.values()), "listed": listed})
    return " ".join(parts)


def _refused_status(status: str) -> str:
    return gettext("being deleted") if status == "DELETING" else str(status_words(status).label)


def refusal(error: NotAllowed) -> str:
    """Why a command was not taken."""
    if error.deleting:
        return gettext("This session is being deleted.")
    return gettext("“%(command)s” is not possible while the session is “%(status)s”.") % {
        "command": COMMANDS[error.command],
        "status": STATUSES[error.status].label,
    }
