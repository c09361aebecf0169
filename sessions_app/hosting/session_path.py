"""Where live stores lie: one directory a session under the session path, which falls back visibly when it cannot be written."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from sessions_app.models import WhatsAppSession

log = logging.getLogger(__name__)

MOUNTED = Path("/app/data")
FALLBACK = Path("/tmp/sessions")  # noqa: S108 - the contract's name; made with mode 0700


@dataclass(frozen=True)
class SessionPath:
    """The root that is used, and whether it is not the one that was asked for."""

    root: Path
    fell_back: bool = False

    def place(self, session: WhatsAppSession) -> Path:
        """Where the session's own directory is, or would be: OWNER_SESSION, or SESSION where there is no owner."""
        return self.root / directory_name(session)

    def directory(self, session: WhatsAppSession) -> Path:
        """The session's own directory, made if need be."""
        path = self.place(session)
        make(path, session.session_id)
        return path


def make(path: Path, session_id: str) -> None:
    """Make a session's directory where there is none."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        log.info("Created new auth directory for instance %s", session_id, extra={"path": str(path)})


def directory_name(session: WhatsAppSession) -> str:
    """`OWNER_SESSION` with the owner made safe for a file name, or the session id alone."""
    owner = re.sub(r"[^A-Za-z0-9.-]+", "-", session.owner).strip(".-")
    return f"{owner}_{session.session_id}" if owner else session.session_id


def choose() -> SessionPath:
    """The session path of the settings if it can be written, else the fallback, said in the log."""
    wanted = _wanted()
    problem = _why_not_writable(wanted)
    if not problem:
        log.info("Session path is writable: %s", wanted)
        return SessionPath(wanted)
    log.warning("Session path %s cannot be written (%s): falling back to %s", wanted, problem, FALLBACK)
    if second := _why_not_writable(FALLBACK):
        raise OSError(f"Neither {wanted} nor {FALLBACK} can be written ({second}).")
    return SessionPath(FALLBACK, fell_back=True)


def _wanted() -> Path:
    if settings.WHATSAPP_SESSION_PATH:
        return Path(settings.WHATSAPP_SESSION_PATH).absolute()
    return MOUNTED / "sessions" if MOUNTED.is_dir() else settings.BASE_DIR / "var" / "sessions"


def _why_not_writable(path: Path) -> str:
    """Empty if a file can be made there; else the system's words."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as probe:
            probe.write(b"\0")
            os.fsync(probe.fileno())
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""
