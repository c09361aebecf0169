"""One live store, one user: a lock on a file beside it, held for as long as anybody works on the store.

Leases say which host may run a session; this says it again to the processes of one machine, where two of them on one live
store would corrupt Signal sessions in silence. The lock is the kernel's (`flock`): it ends with its process, however that ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class StoreBusy(OSError):
    """Somebody on this machine works on this live store; the text is a sentence."""

    def __init__(self) -> None:
        super().__init__("Another process of this machine still works on this session's live store.")


class StoreLock:
    """Held from its making to `release()`, or as a context. Raises `StoreBusy` at once where somebody else holds it."""

    def __init__(self, store: str | Path) -> None:
        path = Path(store)
        # Not `store.db.lock`: what clears a live store away must leave the lock.
        self._file = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise StoreBusy from None

    def release(self) -> None:
        """Let go; a second time does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
