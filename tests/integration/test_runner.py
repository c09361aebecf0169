"""What a runner does where things come together that rarely do: each case with its rows, its live store and its spool."""

from __future__ import annotations

import dataclasses
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import InternalError, OperationalError, connection

from sessions_app.engine import events as ev
from sessions_app.hosting import backoff, lease, reactions, rounds
from sessions_app.hosting import runner as runner_module
from sessions_app.hosting.runner import Runner
from sessions_app.lifecycle import Command, Status
from sessions_app.models import AuthBlob, Message, PairingRound, SessionCommand, SessionEvent, WhatsAppSession
from sessions_app.vault import store
from sessions_app.vault.live_store import LiveStore
from tests.integration import library
from tests.integration.runners import TestHost, ask, client_stopped, connect, hear, hear_quietly, outcome, run

pytest_plugins = ["tests.integration.live_stores"]
pytestmark = pytest.mark.django_db
RUNNING = WhatsAppSession.Desired.RUNNING


@pytest.fixture
def host(tmp_path: Path) -> TestHost:
    return TestHost(tmp_path / "stores")


@pytest.fixture
def session(linked_store: LiveStore) -> WhatsAppSession:
    """A linked session that should run; its vault is complete."""
    made = WhatsAppSession.objects.create(session_id="shop", name="Shop", status=Status.CONNECTED, desired=RUNNING)
    store.save_snapshot(made, 0, linked_store.snapshot())
    return made


def fresh(session: WhatsAppSession) -> WhatsAppSession:
    return WhatsAppSession.objects.get(pk=session.pk)


def why() -> str:
    """The reason for the last choice of a live store."""
    return str(SessionEvent.objects.filter(kind="vault").first().detail["why"])


# --- whether the vault is complete ------------------------------------------------


@pytest.fixture
def host_died(host: TestHost, session: WhatsAppSession) -> WhatsAppSession:
    """The session ran on another machine, which is gone with its disk: nobody knows what was sent last."""
    other = TestHost(host.session_path.root.with_name("lost"), "gone")
    connect(other.claim(session))
    lease.end_leases_of(other.host)
    return session


def test_a_run_that_was_ended_leaves_a_complete_vault(host, session):
    runner = host.claim(session)
    connect(runner)
    runner.hand_over()
    client_stopped(runner)
    assert fresh(session).lease_clean is True


def test_a_stop_after_a_host_died_does_not_make_the_vault_complete(host, host_died):
    WhatsAppSession.objects.update(desired="stopped")
    runner = host.claim(host_died)
    asked = ask(runner, Command.STOP)
    runner.work()
    assert (outcome(asked), fresh(host_died).status) == ("done", Status.STOPPED)

    WhatsAppSession.objects.update(desired=RUNNING)
    host.claim(host_died).work()

    assert "stale Signal sessions" in why()


def test_a_vault_that_could_not_be_read_is_not_complete_once_it_can(host, host_died):
    blob = AuthBlob.objects.filter(session=host_died).first()
    AuthBlob.objects.filter(pk=blob.pk).update(data_value=library.damaged(bytes(blob.data_value)))
    host.claim(host_died).work()
    assert fresh(host_died).status == Status.FAILED
    AuthBlob.objects.filter(pk=blob.pk).update(data_value=blob.data_value)

    WhatsAppSession.objects.update(desired=RUNNING)
    host.claim(host_died).work()

    assert "stale Signal sessions" in why()


def test_a_host_that_ends_while_a_session_waits_does_not_make_the_vault_complete(host, host_died, monkeypatch):
    monkeypatch.setattr("sessions_app.hosting.runner.StoreLock", _busy)
    runner = host.claim(host_died)
    runner.work()
    assert runner.phase == "waiting"
    monkeypatch.undo()
    runner.hand_over()

    WhatsAppSession.objects.update(retry_at=None)
    host.claim(host_died).work()

    assert "stale Signal sessions" in why()


def _busy(path: Path) -> None:
    from sessions_app.engine.store_lock import StoreBusy

    raise StoreBusy


# --- a database that goes away in the middle ----------------------------------------


#: No connection; and a server that takes no writes, as in a failover.
AWAY = [OperationalError("gone away"), InternalError("cannot execute UPDATE in a read-only transaction")]


@contextmanager
def no_database(after: int, error: Exception = AWAY[0]) -> Iterator[None]:
    """The database answers so many statements more."""
    left = [after]

    def execute(run: Callable[..., Any], sql: str, *arguments: Any) -> Any:
        if sql.split()[0] not in ("SAVEPOINT", "ROLLBACK", "RELEASE"):
            left[0] -= 1
        if left[0] < 0:
            raise error
        return run(sql, *arguments)

    with connection.execute_wrapper(execute):
        yield


def whenever_it_goes(runner: Runner, settled: Callable[[], bool], error: Exception) -> None:
    """Have the database go away before each statement in turn, until `settled`."""
    for statements in range(60):
        with no_database(statements, error):
            try:
                runner.work()
            except type(error):
                continue
        if settled():
            return
    raise AssertionError(f"never settled: {runner}")


@pytest.mark.parametrize("error", AWAY)
@pytest.mark.django_db(transaction=True)
def test_a_stop_is_concluded_whenever_the_database_goes_away(host, session, error):
    runner = host.claim(session)
    connect(runner)
    asked = ask(runner, Command.STOP)
    runner.work()
    runner.post(ev.ClientStopped(session="shop", epoch=runner.lease.epoch))

    whenever_it_goes(runner, lambda: runner.finished, error)

    assert (fresh(session).status, outcome(asked), fresh(session).lease_host) == (Status.STOPPED, "done", None)


@pytest.mark.parametrize("error", AWAY)
@pytest.mark.django_db(transaction=True)
def test_a_client_that_ends_by_accident_is_begun_again_whenever_the_database_goes_away(host, session, error):
    runner = host.claim(session)
    connect(runner)
    runner.post(ev.ClientStopped(session="shop", epoch=runner.lease.epoch))

    whenever_it_goes(runner, lambda: runner.phase == "waiting", error)

    # However often it was tried to note that, it is the first attempt that failed.
    assert (fresh(session).retry_at - fresh(session).status_at).total_seconds() <= backoff.FIRST_DELAY + 1


@pytest.mark.parametrize("error", AWAY)
@pytest.mark.django_db(transaction=True)
def test_an_engine_that_dies_is_replaced_whenever_the_database_goes_away(host, session, error):
    runner = host.claim(session)
    connect(runner)
    runner.post(lambda: reactions.engine_died(runner, host.engine))

    whenever_it_goes(runner, lambda: runner.phase == "waiting", error)


def test_a_phone_that_is_linked_while_its_round_is_being_ended_stays_linked(host, session, library_file):
    runner = _in_a_round(host, session, library_file)
    runner.give_up(reactions.Event.PAIRING_ENDED, reactions.Reason.PAIRING_TIMED_OUT)
    library.insert(runner.keeper.path, {"whatsmeow_device": [library.device()], **library.rows()})
    hear(runner, ev.Paired(session="shop", epoch=runner.lease.epoch, at=1.0, jid="4915112345678:7@s.whatsapp.net"))
    client_stopped(runner)

    runner.work()

    assert (runner.phase, fresh(session).status, fresh(session).has_creds) == ("preparing", Status.CONNECTING, True)


def _in_a_round(host: TestHost, session: WhatsAppSession, prepared: Path) -> Runner:
    AuthBlob.objects.all().delete()
    WhatsAppSession.objects.update(creds=None, status=Status.NEW)
    runner = host.claim(session)
    runner.work()
    shutil.copy(prepared, runner.keeper.path)
    run(runner)
    return runner


# --- commands at awkward moments --------------------------------------------------


def test_a_start_that_comes_while_a_stop_is_being_done_is_done_after_it(host, session):
    runner = host.claim(session)
    connect(runner)
    hear(runner, ev.Disconnected)
    runner.apply(reactions.Event.CONNECTION_LOST, reactions.Reason.CONNECTION_CUT)
    ask(runner, Command.STOP)
    runner.work()
    start = ask(runner, Command.START)
    runner.work()
    client_stopped(runner)
    assert (runner.finished, outcome(start)) == (True, "")

    following = host.claim(session)
    following.work()
    following.post(start)
    following.work()

    assert (following.phase, fresh(session).desired) == ("preparing", RUNNING)


# --- an unlinking beside other things ------------------------------------------------


def delete_device(runner: Runner) -> None:
    """What the library does when WhatsApp no longer knows the device."""
    with closing(sqlite3.connect(runner.keeper.path)) as file:
        file.execute("PRAGMA foreign_keys = ON")
        file.execute("DELETE FROM whatsmeow_device")
        file.commit()
    runner.notice_journal()


def logged_out(runner: Runner) -> ev.LoggedOut:
    return ev.LoggedOut(session="shop", epoch=runner.lease.epoch, at=2.0, code=401)


def received(runner: Runner) -> ev.MessageReceived:
    who = "4915100000001@s.whatsapp.net"
    return ev.MessageReceived(
        session="shop", epoch=runner.lease.epoch, at=1.0, message_id="A1", chat=who, sender=who, text="hello"
    )


def test_a_message_that_came_right_before_the_unlinking_is_kept_and_the_unlinking_is_heard(host, session):
    runner = host.claim(session)
    connect(runner)
    delete_device(runner)

    hear(runner, received(runner), logged_out(runner))
    client_stopped(runner)

    assert Message.objects.get().text == "hello"
    assert fresh(session).status == Status.LOGGED_OUT


def test_an_unlinking_is_heard_beside_a_message_that_was_just_sent(host, session):
    runner = host.claim(session)
    connect(runner)
    sent = session.send_text("4915100000001", "hello", by="tester")
    runner.notice_outbox()
    runner.work()
    delete_device(runner)
    runner.post(ev.MessageSent(session="shop", ref=str(sent.code), message_id="B1", timestamp=1))

    hear(runner, logged_out(runner))
    client_stopped(runner)

    sent.refresh_from_db()
    assert (sent.status, fresh(session).status) == ("sent", Status.LOGGED_OUT)


def test_a_backup_beside_an_unlinking_is_answered(host, session):
    runner = host.claim(session)
    connect(runner)
    delete_device(runner)
    asked = ask(runner, Command.BACKUP)

    hear(runner, logged_out(runner))
    client_stopped(runner)

    assert (outcome(asked), fresh(session).status) == ("failed", Status.LOGGED_OUT)


# --- two hosts ---------------------------------------------------------------------------


@pytest.fixture
def late(host: TestHost, session: WhatsAppSession) -> Runner:
    """The runner of a host that stood still until another had taken the session, connected, and begun to send."""
    runner = host.claim(session)
    connect(runner)
    lease.end_leases_of(host.host)
    other = TestHost(host.session_path.root.with_name("other"), "other")
    connect(other.claim(session))
    fresh(session).send_text("4915100000001", "on its way", by="tester")
    other.runner.notice_outbox()
    other.runner.work()
    assert Message.objects.get().status == "sending"
    return runner


def test_a_host_that_comes_late_does_not_end_what_another_is_sending(late, host):
    late.post(lambda: reactions.engine_died(late, host.engine))
    late.work()
    assert Message.objects.get().status == "sending"
    assert late.finished


def test_a_host_that_comes_late_sends_nothing_any_more(late, host, session):
    Message.objects.update(status="queued")
    host.engine.heard.clear()
    late.notice_outbox()
    late.work()
    assert Message.objects.get().status == "queued"
    assert not [command for command in host.engine.heard if isinstance(command, ev.SendMessage)]


def test_a_host_that_lost_track_and_comes_late_does_not_send_again_what_another_is_sending(late, host):
    late.notice_outbox()
    with no_database(0), pytest.raises(OperationalError):
        late.outbox.send_queued()
    late.work()
    assert not [command for command in host.engine.heard if isinstance(command, ev.SendMessage)]


def test_a_command_that_was_overtaken_changes_nothing(late, session):
    WhatsAppSession.objects.update(desired="stopped")
    start = SessionCommand.objects.create(session=session, verb="start", requested_by="tester")
    late.post(start)
    late.work()
    assert fresh(session).desired == "stopped"
    assert outcome(start) == ""


# --- commands that cannot be done ----------------------------------------------------


@pytest.fixture
def unreadable(session: WhatsAppSession) -> WhatsAppSession:
    blob = AuthBlob.objects.filter(session=session).first()
    AuthBlob.objects.filter(pk=blob.pk).update(data_value=library.damaged(bytes(blob.data_value)))
    WhatsAppSession.objects.update(status=Status.FAILED, desired="stopped")
    return session


@pytest.mark.parametrize("verb", [Command.START, Command.DELETE])
def test_what_is_asked_of_an_unreadable_vault_is_answered_once(host, unreadable, verb):
    WhatsAppSession.objects.update(status=Status.STOPPED)
    runner = host.claim(unreadable)
    runner.work()
    assert runner.phase == "idle"
    asked = ask(runner, verb)

    runner.work()

    assert runner.finished
    assert outcome(asked)
    assert not WhatsAppSession.objects.claimable().exists()
    assert fresh(unreadable).allows(Command.DELETE)


def test_a_deletion_goes_on_where_a_host_that_is_stopped_has_left_it(host, session):
    runner = host.claim(session)
    connect(runner)
    asked = ask(runner, Command.DELETE)
    runner.work()
    runner.post(runner.hand_over)
    runner.work()
    client_stopped(runner)
    assert (runner.finished, outcome(asked)) == (True, "")

    following = host.claim(session)
    following.work()
    following.post(asked)
    connect(following)

    assert ev.LogOut(session="shop") in host.engine.heard


def test_a_logout_that_is_refused_leaves_the_session_running(host, session):
    runner = host.claim(session)
    connect(runner)
    asked = ask(runner, Command.LOGOUT)
    runner.apply(reactions.Event.CONNECTION_LOST, reactions.Reason.CONNECTION_CUT)
    runner.work()
    assert (outcome(asked), fresh(session).desired) == ("failed", "running")


@pytest.mark.parametrize("how", ["refused", "the client ended"])
def test_a_logout_that_whatsapp_did_not_hear_is_answered_and_leaves_the_session_running(host, session, how):
    runner = host.claim(session)
    connect(runner)
    asked = ask(runner, Command.LOGOUT)
    runner.work()
    assert outcome(asked) == ""

    if how == "refused":
        runner.post(ev.CommandFailed(session="shop", command="LogOut", error="No."))
        runner.work()
    else:
        client_stopped(runner)

    assert (outcome(asked), fresh(session).desired) == ("failed", "running")


def test_a_stop_after_a_logout_that_whatsapp_did_not_hear_is_a_stop(host, session):
    runner = host.claim(session)
    connect(runner)
    ask(runner, Command.LOGOUT)
    runner.work()
    ask(runner, Command.STOP)
    runner.work()
    client_stopped(runner)
    assert (runner.finished, fresh(session).desired) == (True, "stopped")


def test_a_host_that_is_stopped_waits_for_no_next_attempt(host, session):
    runner = host.claim(session)
    connect(runner)
    runner.retry(reactions.Reason.NOT_ANSWERING)
    runner.post(runner.hand_over)
    client_stopped(runner)
    assert runner.finished


# --- another account ------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "left"), [("4915112345678", "queued"), ("4915100000009", "failed")])
def test_what_waited_goes_out_from_the_account_that_it_was_written_for_alone(host, session, library_file, before, left):
    WhatsAppSession.objects.update(phone=before)
    waiting = session.send_text("4915100000001", "hello", by="tester")
    runner = _in_a_round(host, session, library_file)
    library.insert(runner.keeper.path, {"whatsmeow_device": [library.device()], **library.rows()})
    hear(runner, ev.Paired(session="shop", epoch=runner.lease.epoch, at=1.0, jid="4915112345678:7@s.whatsapp.net"))
    waiting.refresh_from_db()
    assert (waiting.status, waiting.reason) == (left, "account-changed" if left == "failed" else "")


def test_a_code_that_is_read_twice_counts_once(session):
    current = rounds.begin(session, epoch=1)
    for issued_at in (100.0, 100.0, 160.0):
        rounds.show_code(current, "2@x", issued_at)
    assert PairingRound.objects.get().index == 2


# --- nothing comes ------------------------------------------------------------------------


def test_a_round_that_never_shows_a_code_is_begun_again(host, session, library_file, monkeypatch):
    runner = _in_a_round(host, session, library_file)
    _later(monkeypatch, runner_module.CONNECT_TIMEOUT + 1)
    runner.work()
    client_stopped(runner)
    assert (runner.phase, fresh(session).reason) == ("waiting", "connect-timed-out")


@pytest.mark.parametrize("codes", [1, 6])
def test_a_round_that_falls_silent_is_ended(host, session, library_file, monkeypatch, codes):
    runner = _in_a_round(host, session, library_file)
    for _ in range(codes):
        hear(runner, ev.QrIssued, code="2@x", at=time.time())
    _later(monkeypatch, 200)
    runner.work()
    client_stopped(runner)
    assert (runner.finished, fresh(session).reason) == (True, "pairing-timed-out")


def test_a_client_that_cannot_even_be_made_is_tried_again_at_once(host, session):
    runner = host.claim(session)
    run(runner)
    runner.post(ev.CommandFailed(session="shop", command="StartClient", error="No space left on device"))
    runner.work()
    runner.post(
        ev.CommandFailed(session="shop", command="StopClient", error="The session does not run in this engine.")
    )
    runner.work()
    assert (runner.phase, fresh(session).status) == ("waiting", Status.WAITING)


def _later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.monotonic()
    monkeypatch.setattr("sessions_app.hosting.deadlines.time.monotonic", lambda: now + seconds)


# --- the disk -----------------------------------------------------------------------------


def test_a_directory_that_was_cleared_away_between_two_runs_is_made_again(host, session):
    """It is a cache, and may lie under /tmp."""
    runner = host.claim(session)
    connect(runner)
    hear(runner, *[received(runner)] * 3)
    runner.retry(reactions.Reason.NOT_ANSWERING)
    client_stopped(runner)
    shutil.rmtree(runner.directory)

    runner.begin()
    run(runner)
    hear(runner, dataclasses.replace(received(runner), message_id="A2"))

    assert Message.objects.filter(message_id="A2").exists()


def test_an_event_that_cannot_be_stored_does_not_keep_the_next_ones_away(host, session):
    runner = host.claim(session)
    connect(runner)
    bad = dataclasses.replace(received(runner), message_id="A0", timestamp=10**18)
    hear(runner, bad, received(runner))
    assert Message.objects.get().message_id == "A1"


def test_a_directory_that_cannot_be_made_is_one_sessions_trouble_and_not_the_hosts(host, session):
    host.session_path.root.write_text("the disk took no directory here")
    runner = host.claim(session)
    runner.work()
    assert (runner.phase, fresh(session).reason) == ("waiting", "live-store-broken")


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """The disk takes nothing any more, or takes it again."""

    def full(yes: bool) -> None:
        def refuse(*arguments: Any, **more: Any) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.undo()
        if yes:
            monkeypatch.setattr(LiveStore, "_writing", refuse)

    return full


def test_a_store_that_cannot_be_watched_is_tried_again(host, session, full_disk):
    runner = host.claim(session)
    runner.work()
    full_disk(True)
    runner.post(ev.StorePrepared(session="shop"))
    runner.work()
    _no_client_yet(runner)
    assert (runner.phase, fresh(session).reason) == ("waiting", "live-store-broken")


def test_a_client_that_ends_while_the_disk_is_full_is_begun_again(host, session, full_disk):
    runner = host.claim(session)
    connect(runner)
    _change(runner)
    full_disk(True)
    hear(runner, received(runner))
    client_stopped(runner, cause="disk")
    assert (runner.phase, fresh(session).status) == ("waiting", Status.WAITING)
    assert runner.keeper.vault_is_complete is False
    assert Message.objects.get().text == "hello"

    full_disk(False)
    runner.begin()
    connect(runner)
    assert fresh(session).status == Status.CONNECTED


def test_a_disk_that_is_full_as_a_session_connects_leaves_nothing_undecided(host, session, full_disk):
    runner = host.claim(session)
    run(runner)
    _change(runner)
    full_disk(True)
    hear(runner, ev.Connected)
    client_stopped(runner)
    assert (runner.phase, fresh(session).reason) == ("waiting", "live-store-broken")


def test_a_backup_on_a_full_disk_is_answered(host, session, full_disk):
    runner = host.claim(session)
    connect(runner)
    _change(runner)
    full_disk(True)
    asked = ask(runner, Command.BACKUP)
    runner.work()
    assert outcome(asked) == "failed"


def test_a_proxy_that_no_key_opens_is_said_and_nothing_goes_out_without_it(host, session):
    WhatsAppSession.objects.update(proxy_url=b"\x01" + b"x" * 60)
    runner = host.claim(session)
    runner.work()
    runner.post(ev.StorePrepared(session="shop"))
    runner.work()
    _no_client_yet(runner)
    assert (runner.finished, fresh(session).reason) == (True, "vault-unreadable")
    assert not [command for command in host.engine.heard if isinstance(command, ev.StartClient)]


def _no_client_yet(runner: Runner) -> None:
    runner.post(
        ev.CommandFailed(session="shop", command="StopClient", error="The session does not run in this engine.")
    )
    runner.work()


def _change(runner: Runner) -> None:
    with closing(sqlite3.connect(runner.keeper.path)) as file:
        file.execute("UPDATE whatsmeow_sessions SET session = ?", (b"moved on",))
        file.commit()


@pytest.mark.parametrize("error", AWAY)
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("event", "status"),
    [
        (ev.TemporarilyBanned(session="shop", epoch=1, at=1.0, code=101, seconds=900.0), Status.BANNED),
        (ev.Replaced(session="shop", epoch=1, at=1.0), Status.REPLACED),
        (ev.LoggedOut(session="shop", epoch=1, at=1.0, code=401), Status.LOGGED_OUT),
        (ev.KeepAliveTimedOut(session="shop", epoch=1, at=1.0, error_count=1, last_success=0.0), Status.WAITING),
    ],
)
def test_what_whatsapp_says_is_concluded_whenever_the_database_goes_away(host, session, event, status, error):
    runner = host.claim(session)
    connect(runner)
    hear_quietly(runner, event)
    whenever_it_goes(runner, lambda: runner.phase == "closing", error)
    runner.post(ev.ClientStopped(session="shop", epoch=runner.lease.epoch))

    whenever_it_goes(runner, lambda: runner.phase not in ("running", "closing", "claimed"), error)

    # `idle` ends by itself, `preparing` is the next attempt.
    assert fresh(session).status in (status, Status.CONNECTING)
    assert runner.phase in (
        ("waiting", "preparing") if status in (Status.BANNED, Status.WAITING) else ("finished", "idle")
    )


@pytest.mark.parametrize("error", AWAY)
@pytest.mark.django_db(transaction=True)
def test_a_session_that_crashes_engines_is_ended_whenever_the_database_goes_away(host, session, error, monkeypatch):
    runner = host.claim(session)
    connect(runner)
    monkeypatch.setattr(host.engine, "crashed", True, raising=False)
    monkeypatch.setattr(host.engine, "share", 1, raising=False)
    runner.post(lambda: reactions.engine_died(runner, host.engine))

    whenever_it_goes(runner, lambda: runner.finished, error)

    assert fresh(session).reason == "crashes-engines"


@pytest.mark.parametrize("error", AWAY)
@pytest.mark.django_db(transaction=True)
def test_an_unheard_logout_is_answered_whenever_the_database_goes_away(host, session, error):
    runner = host.claim(session)
    connect(runner)
    asked = ask(runner, Command.LOGOUT)
    runner.work()
    runner.post(ev.ClientStopped(session="shop", epoch=runner.lease.epoch))

    whenever_it_goes(runner, lambda: runner.phase == "waiting", error)

    assert (outcome(asked), fresh(session).desired) == ("failed", "running")


def test_a_message_that_nobody_could_repeat_has_failed_even_where_that_is_known_before_it_is_called_sent(host, session):
    runner = host.claim(session)
    connect(runner)
    sent = fresh(session).send_text("5511987650002", "hello", by="tester")
    runner.notice_outbox()
    runner.work()
    hear(runner, ev.ResendFailed, message_id="B1", receiver="200000000007920@lid")
    runner.post(ev.MessageSent(session="shop", ref=str(sent.code), message_id="B1", timestamp=1))
    runner.work()
    sent.refresh_from_db()
    assert (sent.status, sent.reason) == ("failed", "unreadable")
