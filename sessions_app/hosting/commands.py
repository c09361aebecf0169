"""What a runner does about each command of a person or a program: one small function a verb, and the table that finds it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_noop as _

from sessions_app.hosting import reactions
from sessions_app.hosting.keeper import CredentialsVanished
from sessions_app.lifecycle import Command, Event, Status
from sessions_app.models import SCHEDULE, SessionCommand, WhatsAppSession
from sessions_app.reasons import Reason
from sessions_app.vault.store import LeaseLost

if TYPE_CHECKING:
    from sessions_app.hosting.runner import Runner

#: How long an unlinking may take, the login that it may need included.
UNLINK_TIMEOUT = 60.0
#: Said of what was not done when its session's runner ended.
ENDED = _("The session ended before this could be done.")
#: Said of a logout whose connection ended first, and of what failed for a reason that is not the person's.
NOT_TOLD = _("The connection ended before WhatsApp could be told.")
FAILED = _("It could not be done; the worker's log says why.")
#: Ends after which WhatsApp lets nobody in, so that an unlinking cannot be asked for.
_CANNOT_UNLINK = (Status.FAILED, Status.BANNED, Status.REPLACED, Status.LOGGED_OUT)

#: A session that is in one of these will be run again, unless somebody has asked for something else.
_GOES_ON = (Status.CONNECTING, Status.CONNECTED, Status.WAITING)


def execute(runner: Runner, command: SessionCommand) -> None:
    """Do what was asked; the command's row is finished now, or when the engine has answered."""
    runner.session.refresh_from_db()
    if runner.session.lease_epoch != runner.lease.epoch:
        # Whoever has the session now has the command, too.
        raise LeaseLost
    runner.cancel("unused")
    _VERBS[Command(command.verb)](runner, command)
    if runner.phase == "idle" and not runner.finished:
        runner.after("unused", 0.0, runner.finish)


def _start(runner: Runner, command: SessionCommand) -> None:
    _want(runner, WhatsAppSession.Desired.RUNNING)
    if runner.session.reason == Reason.CREDENTIALS_MISSING:
        # The person has read that the credentials are gone, and asks for a new pairing.
        WhatsAppSession.objects.filter(pk=runner.session.pk).update(paired_at=None)
    # Before it is tried: a vault that cannot be read ends the attempt, and must not have it asked for again.
    command.finish()
    if runner.phase in ("idle", "waiting"):
        runner.reset_delays()
        runner.begin()


def _stop(runner: Runner, command: SessionCommand) -> None:
    runner.hold(command)

    def conclude() -> None:
        runner.end_round("stopped")
        runner.apply(Event.STOPPED, Reason.ASKED, desired=WhatsAppSession.Desired.STOPPED, actor=command.requested_by)
        runner.finish_commands(Command.STOP)
        runner.finish()

    runner.close_socket(conclude)


def _restart(runner: Runner, command: SessionCommand) -> None:
    _want(runner, WhatsAppSession.Desired.RUNNING)
    runner.reset_delays()
    runner.end_round("restarted")
    command.finish()
    runner.close_socket(runner.begin)


def _pairing_code(runner: Runner, command: SessionCommand) -> None:
    if runner.session.has_creds:
        command.finish(SessionCommand.Outcome.FAILED, _("This session is linked already."))
        return
    _want(runner, WhatsAppSession.Desired.RUNNING)
    runner.hold(command)
    runner.wanted_phone = command.arguments["phone"]
    if runner.phase in ("idle", "waiting"):
        runner.begin()
    elif runner.round and runner.round.index and runner.engine:
        reactions.request_pairing_code(runner)


def _logout(runner: Runner, command: SessionCommand) -> None:
    if runner.session.status != Status.CONNECTED or runner.phase != "running":
        command.finish(SessionCommand.Outcome.FAILED, _("The session is not connected, so WhatsApp cannot be told."))
        take_back(runner, command)
        return
    runner.hold(command)
    reactions.log_out(runner)


def _backup(runner: Runner, command: SessionCommand) -> None:
    if runner.phase != "running" or runner.session.status != Status.CONNECTED:
        command.finish(SessionCommand.Outcome.FAILED, _("The session is not connected."))
        return
    try:
        row = runner.keeper.back_up()
    except CredentialsVanished:
        command.finish(SessionCommand.Outcome.FAILED, _("The session has just lost its credentials."))
        raise
    if row.differed or command.requested_by != SCHEDULE:
        facts: dict[str, Any] = {"keys": row.keys, "bytes": row.bytes, "differed": row.differed}
        runner.session.record("backup", actor=command.requested_by, **facts)
    command.finish()
    runner.news()


def _delete(runner: Runner, command: SessionCommand) -> None:
    """Unlink the phone first, connecting for that if need be; then delete the row and everything that hangs on it."""
    runner.hold(command)
    if not runner.session.has_creds or runner.session.status in _CANNOT_UNLINK or command.arguments.get("force"):
        runner.close_socket(lambda: reactions.delete_row(runner))
        return
    runner.unlink_when_connected = True
    runner.after("unlink", UNLINK_TIMEOUT, lambda: _unlinking_failed(runner))
    if runner.phase == "running" and runner.session.status == Status.CONNECTED:
        reactions.log_out(runner)
    elif runner.phase in ("idle", "waiting"):
        runner.begin()


def _unlinking_failed(runner: Runner) -> None:
    error = _(
        "WhatsApp could not be reached to unlink the phone, so nothing was deleted. Try again when it can be reached."
    )
    runner.finish_commands(Command.DELETE, error=error)
    runner.session.record("delete", reason=Reason.WHATSAPP_UNREACHABLE.value, error=error)
    runner.close(Event.STOPPED, Reason.WHATSAPP_UNREACHABLE, desired=WhatsAppSession.Desired.STOPPED)


def take_back(runner: Runner, command: SessionCommand) -> None:
    """What was asked cannot be done: undo what asking for it has changed."""
    if command.verb == Command.DELETE:
        WhatsAppSession.objects.filter(pk=runner.session.pk).update(deleting=False)
        runner.session.deleting = runner.unlink_when_connected = False
    elif command.verb == Command.LOGOUT and runner.session.status in _GOES_ON:
        _want(runner, WhatsAppSession.Desired.RUNNING)


def _want(runner: Runner, desired: WhatsAppSession.Desired) -> None:
    WhatsAppSession.objects.filter(pk=runner.session.pk).update(desired=desired)
    runner.session.desired = desired


_VERBS: dict[Command, Callable[[Runner, SessionCommand], None]] = {
    Command.START: _start,
    Command.STOP: _stop,
    Command.RESTART: _restart,
    Command.PAIRING_CODE: _pairing_code,
    Command.LOGOUT: _logout,
    Command.BACKUP: _backup,
    Command.DELETE: _delete,
}
