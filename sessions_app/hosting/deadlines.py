"""Named deadlines of one session: what is to be done when, on the monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadlines:
    """At most one of each name. Not for two threads at once."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[float, Callable[[], None]]] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._waiting

    def set(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Have `action` called in `seconds`, in place of an earlier one of that name."""
        self._waiting[name] = (time.monotonic() + seconds, action)

    def sooner(self, name: str, seconds: float) -> None:
        """Bring one forward that would come later than in `seconds`."""
        if name in self._waiting:
            when, action = self._waiting[name]
            self._waiting[name] = (min(when, time.monotonic() + seconds), action)

    def cancel(self, name: str) -> None:
        self._waiting.pop(name, None)

    def clear(self) -> None:
        self._waiting.clear()

    def run_due(self) -> None:
        """Call what is due, the oldest first. One that raises stays, and is called again the next time."""
        now = time.monotonic()
        for name, deadline in sorted(self._waiting.items(), key=lambda item: item[1][0]):
            if deadline[0] <= now and self._waiting.get(name) == deadline:
                self.run(name)

    def run(self, name: str) -> None:
        """Call this one now."""
        deadline = self._waiting[name]
        deadline[1]()
        # It may have set itself anew.
        if self._waiting.get(name) == deadline:
            del self._waiting[name]
