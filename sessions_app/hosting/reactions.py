"""What a runner does about each event of its engine: one small function an event type, and the table that finds it."""

from __future__ import annotations

import logging
import random
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from sessions_app import broadcast, qr
from sessions_app.engine import events as ev
from sessions_app.hosting import messages, questions, rounds
from sessions_app.lifecycle import Command, Event, Status
from sessions_app.models import EventName, OutboxEvent, WhatsAppSession
from sessions_app.reasons import Reason
from sessions_app.vault.store import LeaseLost

if TYPE_CHECKING:
    from sessions_app.hosting.engines import Engine
    from sessions_app.hosting.runner import Runner

log = logging.getLogger(__name__)

#: The library reconnects by itself after most losses, often within 20 ms: a loss is told only when it lasts.
TELL_LOSS_AFTER = 1.0
#: A session is at rest so long after a login; after its first one, the vault is saved in full once more then.
SETTLED_AFTER = 5.0
#: How long the library may try to reconnect before it is started anew.
RECONNECT_TIMEOUT = 60.0
#: Sessions that waited for WhatsApp come back spread over this time once it answers.
HURRY_WITHIN = 6.0
#: Between the death of an engine and the start of its sessions on another.
AFTER_CRASH = 0.3
#: A ban without an end is looked at again after this.
UNKNOWN_BAN = 3600.0
#: The library names a cut connection `timeout` too; before this part of a round it cannot be one.
SHORTEST_ROUND = timedelta(seconds=55)

_ROUND_ENDS: dict[str, Reason] = {
    "timeout": Reason.PAIRING_TIMED_OUT,
    "passkey-request": Reason.PASSKEY_NEEDED,
    "err-unexpected-state": Reason.PAIRING_REFUSED,
}


_STOP_CAUSES: dict[str, Reason] = {
    "whatsapp": Reason.WHATSAPP_UNREACHABLE,
    "store": Reason.LIVE_STORE_BROKEN,
    "busy": Reason.LIVE_STORE_BUSY,
    "disk": Reason.DISK_FULL,
}


_WHATSAPP_AWAY = frozenset(
    {Reason.WHATSAPP_UNREACHABLE, Reason.CONNECTION_CUT, Reason.CONNECT_TIMED_OUT, Reason.WHATSAPP_ERROR}
)
_NO_PHONE: dict[str, Any] = {"paired_at": None, "phone_seen_at": None}


def react(runner: Runner, event: Any) -> None:
    """Do what the event asks for; one that nobody knows is logged by its type."""
    reaction = _REACTIONS.get(type(event))
    if reaction:
        reaction(runner, event)
    else:
        name = event.name if isinstance(event, ev.UnknownHappened) else type(event).__name__
        log.debug("event_ignored", extra={"session": runner.session.session_id, "event": name})


def engine_died(runner: Runner, engine: Engine) -> None:
    """The engine's process is gone; the disk still holds all that it knew."""
    if runner.engine is not engine:
        return
    if engine.crashed and engine.share == 1 and runner.phase == "running":
        # It ran there alone, after it had been among those of several crashes: nobody else can have been the cause.
        runner.client_stopped()
        runner.surely("retry", lambda: runner.give_up(Event.FAILED, Reason.CRASHES_ENGINES))
    else:
        # One that never came up may not come up the next time either.
        _gone(runner, Reason.ENGINE_DIED, delay=AFTER_CRASH if engine.library else None)


def _gone(runner: Runner, reason: Reason, *, delay: float | None = None, leaked: bool = False) -> None:
    """The socket is closed, by wish or by accident; an accident is followed by another attempt."""
    if not runner.client_stopped(leaked=leaked) and not runner.finished:
        runner.surely("retry", lambda: runner.retry(reason, delay))


# --- the client ---------------------------------------------------------------


def _store_prepared(runner: Runner, event: ev.StorePrepared) -> None:
    if runner.phase != "preparing":
        return
    if event.error:
        log.error("store_not_prepared", extra={"session": runner.session.session_id, "error": event.error})
        runner.retry(Reason.LIVE_STORE_BROKEN)
        return
    try:
        runner.start_client()
    except (OSError, sqlite3.Error) as failure:
        log.error("live_store_failed", extra={"session": runner.session.session_id, "error": type(failure).__name__})
        runner.retry(Reason.LIVE_STORE_BROKEN)


def _client_stopped(runner: Runner, event: ev.ClientStopped) -> None:
    if event.epoch == runner.lease.epoch and runner.engine:
        if event.error:
            log.warning("client_stopped", extra={"session": runner.session.session_id, "error": event.error})
        _gone(runner, _STOP_CAUSES.get(event.cause, Reason.CONNECTION_CUT), leaked=event.leaked)


def _unspooled(runner: Runner, event: ev.Unspooled) -> None:
    runner.intake.take_unspooled(event)


def _message_sent(runner: Runner, event: ev.MessageSent) -> None:
    runner.outbox.on_sent(event)


def _lease_ran_out(runner: Runner, event: ev.LeaseRanOut) -> None:
    # That this runs means that the database answers again; whether the session is still ours, the epoch decides.
    if event.epoch == runner.lease.epoch and runner.phase == "running":
        runner.retry(Reason.STORAGE_UNAVAILABLE, delay=0.0)


def _command_failed(runner: Runner, event: ev.CommandFailed) -> None:
    log.warning(
        "engine_command_failed",
        extra={"session": runner.session.session_id, "command": event.command, "error": event.error},
    )
    if event.command == "StopClient" and runner.phase == "closing":
        # There was no client yet: its socket is as closed as it can be.
        runner.client_stopped()
    elif event.command == "StartClient" and runner.phase == "running":
        runner.retry(Reason.LIVE_STORE_BROKEN)
    elif event.command == "SendMessage":
        runner.outbox.on_failed(event)
    elif event.command in ("Ask", "FetchFile"):
        questions.failed(runner, event)
    elif event.command == "RequestPairingCode":
        runner.finish_commands(Command.PAIRING_CODE, error=event.error)
    elif event.command == "LogOut":
        runner.finish_commands(Command.LOGOUT, error=event.error)
        runner.sooner("unlink", 0.0)
        if runner.wrong_number:
            runner.retry(Reason.WRONG_NUMBER)


# --- pairing ------------------------------------------------------------------


def _qr_issued(runner: Runner, event: ev.QrIssued) -> None:
    if runner.round is None or runner.phase != "running":
        return
    rounds.show_code(runner.round, event.code, event.at)
    runner.cancel("connect")
    # The library is known to fall silent, so the host keeps the clock of the codes too.
    to_come = sum((qr.lifetime(index) for index in range(runner.round.index + 1, runner.round.of + 1)), timedelta(0))
    left = (runner.round.remaining + to_come).total_seconds()
    runner.after("round", left + 3.0, lambda: runner.give_up(Event.PAIRING_ENDED, Reason.PAIRING_TIMED_OUT))
    if runner.wanted_phone:
        request_pairing_code(runner)
    runner.news()


def request_pairing_code(runner: Runner) -> None:
    """Ask for the code that `runner.wanted_phone` can type, once."""
    phone, runner.wanted_phone = runner.wanted_phone, ""
    runner.pairing_phone = phone
    assert runner.engine is not None
    runner.engine.send(ev.RequestPairingCode(session=runner.session.session_id, phone=phone))


def _pairing_code_issued(runner: Runner, event: ev.PairingCodeIssued) -> None:
    if runner.round:
        rounds.show_pairing_code(runner.round, event.code, runner.pairing_phone)
        runner.news()
    runner.finish_commands(Command.PAIRING_CODE)


def _round_ended(runner: Runner, event: ev.PairingRoundEnded) -> None:
    if event.outcome == "success" or runner.round is None:
        return
    if event.outcome == "err-client-outdated":
        runner.give_up(Event.FAILED, Reason.CLIENT_OUTDATED)
        return
    reason = _ROUND_ENDS.get(event.outcome, Reason.PAIRING_INTERRUPTED)
    too_early = timezone.now() - runner.round.started_at < SHORTEST_ROUND
    if reason is Reason.PAIRING_TIMED_OUT and too_early:
        reason = Reason.PAIRING_INTERRUPTED
    runner.give_up(Event.PAIRING_ENDED, reason)


def _paired(runner: Runner, event: ev.Paired) -> None:
    runner.just_linked = True
    runner.intake.write_through()
    runner.end_round("paired")
    runner.cancel("round")
    if _refuses(runner, event.jid):
        return
    runner.session.use_up_links()
    if runner.session.phone not in ("", phone_of(event.jid)):
        runner.outbox.give_up_queued(Reason.ACCOUNT_CHANGED)
    runner.after("connect", RECONNECT_TIMEOUT, lambda: runner.retry(Reason.CONNECT_TIMED_OUT))
    runner.apply(
        Event.PAIRED,
        Reason.SCANNED,
        jid=event.jid,
        lid=event.lid,
        phone=phone_of(event.jid),
        paired_at=timezone.now(),
        phone_seen_at=timezone.now(),
        phone_warned=0,
    )


def _refuses(runner: Runner, jid: str) -> bool:
    """Whether another phone than the expected one has been linked; it is unlinked as soon as WhatsApp lets us in."""
    phone = phone_of(jid)
    if runner.session.expects(phone):
        return False
    runner.wrong_number = True
    runner.session.record("expected", reason=Reason.WRONG_NUMBER.value, scanned_by=f"+{phone}")
    runner.after("connect", RECONNECT_TIMEOUT, lambda: runner.retry(Reason.WRONG_NUMBER))
    runner.apply(Event.PAIRED, Reason.WRONG_NUMBER, paired_at=timezone.now())
    return True


def _must_unlink(runner: Runner, jid: str) -> bool:
    """Whether this login is only there to unlink a wrong phone: also after a host died between the scan and the unlinking."""
    session = runner.session
    never_in = (
        session.last_connected_at is None or (session.paired_at or session.created_at) > session.last_connected_at
    )
    if not runner.wrong_number and never_in and jid:
        runner.wrong_number = not session.expects(phone_of(jid))
    return runner.wrong_number


def phone_of(jid: str) -> str:
    """The number in `number:device@server`."""
    return jid.split("@")[0].split(":")[0]


# --- the connection -----------------------------------------------------------


def _connected(runner: Runner, event: ev.Connected) -> None:
    for name in ("connect", "lost"):
        runner.cancel(name)
    runner.intake.write_through()
    if _must_unlink(runner, event.jid):
        log_out(runner)
        return
    known = {"jid": event.jid, "lid": event.lid, "push_name": event.push_name, "phone": phone_of(event.jid)}
    changes: dict[str, Any] = {name: value for name, value in known.items() if value}
    runner.apply(Event.CONNECTED, last_connected_at=timezone.now(), **changes)
    runner.liveness.connected()
    runner.services.whatsapp_answers()
    runner.reset_delays()
    runner.outbox.grew = True
    runner.after("settle", SETTLED_AFTER, lambda: _settle(runner))
    if runner.unlink_when_connected:
        log_out(runner)


def _settle(runner: Runner) -> None:
    """Later logins leave it to the backups to compare: hundreds of sessions come back at once."""
    if runner.just_linked:
        runner.intake.save_in_full()
        runner.just_linked = False


def hurry(runner: Runner) -> None:
    """WhatsApp lets somebody in: what waits because it could not be reached need not wait for long."""
    if runner.phase == "waiting" and runner.session.reason in _WHATSAPP_AWAY:
        runner.sooner("retry", random.uniform(0.0, HURRY_WITHIN))  # noqa: S311 - spreads load, keeps no secret


def log_out(runner: Runner) -> None:
    """Have the engine unlink the device; `LoggedOut` or `CommandFailed` follows."""
    assert runner.engine is not None
    runner.engine.send(ev.LogOut(session=runner.session.session_id))


def _disconnected(runner: Runner, event: ev.Disconnected) -> None:
    if runner.session.status == Status.CONNECTED and runner.phase == "running":
        lost_at = datetime.fromtimestamp(event.at, UTC)
        runner.after("lost", TELL_LOSS_AFTER, lambda: _tell_loss(runner, Reason.CONNECTION_CUT, lost_at=lost_at))


def _tell_loss(runner: Runner, reason: Reason, **changes: Any) -> None:
    runner.apply(Event.CONNECTION_LOST, reason, **changes)
    runner.after("connect", RECONNECT_TIMEOUT, lambda: runner.retry(Reason.CONNECT_TIMED_OUT))


def _connect_failed(runner: Runner, event: ev.ConnectFailed) -> None:
    if runner.session.status in (Status.CONNECTED, Status.CONNECTING):
        runner.cancel("lost")
        _tell_loss(runner, Reason.WHATSAPP_ERROR)


def _keep_alive_timed_out(runner: Runner, event: ev.KeepAliveTimedOut) -> None:
    # The library would notice by itself after three minutes.
    runner.retry(Reason.NOT_ANSWERING, delay=0.0)


def _logged_out(runner: Runner, event: ev.LoggedOut) -> None:
    asked = Reason.WRONG_NUMBER if runner.wrong_number else Reason.LOGGED_OUT_HERE
    unlinked(runner, asked if event.code == 0 else Reason.UNLINKED)


def unlinked(runner: Runner, reason: Reason) -> None:
    """WhatsApp no longer knows the device: clear its keys on purpose, keep the row and its history, or delete it if asked."""

    def conclude() -> None:
        runner.keeper.forget()
        runner.end_round(reason.value)
        runner.finish_commands(Command.LOGOUT)
        if runner.session.deleting:
            delete_row(runner)
        else:
            runner.apply(Event.LOGGED_OUT, reason, desired=WhatsAppSession.Desired.STOPPED, **_NO_PHONE)
            runner.finish()

    runner.close_socket(conclude)


def delete_row(runner: Runner) -> None:
    """Delete the session with all that hangs on it, and its directory."""
    runner.leave_engine()
    with transaction.atomic():
        if not WhatsAppSession.objects.filter(pk=runner.session.pk, lease_epoch=runner.lease.epoch).delete()[0]:
            raise LeaseLost
        OutboxEvent.write(runner.session, EventName.SESSION_DELETED, {"session_id": runner.session.session_id})
    runner.keeper.remove_directory()
    log.info("session_deleted", extra={"session": runner.session.session_id})
    runner.leave()
    broadcast.session_changed(runner.session.pk)


def _replaced(runner: Runner, event: ev.Replaced) -> None:
    runner.give_up(Event.REPLACED, Reason.STREAM_REPLACED)


def _banned(runner: Runner, event: ev.TemporarilyBanned) -> None:
    seconds = event.seconds or UNKNOWN_BAN
    retry_at = timezone.now() + timedelta(seconds=seconds)

    def conclude() -> None:
        runner.end_round(Reason.TEMPORARILY_BANNED.value)
        runner.apply(Event.BANNED, Reason.TEMPORARILY_BANNED, retry_at=retry_at)
        runner.wait(seconds)

    runner.close_socket(conclude)


def _outdated(runner: Runner, event: ev.ClientOutdated) -> None:
    runner.give_up(Event.FAILED, Reason.CLIENT_OUTDATED)


def _undecryptable(runner: Runner, event: ev.MessageUndecryptable) -> None:
    log.warning("message_unreadable", extra={"session": runner.session.session_id, "message_id": event.message_id})
    messages.record_unreadable(runner.session, event)


def _resend_failed(runner: Runner, event: ev.ResendFailed) -> None:
    # A copy for another device of our own account is nothing that the recipient lacks.
    own = {runner.session.phone, runner.session.lid.split("@")[0].split(":")[0]}
    if phone_of(event.receiver) not in own:
        runner.outbox.on_unreadable(event.message_id)


def _nothing(runner: Runner, event: object) -> None:
    """Known, and nothing to do."""


_REACTIONS: dict[type, Callable[[Runner, Any], None]] = {
    ev.StorePrepared: _store_prepared,
    ev.ClientStopped: _client_stopped,
    ev.LeaseRanOut: _lease_ran_out,
    ev.Unspooled: _unspooled,
    ev.MessageSent: _message_sent,
    ev.CommandFailed: _command_failed,
    ev.Answered: questions.answered,
    ev.PairingCodeIssued: _pairing_code_issued,
    ev.QrIssued: _qr_issued,
    ev.PairingRoundEnded: _round_ended,
    ev.Paired: _paired,
    ev.Connected: _connected,
    ev.Disconnected: _disconnected,
    ev.ConnectFailed: _connect_failed,
    ev.StreamErrored: _nothing,
    ev.KeepAliveTimedOut: _keep_alive_timed_out,
    ev.KeepAliveRestored: _nothing,
    ev.OfflineSyncCompleted: _nothing,
    ev.LoggedOut: _logged_out,
    ev.Replaced: _replaced,
    ev.TemporarilyBanned: _banned,
    ev.ClientOutdated: _outdated,
    ev.MessageUndecryptable: _undecryptable,
    ev.ResendFailed: _resend_failed,
}
