"""Questions to WhatsApp in a host: handed to the engine that runs the session, and its answers written down for who waits.

No runner remembers a question: its number travels with it, and an answer that nobody waits for any more is dropped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models.functions import Now

from sessions_app.engine import events as ev
from sessions_app.hosting.keeper import FILES_NAME
from sessions_app.lifecycle import Status
from sessions_app.models import Question, ReceivedFile
from sessions_app.vault.crypto import Unreadable

if TYPE_CHECKING:
    from sessions_app.hosting.runner import Runner


def take(sessions: Collection[int]) -> Iterator[Question]:
    """The questions to these sessions that nobody has taken; each is ours from then on."""
    for question in Question.objects.filter(taken_at=None, session__in=sessions).order_by("pk"):
        if Question.objects.filter(pk=question.pk, taken_at=None).update(taken_at=Now()):
            yield question


def ask(runner: Runner, question: Question) -> None:
    """Hand a question to the engine."""
    if runner.engine is None or runner.phase != "running" or runner.session.status != Status.CONNECTED:
        Question.fail(question.pk)
        return
    session, ref = runner.session.session_id, str(question.pk)
    if question.kind != Question.Kind.FILE:
        runner.engine.send(ev.Ask(session=session, ref=ref, question=question.kind, arguments=question.arguments))
        return
    try:
        kept = ReceivedFile.objects.select_related("message__session").get(
            message__session=runner.session, message__code=question.arguments["message"]
        )
        location = kept.location
        path = _path(runner, ref)
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except (ReceivedFile.DoesNotExist, Unreadable, OSError):
        Question.fail(question.pk)
        return
    runner.engine.send(ev.FetchFile(session=session, ref=ref, path=str(path), file=location))


def answered(runner: Runner, event: ev.Answered) -> None:
    path = _path(runner, event.ref)
    try:
        data = path.read_bytes() if event.answer.get("found") and _fits(path) else None
    except OSError:
        Question.fail(int(event.ref))
        return
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
    Question.settle(int(event.ref), data=data, session_id=runner.session.session_id, **event.answer)


def failed(runner: Runner, event: ev.CommandFailed) -> None:
    with contextlib.suppress(OSError):
        _path(runner, event.ref).unlink()
    Question.fail(int(event.ref))


def _fits(path: Path) -> bool:
    """What a message says of its file's size is the sender's word."""
    return path.stat().st_size <= settings.OXY_FILE_LIMIT


def _path(runner: Runner, ref: str) -> Path:
    return runner.directory / FILES_NAME / ref
