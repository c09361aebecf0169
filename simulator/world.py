"""The simulated WhatsApp as a whole: what it remembers, who is connected, and how a stanza gets to a device. No I/O of its own."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from simulator.devices import announce
from simulator.faults import Faults
from simulator.media import MediaServer
from simulator.nodes import SERVER, Jid, Node
from simulator.noise import ServerKeys
from simulator.state import Account, State
from simulator.transcript import Connections, Transcript

if TYPE_CHECKING:
    from simulator.pairing import Pairing
    from simulator.phone import Phone
    from simulator.stream import Stream

#: After its last stanza the server leaves a client this many seconds to close by itself: a close that overtakes a stream error in the
#: client's queues would hide it.
PARTING = 0.5


@dataclass(frozen=True)
class Party:
    """A device of an account as the sender or receiver of stanzas."""

    account: Account
    device: int

    @property
    def jid(self) -> Jid:
        """Its address by number, which is how this program names devices."""
        return self.account.jid(self.device)

    def like(self, other: Jid) -> Jid:
        """Its address by LID or by number, as `other` is."""
        return self.account.address(other, self.device)


class Endpoint(Protocol):
    """Where a device takes its stanzas: a connection, or a phone."""

    def deliver(self, stanza: Node) -> None: ...


class Scheduler(Protocol):
    """Runs a function later, in the thread of the world; asyncio's `loop.call_later` is one."""

    def __call__(self, delay: float, callback: Callable[..., object], *args: Any) -> object: ...


class World:
    """Everything that is one per simulator. All of it belongs to one thread."""

    def __init__(self, state: State, keys: ServerKeys, later: Scheduler, media: MediaServer | None = None) -> None:
        self.state = state
        self.keys = keys
        self._media = media
        self.later = later
        self.faults = Faults(self)
        self.transcript = Transcript()
        self.connections = Connections()
        self.streams: set[Stream] = set()
        self.phones: dict[str, Phone] = {}
        #: QR refs and code refs that are alive → the pairing that they belong to.
        self.pairings: dict[str, Pairing] = {}
        self._online: dict[Jid, Endpoint] = {}
        self._ids = itertools.count(1)
        self._prefix = f"{int(time.time())}.{id(self) % 65521}"

    @property
    def media(self) -> MediaServer:
        assert self._media, "this world was made without a media server"
        return self._media

    def new_id(self) -> str:
        """A stanza id that was not used before, in this run or another."""
        return f"{self._prefix}-{next(self._ids)}"

    # -- parties ---------------------------------------------------------------------------------------------------------

    def party(self, jid: Jid | None) -> Party | None:
        """The device at an address, if there is such a device."""
        account = self.state.account_of(jid)
        if account is None or jid is None or not self.state.device(account.number, jid.device):
            return None
        return Party(account, jid.device)

    def parties(self, account: Account) -> list[Party]:
        """All devices of an account, the phone first."""
        return [Party(account, device.device) for device in self.state.devices(account.number)]

    # -- who is there ----------------------------------------------------------------------------------------------------

    def attach(self, party: Party, endpoint: Endpoint) -> None:
        """From now on the device takes stanzas as they come; what waited for it goes out first."""
        waiting = self.state.waiting(party.account.number, party.device)
        for stanza in offline_batch(waiting):
            endpoint.deliver(stanza)
        self._online[party.jid] = endpoint

    def detach(self, party: Party, endpoint: Endpoint) -> None:
        """No-op where another endpoint has taken the device over."""
        if self._online.get(party.jid) is endpoint:
            del self._online[party.jid]

    def is_attached(self, party: Party, endpoint: Endpoint) -> bool:
        return self._online.get(party.jid) is endpoint

    def stream_of(self, jid: Jid) -> Stream | None:
        """The logged-in connection of a device."""
        return next(
            (stream for stream in self.streams if stream.party and stream.party.jid == jid and not stream.ended), None
        )

    def companion_arrived(self, party: Party) -> None:
        """A companion takes stanzas now: its phone may have something for it."""
        if phone := self.phones.get(party.account.number):
            self.later(0, phone.welcome, party)

    def unlink(self, party: Party, *, by_itself: bool = False) -> None:
        """Remove a companion from its account; a companion that did not ask for it is told as WhatsApp tells it."""
        self.state.remove_device(party.account.number, party.device)
        if stream := self.stream_of(party.jid):
            if by_itself:
                stream.end()
            else:
                stream.stream_error(401, "device_removed")
        announce(self, party.account, "remove", party.device)

    # -- stanzas ---------------------------------------------------------------------------------------------------------

    def post(self, receiver: Party, stanza: Node) -> None:
        """Deliver a stanza, now or when the device comes; kept until the device acknowledges it."""
        self.state.enqueue(receiver.account.number, receiver.device, stanza)
        for _ in range(self.faults.copies):
            self.tell(receiver, stanza)

    def tell(self, receiver: Party, stanza: Node) -> None:
        """Deliver a stanza to a device that is there; forget it otherwise."""
        if endpoint := self._online.get(receiver.jid):
            endpoint.deliver(stanza)


def offline_batch(waiting: list[Node]) -> Iterator[Node]:
    """What waited, each stanza marked as late, with the announcement before it and the end mark behind it."""
    counts = {tag: str(sum(stanza.tag == tag for stanza in waiting)) for tag in ("message", "notification", "receipt")}
    total = str(len(waiting))
    yield Node("ib", {"from": SERVER}, [Node("offline_preview", {"count": total, "appdata": "0", **counts})])
    for stanza in waiting:
        yield stanza.with_attrs(offline="1")
    yield Node("ib", {"from": SERVER}, [Node("offline", {"count": total})])
