"""The record of every stanza and every connection, for tests and for people: thread-safe, bounded, and awaitable."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from simulator.nodes import Node, decode

#: Older stanzas are forgotten; a pairing and its first messages take about 40.
KEPT = 50_000


@dataclass(frozen=True)
class Entry:
    """One stanza. `direction` is "in" for what a client sent; `device` is its address, empty before it has one.

    It is kept as it was on the wire: the 812 prekeys of a new device are 36 kB so, and a megabyte as nodes.
    """

    connection: int
    device: str
    direction: Literal["in", "out"]
    wire: bytes = field(repr=False)
    at: float = field(default_factory=time.time)

    @property
    def node(self) -> Node:
        return decode(self.wire)


@dataclass(frozen=True)
class Span:
    """A connection that held a device: from `opened` to `closed` (both `time.monotonic`, None: still open)."""

    connection: int
    device: str
    opened: float
    closed: float | None = None


class Transcript:
    """Every stanza in both directions, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._count = 0
        self._grown = threading.Condition()

    def add(self, entry: Entry) -> None:
        with self._grown:
            self._entries.append(entry)
            self._count += 1
            self._grown.notify_all()

    def __iter__(self) -> Iterator[Entry]:
        with self._grown:
            return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        with self._grown:
            self._entries.clear()

    def wait_for(self, predicate: Callable[[Entry], bool], timeout: float = 10) -> Entry:
        """The first entry, past or to come, that `predicate` accepts; TimeoutError after `timeout` seconds."""
        with self._grown:
            # What was looked at is not looked at again: a predicate may decode, and benchmarks send tens of thousands.
            found, looked = None, self._count - len(self._entries)

            def look() -> bool:
                nonlocal found, looked
                fresh = min(self._count - looked, len(self._entries))
                looked = self._count
                found = next(filter(predicate, islice(self._entries, len(self._entries) - fresh, None)), None)
                return found is not None

            if not self._grown.wait_for(look, timeout) or found is None:
                raise TimeoutError(f"no such stanza in {timeout} s")
            return found


class Connections:
    """Which connection holds which device, now and before."""

    def __init__(self) -> None:
        self._live: dict[str, Span] = {}
        self._past: list[Span] = []
        self._changed = threading.Condition()

    def opened(self, connection: int, device: str) -> None:
        with self._changed:
            if device in self._live:
                self._past.append(self._live[device])
            self._live[device] = Span(connection, device, time.monotonic())
            self._changed.notify_all()

    def closed(self, connection: int, device: str) -> None:
        """The socket is gone. One that was replaced before it closed is found in the past, and gets its end there."""
        with self._changed:
            live = self._live.get(device)
            if live and live.connection == connection:
                self._past.append(self._ended(self._live.pop(device)))
            else:
                self._past = [
                    self._ended(s) if (s.connection, s.closed) == (connection, None) else s for s in self._past
                ]
            self._changed.notify_all()

    @property
    def live(self) -> dict[str, int]:
        """Device address → number of the connection that holds it."""
        with self._changed:
            return {device: span.connection for device, span in self._live.items()}

    @property
    def history(self) -> list[Span]:
        """Every connection that ever held a device, in the order in which they began."""
        with self._changed:
            return sorted([*self._past, *self._live.values()], key=lambda span: span.opened)

    def overlaps(self, device: str) -> list[tuple[Span, Span]]:
        """The pairs of connections that held the device at the same moment."""
        spans = [span for span in self.history if span.device == device]
        return [(a, b) for i, a in enumerate(spans) for b in spans[i + 1 :] if a.closed is None or b.opened < a.closed]

    def wait_for(self, predicate: Callable[[dict[str, int]], bool], timeout: float = 10) -> dict[str, int]:
        """The live connections once `predicate` accepts them; TimeoutError after `timeout` seconds."""
        with self._changed:
            live: Callable[[], dict[str, int]] = lambda: {d: s.connection for d, s in self._live.items()}  # noqa: E731
            if not self._changed.wait_for(lambda: predicate(live()), timeout):
                raise TimeoutError(f"the connections did not become so in {timeout} s")
            return live()

    @staticmethod
    def _ended(span: Span) -> Span:
        return Span(span.connection, span.device, span.opened, time.monotonic())
