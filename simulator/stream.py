"""One client's connection, from its intro to its end: bytes in, bytes out, and no I/O of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from google.protobuf.message import DecodeError

from simulator import login, pairing
from simulator.framing import INTRO, FrameReader, FramingError, frame
from simulator.nodes import SERVER, Attr, Node, NodeError, decode, encode
from simulator.noise import Cipher, NoiseError, ServerHandshake
from simulator.proto import ClientPayload
from simulator.stanzas import dispatch
from simulator.transcript import Entry
from simulator.world import PARTING

if TYPE_CHECKING:
    from simulator.pairing import Pairing
    from simulator.world import Party, World

log = logging.getLogger(__name__)


class Stream:
    """A connection. `write` takes bytes for the socket, `hang_up` closes it."""

    def __init__(self, world: World, number: int, write: Callable[[bytes], None], hang_up: Callable[[], None]) -> None:
        self.world = world
        self.number = number
        self.noise_key = b""
        #: The device that this connection is logged in as, and the pairing that it waits for; never both.
        self.party: Party | None = None
        self.pairing: Pairing | None = None
        self.ended = False
        self._write = write
        self._hang_up = hang_up
        #: Breaks the socket without a goodbye.
        self.cut: Callable[[], None] = hang_up
        self._frames = FrameReader(expect_intro=True)
        self._handshake: ServerHandshake | None = None
        self._reading: Cipher | None = None
        self._writing: Cipher | None = None
        self._answers: dict[str, Callable[[Node], None]] = {}
        self._next_write = 0.0
        world.streams.add(self)

    def __repr__(self) -> str:
        return f"<Stream {self.number} {self.party.jid if self.party else 'without a device'}>"

    # -- in --------------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes from the socket. Whatever a client sends that is not WhatsApp ends its connection, as it does in reality."""
        try:
            for payload in self._frames.feed(data):
                self._take_frame(payload)
        except (FramingError, NoiseError, NodeError, DecodeError) as error:
            log.warning("connection %s ends: %s", self.number, error)
            self.hang_up()

    def gone(self) -> None:
        """The socket is closed."""
        self.ended = True
        self.world.streams.discard(self)
        if self.party:
            self.world.detach(self.party, self)
            self.world.connections.closed(self.number, str(self.party.jid))
        if self.pairing:
            self.pairing.end()

    def _take_frame(self, payload: bytes) -> None:
        if self._reading:
            wire = self._reading.decrypt(payload)
            stanza = decode(wire)
            self._record("in", wire)
            self._take_stanza(stanza)
        elif self._handshake is None:
            self._handshake = ServerHandshake(INTRO, self.world.keys)
            self._write(frame(self._handshake.answer(payload)))
        else:
            self.noise_key, client, self._reading, self._writing = self._handshake.finish(payload)
            self._begin(ClientPayload.FromString(client))

    def _begin(self, payload: Any) -> None:
        if payload.HasField("devicePairingData"):
            pairing.begin(self, payload)
        else:
            login.begin(self, payload)

    def _take_stanza(self, stanza: Node) -> None:
        if self.ended or self.world.faults.is_deaf(self):
            return
        if stanza.tag == "iq" and stanza.get("type") in ("result", "error"):
            if answered := self._answers.pop(stanza.get("id"), None):
                answered(stanza)
        else:
            dispatch(self, stanza)

    # -- out -------------------------------------------------------------------------------------------------------------

    def send(self, stanza: Node) -> None:
        if self.ended or self._writing is None or self.world.faults.is_deaf(self):
            return
        wire = encode(stanza)
        self._record("out", wire)
        self._write_in_time(frame(self._writing.encrypt(wire)))

    deliver = send

    def ask(self, content: list[Node], answered: Callable[[Node], None], *, type_: str = "set", **attrs: Attr) -> None:
        """Send an iq; `answered` gets the client's result or error."""
        stanza_id = self.world.new_id()
        self._answers[stanza_id] = answered
        self.send(Node("iq", {"from": SERVER, "id": stanza_id, "type": type_, **attrs}, content))

    def reply(self, request: Node, content: list[Node] | None = None) -> None:
        """The result of an iq."""
        attrs: dict[str, Attr] = {"from": request.attrs.get("to", SERVER), "id": request.get("id"), "type": "result"}
        self.send(Node("iq", attrs, content))

    def refuse(self, request: Node, code: int, text: str) -> None:
        """The error of an iq."""
        attrs: dict[str, Attr] = {"from": request.attrs.get("to", SERVER), "id": request.get("id"), "type": "error"}
        self.send(Node("iq", attrs, [Node("error", {"code": str(code), "text": text})]))

    # -- the end ---------------------------------------------------------------------------------------------------------

    def fail(self, reason: int, **attrs: str) -> None:
        """Refuse a login or a registration."""
        self.end_with(Node("failure", {"reason": str(reason), "location": "sim", **attrs}))

    def stream_error(self, code: int | None = None, conflict: str = "") -> None:
        """End the stream as the server does: a conflict is "replaced" or "device_removed"."""
        content = [Node("conflict", {"type": conflict})] if conflict else None
        self.end_with(Node("stream:error", {"code": str(code)} if code else {}, content))

    def end_with(self, stanza: Node) -> None:
        """Send a last stanza and hang up, unless the client does so first."""
        self.send(stanza)
        self.end()

    def end(self) -> None:
        """Take and send nothing more, and hang up soon."""
        self.ended = True
        if self.party:
            self.world.detach(self.party, self)
        self.world.later(PARTING + self.world.faults.delay, self._hang_up)

    def hang_up(self) -> None:
        self.ended = True
        self._hang_up()

    def _record(self, direction: Literal["in", "out"], wire: bytes) -> None:
        self.world.transcript.add(Entry(self.number, str(self.party.jid) if self.party else "", direction, wire))

    def _write_in_time(self, data: bytes) -> None:
        now, delay = time.monotonic(), self.world.faults.delay
        if not delay and now >= self._next_write:
            self._write(data)
            return
        # A microsecond apart, because timers of the same moment may run in any order and frames must not.
        self._next_write = max(self._next_write + 1e-6, now + delay)
        self.world.later(self._next_write - now, self._write, data)
