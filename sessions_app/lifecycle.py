"""The life of a session in one table: what it can be, what can happen to it, and what a person may ask of it.

Two rules. Everything that decides a session's status is in this file; and this file knows nothing else: no database, no
library, no clock. `WhatsAppSession.apply()` is the only caller that stores the result.

A session is NEW until somebody asks for it. With no credentials it is PAIRING while codes are shown; with credentials it
is CONNECTING until WhatsApp lets it in. A connection that is lost is WAITING until the next attempt, which the host makes
by itself. STOPPED is a person's wish. LOGGED_OUT, REPLACED, BANNED and FAILED are ends that a person must hear about: only
START leaves them, except that a ban has a date and ends by itself.
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What is true of a session now; the values are stored and shown by the API."""

    #: Never paired, or its last pairing round ended without a phone.
    NEW = "NEW"
    #: A host shows codes and waits for a phone.
    PAIRING = "PAIRING"
    #: It has credentials, and a host is opening its connection.
    CONNECTING = "CONNECTING"
    #: WhatsApp has let it in.
    CONNECTED = "CONNECTED"
    #: Not connected, and the host will try again by itself.
    WAITING = "WAITING"
    #: A person stopped it; the credentials are kept.
    STOPPED = "STOPPED"
    #: WhatsApp says that this device is no longer linked.
    LOGGED_OUT = "LOGGED_OUT"
    #: Another client took over the connection.
    REPLACED = "REPLACED"
    #: WhatsApp refuses the account for a time that it named.
    BANNED = "BANNED"
    #: It cannot go on without a person.
    FAILED = "FAILED"


class Event(StrEnum):
    """What can happen to a session."""

    #: A host begins a pairing round.
    PAIRING_STARTED = "pairing-started"
    #: A pairing round ended with no phone linked.
    PAIRING_ENDED = "pairing-ended"
    #: A phone has linked the session: credentials exist from now on.
    PAIRED = "paired"
    #: A host begins to connect with stored credentials.
    CONNECT_STARTED = "connect-started"
    CONNECTED = "connected"
    #: The connection is gone, or an attempt failed; another attempt follows.
    CONNECTION_LOST = "connection-lost"
    STOPPED = "stopped"
    LOGGED_OUT = "logged-out"
    REPLACED = "replaced"
    BANNED = "banned"
    FAILED = "failed"


class Command(StrEnum):
    """What a person or a program may ask of a session; the values are the verbs of the API."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    PAIRING_CODE = "pairing-code"
    LOGOUT = "logout"
    BACKUP = "backup"
    DELETE = "delete"


class IllegalTransition(Exception):
    """An event that cannot happen in this status."""


_ENDS: dict[Event, Status] = {
    Event.STOPPED: Status.STOPPED,
    Event.LOGGED_OUT: Status.LOGGED_OUT,
    Event.REPLACED: Status.REPLACED,
    Event.BANNED: Status.BANNED,
    Event.FAILED: Status.FAILED,
}
_STARTS: dict[Event, Status] = {
    Event.PAIRING_STARTED: Status.PAIRING,
    Event.CONNECT_STARTED: Status.CONNECTING,
}
# A host can find out at any start that the vault cannot be read, and a person can stop what only waits to be started.
_AT_REST = _STARTS | {Event.STOPPED: Status.STOPPED, Event.FAILED: Status.FAILED}

TRANSITIONS: dict[Status, dict[Event, Status]] = {
    Status.NEW: _AT_REST | {Event.STOPPED: Status.NEW},
    Status.PAIRING: _ENDS
    | {
        # The same round begins again on another host, or a person asks for a new one.
        Event.PAIRING_STARTED: Status.PAIRING,
        Event.PAIRING_ENDED: Status.NEW,
        Event.PAIRED: Status.CONNECTING,
        Event.CONNECTION_LOST: Status.WAITING,
        Event.STOPPED: Status.NEW,
        # A host that died right after the scan leaves PAIRING behind, with credentials in the vault.
        Event.CONNECT_STARTED: Status.CONNECTING,
    },
    Status.CONNECTING: _ENDS
    | {
        Event.CONNECT_STARTED: Status.CONNECTING,
        Event.CONNECTED: Status.CONNECTED,
        Event.CONNECTION_LOST: Status.WAITING,
    },
    Status.CONNECTED: _ENDS
    | {
        Event.CONNECT_STARTED: Status.CONNECTING,
        Event.CONNECTED: Status.CONNECTED,
        Event.CONNECTION_LOST: Status.WAITING,
    },
    Status.WAITING: _ENDS
    | _STARTS
    | {
        # The library reconnects by itself after most losses.
        Event.CONNECTED: Status.CONNECTED,
        Event.CONNECTION_LOST: Status.WAITING,
        Event.PAIRING_ENDED: Status.NEW,
    },
    Status.STOPPED: _AT_REST,
    Status.LOGGED_OUT: _AT_REST,
    Status.REPLACED: _AT_REST,
    Status.BANNED: _AT_REST | {Event.LOGGED_OUT: Status.LOGGED_OUT},
    Status.FAILED: _AT_REST | {Event.LOGGED_OUT: Status.LOGGED_OUT},
}

#: Statuses that a host leaves only when a person asks: it does not claim such a session.
FINAL = frozenset({Status.LOGGED_OUT, Status.REPLACED, Status.FAILED})

_ALLOWED: dict[Status, frozenset[Command]] = {
    Status.NEW: frozenset({Command.START, Command.PAIRING_CODE, Command.DELETE}),
    Status.PAIRING: frozenset({Command.STOP, Command.RESTART, Command.PAIRING_CODE, Command.DELETE}),
    Status.CONNECTING: frozenset({Command.STOP, Command.RESTART, Command.DELETE}),
    Status.CONNECTED: frozenset({Command.STOP, Command.RESTART, Command.LOGOUT, Command.BACKUP, Command.DELETE}),
    Status.WAITING: frozenset({Command.START, Command.STOP, Command.RESTART, Command.DELETE}),
    Status.STOPPED: frozenset({Command.START, Command.DELETE}),
    Status.LOGGED_OUT: frozenset({Command.START, Command.PAIRING_CODE, Command.DELETE}),
    Status.REPLACED: frozenset({Command.START, Command.DELETE}),
    Status.BANNED: frozenset({Command.START, Command.STOP, Command.DELETE}),
    Status.FAILED: frozenset({Command.START, Command.STOP, Command.DELETE}),
}


def advance(status: Status, event: Event) -> Status:
    """The status that follows, or `IllegalTransition` with a sentence that names both."""
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise IllegalTransition(f"{event.value} cannot happen while a session is {status.value}.") from None


def allowed(status: Status) -> frozenset[Command]:
    """The commands that a person may give in this status."""
    return _ALLOWED[status]
