"""One message at a time is encrypted for a session, whether it goes out for the first time or because a peer asked for it again.

The library answers each peer who could not read a message on a thread of its own, and takes no lock. Of two messages that use one
Signal session at once the live store refuses one (vault/ratchet.py). A first sending is done again then; a repeated one is not, and
its message would stay unread. So whoever begins waits for whoever has begun.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Hashable, Iterator

#: Whoever takes longer has ended without a word, or waits for WhatsApp's acknowledgement with its encryption long behind it.
PATIENCE = 5.0


class Turns:
    """The turns of one session. From any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holder: Hashable = None
        self._since = 0.0

    def begin(self, who: Hashable) -> None:
        """Wait for one's turn, and take it."""
        with self._changed:
            while self._holder is not None and (left := self._since + PATIENCE - time.monotonic()) > 0:
                self._changed.wait(left)
            self._holder, self._since = who, time.monotonic()

    def end(self, who: Hashable) -> None:
        """Let the next one begin; nothing where the turn has passed on already."""
        with self._changed:
            if self._holder == who:
                self._holder = None
                self._changed.notify()

    @contextlib.contextmanager
    def turn(self, who: Hashable) -> Iterator[None]:
        self.begin(who)
        try:
            yield
        finally:
            self.end(who)
