"""Named misbehaviours of the server. A fault says what the server does, never what a client should make of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.errors import SimulatorError
from simulator.nodes import Jid

if TYPE_CHECKING:
    from simulator.server import ClientServer
    from simulator.stream import Stream
    from simulator.world import World

REFS, DEVICE_LIMIT = 6, 4
#: The code of a ban for sending too much to people who do not know the sender.
BAN_CODE = "101"


@dataclass(frozen=True)
class Fault:
    """What people are told about a fault: a sentence, and its parameters with their defaults."""

    sentence: str
    parameters: dict[str, Any]
    #: Whether it stays until it is cleared; the others happen once.
    lasts: bool = True


CATALOGUE = {
    "ban": Fault("Bans accounts for some seconds: their logins fail with 402.", {"seconds": 60, "number": ""}),
    "outdated": Fault("Refuses every client as too old, with 405.", {}),
    "login_failure": Fault("Refuses every login with this reason, such as 403, 500 or 503.", {"reason": 503}),
    "passkey": Fault("Asks for a passkey when a code is scanned, and pairs nobody.", {}),
    "device_limit": Fault("Lets a phone have only so many linked devices.", {"count": 0}),
    "few_refs": Fault("Gives fewer QR codes a round; each then lives 20 seconds.", {"count": 1}),
    "refs_expire_early": Fault("Lets QR codes die on the server while clients still show them.", {"seconds": 0}),
    "deaf": Fault("Takes everything in and answers nothing.", {"jid": ""}),
    "no_acks": Fault("Delivers messages, but never acknowledges them to their sender.", {}),
    "slow": Fault("Sends everything some seconds late.", {"seconds": 2}),
    "duplicate": Fault("Delivers every message, receipt and notification several times.", {"copies": 2}),
    "outage": Fault(
        "Cuts everyone off and refuses connections for some seconds, or for ever (0).", {"seconds": 5, "mode": "refuse"}
    ),
    "media_refused": Fault("Takes no file and gives none: answers with this status.", {"status": 500}),
    "media_lost": Fault("Throws away all files, as WhatsApp does after some weeks.", {}, lasts=False),
    "cut": Fault("Breaks connections without a goodbye.", {"jid": ""}, lasts=False),
    "replaced": Fault("Tells a device that another client has taken its place.", {"jid": ""}, lasts=False),
    "stream_error": Fault(
        "Ends streams with this error code, such as 500, 503 or 515.", {"code": 503, "jid": ""}, lasts=False
    ),
    "unlink": Fault("Removes linked devices, as their phone would.", {"jid": ""}, lasts=False),
}


class Faults:
    """What goes wrong at the moment. Where a `jid` is empty, every linked device is meant."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._gate: ClientServer | None = None
        self._opening: asyncio.Future[None] | None = None
        self._generation = 0
        self._reset()

    def _reset(self) -> None:
        self.refs = REFS
        self.ref_life: float | None = None
        self.copies = 1
        self.delay = 0.0
        self.device_limit = DEVICE_LIMIT
        self.asks_for_passkey = False
        self.acks_are_off = False
        self.media_status = 0
        self._refusal: dict[str, Any] | None = None
        self._bans: dict[str, float] = {}
        self._deaf: str | None = None
        self.active: dict[str, dict[str, Any]] = {}
        self._generation += 1

    def bind(self, gate: ClientServer) -> None:
        """The sockets that an outage closes."""
        self._gate = gate

    # -- what the server asks --------------------------------------------------------------------------------------------

    def refusal(self, number: str) -> dict[str, Any] | None:
        """The attributes of the failure with which a login is refused now; `number` is empty for a client without a device."""
        now = time.monotonic()
        for banned in {number, ""}:
            left = self._bans.get(banned, 0) - now
            if left > 0:
                return {"reason": 402, "code": BAN_CODE, "expire": str(max(1, round(left)))}
        return self._refusal

    def is_deaf(self, stream: Stream) -> bool:
        return self._deaf is not None and (not self._deaf or bool(stream.party and str(stream.party.jid) == self._deaf))

    # -- what others cause -----------------------------------------------------------------------------------------------

    async def cause(self, name: str, **parameters: Any) -> None:
        """Cause the fault of that name; SimulatorError where there is none, or where it has no such parameter."""
        fault = CATALOGUE.get(name)
        if fault is None:
            raise SimulatorError(f"There is no fault {name!r}. There are: {', '.join(CATALOGUE)}.")
        if unknown := set(parameters) - set(fault.parameters):
            raise SimulatorError(f"The fault {name!r} has no parameter {', '.join(sorted(unknown))}.")
        try:
            values = {key: type(default)(parameters.get(key, default)) for key, default in _typed(fault).items()}
        except ValueError as error:
            raise SimulatorError(f"A parameter of the fault {name!r} is wrong: {error}.") from error
        result = getattr(self, f"_cause_{name}")(**values)
        if asyncio.iscoroutine(result):
            await result
        if fault.lasts:
            self.active[name] = values

    async def clear(self) -> None:
        """End everything that lasts."""
        self._reset()
        if self._gate:
            await self._gate.open()

    def _cause_ban(self, seconds: float, number: str) -> None:
        self._bans[number] = time.monotonic() + seconds
        for stream in self._linked(""):
            if stream.party and number in ("", stream.party.account.number):
                stream.cut()

    def _cause_outdated(self) -> None:
        self._refuse({"reason": 405})

    def _cause_login_failure(self, reason: int) -> None:
        self._refuse({"reason": reason})

    def _refuse(self, refusal: dict[str, Any]) -> None:
        self._refusal = refusal
        for stream in self._linked(""):
            stream.cut()

    def _cause_passkey(self) -> None:
        self.asks_for_passkey = True

    def _cause_device_limit(self, count: int) -> None:
        self.device_limit = count

    def _cause_few_refs(self, count: int) -> None:
        self.refs = max(1, min(count, REFS))

    def _cause_refs_expire_early(self, seconds: float) -> None:
        self.ref_life = seconds
        for pairing in list(self._world.pairings.values()):
            pairing.expire_in(seconds)

    def _cause_deaf(self, jid: str) -> None:
        self._deaf = jid

    def _cause_no_acks(self) -> None:
        self.acks_are_off = True

    def _cause_slow(self, seconds: float) -> None:
        self.delay = seconds

    def _cause_duplicate(self, copies: int) -> None:
        self.copies = max(1, copies)

    async def _cause_outage(self, seconds: float, mode: str) -> None:
        """`mode` "refuse" closes the ports, "503" keeps them open and answers so."""
        if mode not in ("refuse", "503"):
            raise SimulatorError("An outage has the mode refuse or 503.")
        assert self._gate
        await self._gate.shut(refuse=mode == "refuse")
        if seconds:
            self._world.later(seconds, self._end_outage, self._generation)

    def _end_outage(self, generation: int) -> None:
        if self._gate and generation == self._generation:
            self.active.pop("outage", None)
            self._opening = asyncio.ensure_future(self._gate.open())

    def _cause_media_refused(self, status: int) -> None:
        self.media_status = status

    def _cause_media_lost(self) -> None:
        self._world.media.forget()

    def _cause_cut(self, jid: str) -> None:
        for stream in self._linked(jid):
            stream.cut()

    def _cause_replaced(self, jid: str) -> None:
        for stream in self._linked(jid):
            stream.stream_error(conflict="replaced")

    def _cause_stream_error(self, code: int, jid: str) -> None:
        for stream in self._linked(jid):
            stream.stream_error(code)

    def _cause_unlink(self, jid: str) -> None:
        targets = [Jid.parse(jid)] if jid else [stream.party.jid for stream in self._linked("") if stream.party]
        for target in targets:
            if (party := self._world.party(target)) and party.device:
                self._world.unlink(party)

    def _linked(self, jid: str) -> Iterator[Stream]:
        for stream in list(self._world.streams):
            if stream.party and not stream.ended and jid in ("", str(stream.party.jid)):
                yield stream


def _typed(fault: Fault) -> dict[str, Any]:
    """The parameters with defaults of the type that they are converted to: seconds may be fractions."""
    return {name: float(default) if name == "seconds" else default for name, default in fault.parameters.items()}


class FaultSwitch:
    """The faults from outside the simulator's thread: `sim.faults.ban(seconds=30)`, `sim.faults.clear()`; names as in CATALOGUE."""

    def __init__(self, wait: Callable[[Coroutine[Any, Any, None]], None], faults: Callable[[], Faults]) -> None:
        self._wait = wait
        self._faults = faults

    def cause(self, name: str, **parameters: Any) -> None:
        self._wait(self._faults().cause(name, **parameters))

    def clear(self) -> None:
        self._wait(self._faults().clear())

    @property
    def active(self) -> dict[str, dict[str, Any]]:
        """What lasts at the moment, with its parameters."""
        return dict(self._faults().active)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in CATALOGUE:
            raise AttributeError(name)
        names = list(CATALOGUE[name].parameters)
        return lambda *args, **parameters: self.cause(name, **dict(zip(names, args, strict=False)), **parameters)
