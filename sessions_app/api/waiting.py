"""Waiting for a host's answer to a command, with an end: either it is done, or it never begins, or the caller is told that it goes on."""

from __future__ import annotations

from time import monotonic, sleep

from sessions_app.api.errors import ApiError
from sessions_app.models import SessionCommand, WhatsAppSession

#: Seconds that a request waits for a host.
PATIENCE = 20.0
LOOK_EVERY = 0.1


def answer_to(session: WhatsAppSession, command: SessionCommand, *, desired: str) -> None:
    """Return when the command is done. Raises `ApiError`: 409 where it failed, 504 where nobody did it in time.

    `desired` is what was wished of the session before the command, and is wished again where the command is withdrawn. Each request
    has a thread of its own under Daphne, so a wait here keeps nobody else waiting.
    """
    end = monotonic() + PATIENCE
    while not _done(command):
        if monotonic() < end:
            sleep(LOOK_EVERY)
        elif session.withdraw(command, desired=desired):
            raise ApiError("host-did-not-answer")
        elif not _done(command):  # it may have ended while we asked for it back
            raise ApiError("still-under-way")


def _done(command: SessionCommand) -> bool:
    """Whether it is done; raises `ApiError` where it failed or the session is gone."""
    row = SessionCommand.objects.filter(pk=command.pk).first()
    if row is None:
        raise ApiError("session-not-found")
    if row.done_at and row.outcome != SessionCommand.Outcome.DONE:
        raise ApiError("refused", row.error or None)
    return row.done_at is not None
