"""What can be asked of WhatsApp through a session that is connected: numbers, groups, and files of messages that came in."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

from sessions_app.engine import events
from sessions_app.engine.library import Library, LibraryError

Answer = dict[str, Any]
#: How the library says that WhatsApp has a file no more (whatsmeow, `download.go`).
_GONE = re.compile(r"status code (403|404|410)")


def answer(library: Library, uuid: str, command: events.Ask | events.FetchFile) -> Answer:
    """Ask and wait; raises `LibraryError`."""
    if isinstance(command, events.FetchFile):
        return _file(library, uuid, command)
    asked = _QUESTIONS.get(command.question)
    if asked is None:
        raise LibraryError(f"there is no question {command.question}")
    return asked(library, uuid, command.arguments)


def _number(library: Library, uuid: str, arguments: dict[str, Any]) -> Answer:
    """Whether there is an account with this number, and its address."""
    phone = str(arguments["phone"])
    found, user, server = library.on_whatsapp(uuid, phone)
    # It names the account by its LID; by number is how chats are kept, and how people know each other.
    known = f"{user}@{server}" if server == "s.whatsapp.net" and user else f"{phone}@s.whatsapp.net"
    return {"exists": found, "jid": known if found else ""}


def _groups(library: Library, uuid: str, arguments: dict[str, Any]) -> Answer:
    """The groups that the account is in."""
    # PostgreSQL stores no NUL.
    found = [
        {"jid": jid, "name": name.replace("\0", ""), "participants": count} for jid, name, count in library.groups(uuid)
    ]
    return {"groups": sorted(found, key=lambda group: (group["name"].casefold(), group["jid"]))}


def _file(library: Library, uuid: str, command: events.FetchFile) -> Answer:
    try:
        data = library.download(uuid, command.file)
    except LibraryError as error:
        if _GONE.search(str(error)):
            return {"found": False}
        raise
    with os.fdopen(os.open(command.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as written:
        written.write(data)
    return {"found": True}


_QUESTIONS: dict[str, Callable[[Library, str, dict[str, Any]], Answer]] = {"number": _number, "groups": _groups}
