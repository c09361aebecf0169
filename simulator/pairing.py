"""Linking a new device, the server's side: refs that live and die, the phone's proof on its way to the client, and the client's answer."""

from __future__ import annotations

import re
import secrets
import time
from asyncio import Future, get_running_loop
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from simulator.curve import signature_is_valid
from simulator.devices import announce
from simulator.errors import PhoneError
from simulator.nodes import SERVER, Attr, Node
from simulator.proto import ClientPairingProps, DeviceProps, SignedDeviceIdentity
from simulator.state import Account, Device

if TYPE_CHECKING:
    from simulator.stream import Stream

#: The first of six codes is shown for this long, each later one for the shorter time (wire.md, 4). The ref of a code lives until the
#: client is done showing it, and a little longer, for a phone that is just scanning.
FIRST_CODE, NEXT_CODE, GRACE = 60.0, 20.0, 2.0
REFS = 6
DEVICE_SIGNATURE_PREFIX = b"\x06\x01"
KEY_TYPE = b"\x05"
ANSWER_TIMEOUT = 20.0
SIGNED_PREKEY_REFUSED = 400
PROPER_DISPLAY = re.compile(r"[^()]+ \([^()]+\)")
PASSKEY_OPTIONS = (
    b'{"challenge":"c2ltdWxhdG9y","timeout":60000,"rpId":"whatsapp.com",'
    b'"allowCredentials":[],"userVerification":"required","extensions":{}}'
)


@dataclass(frozen=True)
class CodeHello:
    """What a client sent to be paired by code: its ephemeral key under the code, and for whom."""

    number: str
    wrapped_ephemeral: bytes
    noise_key: bytes


class Pairing:
    """One client that waits to be linked."""

    def __init__(self, stream: Stream, registration: Any) -> None:
        self.stream = stream
        self.noise_key = stream.noise_key
        self.identity: bytes = registration.eIdent
        self.registration = registration
        self.hello: CodeHello | None = None
        self.code_ref = ""
        self._refs: dict[str, float] = {}
        self._linking: Future[Node] | None = None
        self._finishing: Future[Node] | None = None

    # -- refs ------------------------------------------------------------------------------------------------------------

    def offer_refs(self) -> None:
        """Send the refs from which the client makes its QR codes."""
        world = self.stream.world
        count = world.faults.refs
        now, first = time.monotonic(), FIRST_CODE if count == REFS else NEXT_CODE
        for index in range(count):
            life = world.faults.ref_life
            ref = "2@" + secrets.token_urlsafe(48)
            self._refs[ref] = now + (life if life is not None else first + NEXT_CODE * index + GRACE)
            world.pairings[ref] = self
        refs = [Node("ref", {}, ref.encode()) for ref in self._refs]
        self.stream.ask([Node("pair-device", {}, refs)], lambda answer: None)
        world.later(first + NEXT_CODE * (count - 1) + 2 * GRACE, self._give_up)

    def is_alive(self, ref: str) -> bool:
        return not self.stream.ended and time.monotonic() < self._refs.get(ref, 0)

    def expire_in(self, seconds: float) -> None:
        """Let the refs die sooner than the client thinks."""
        end = time.monotonic() + seconds
        self._refs = {ref: min(end, life) for ref, life in self._refs.items()}

    def end(self) -> None:
        """The connection is gone, or the device is linked: nothing of this round can be used any more."""
        for ref in [*self._refs, self.code_ref]:
            self.stream.world.pairings.pop(ref, None)
        for waiting in (self._linking, self._finishing):
            if waiting and not waiting.done():
                waiting.set_exception(
                    PhoneError("connection-lost", "The other device went away while it was being linked.")
                )

    def _give_up(self) -> None:
        if self.stream.pairing is self:
            self.stream.hang_up()

    # -- pairing by code -------------------------------------------------------------------------------------------------

    def take_hello(self, request: Node, registration: Node, number: str) -> None:
        """The client's companion_hello: remember it, answer with a ref."""
        display = registration.child("companion_platform_display")
        wrapped = registration.child("link_code_pairing_wrapped_companion_ephemeral_pub")
        noise_key = registration.child("companion_server_auth_key_pub")
        if not (display and wrapped and noise_key and PROPER_DISPLAY.fullmatch(display.data.decode(errors="replace"))):
            self.stream.refuse(request, 400, "bad-request")
            return
        if len(wrapped.data) != 80 or noise_key.data != self.noise_key:
            self.stream.refuse(request, 400, "bad-request")
            return
        world = self.stream.world
        world.pairings.pop(self.code_ref, None)
        self.code_ref = "3@" + secrets.token_urlsafe(24)
        self.hello = CodeHello(number, wrapped.data, noise_key.data)
        world.pairings[self.code_ref] = self
        answer = Node("link_code_companion_reg", {"stage": "companion_hello"}, [self._code_ref_node()])
        self.stream.reply(request, [answer])

    async def ask_to_finish(self, wrapped_primary: bytes, primary_identity: bytes) -> Node:
        """Pass the phone's half of the exchange on (primary_hello); the client's companion_finish comes back."""
        self._finishing = get_running_loop().create_future()
        content = [
            Node("link_code_pairing_wrapped_primary_ephemeral_pub", {}, wrapped_primary),
            Node("primary_identity_pub", {}, primary_identity),
            self._code_ref_node(),
        ]
        hello = Node("link_code_companion_reg", {"stage": "primary_hello"}, content)
        self.stream.send(self._notification("link_code_companion_reg", hello))
        return await self._answer(self._finishing)

    def take_finish(self, request: Node, registration: Node) -> None:
        ref = registration.child("link_code_pairing_ref")
        if (
            self._finishing is None
            or self._finishing.done()
            or ref is None
            or ref.data.decode(errors="replace") != self.code_ref
        ):
            self.stream.refuse(request, 400, "bad-request")
            return
        self.stream.reply(request)
        self._finishing.set_result(registration)

    def _code_ref_node(self) -> Node:
        return Node("link_code_pairing_ref", {}, self.code_ref.encode())

    # -- linking ---------------------------------------------------------------------------------------------------------

    def ask_for_passkey(self) -> None:
        """What WhatsApp asks of some accounts since 2026. The client throws its adv secret away, so its codes can't pair any more."""
        self.stream.send(
            self._notification("passkey_prologue_request", Node("passkey_request_options", {}, PASSKEY_OPTIONS))
        )

    async def link(self, account: Account, device: int, container: bytes, details: bytes, account_key: bytes) -> None:
        """Bring the phone's proof to the client, check the client's own signature, and register the device."""
        self._linking = get_running_loop().create_future()
        content = [
            Node("device-identity", {}, container),
            Node("device", {"jid": account.jid(device), "lid": account.lid_jid(device)}),
            Node("platform", {"name": "android"}),
            Node(
                "client-props",
                {},
                ClientPairingProps(isChatDbLidMigrated=True, isSyncdPureLidSession=True).SerializeToString(),
            ),
        ]
        stamp = str(int(time.time()))
        self.stream.ask([Node("pair-success", {}, content)], self._linking.set_result, t=stamp)
        answer = await self._answer(self._linking)
        self._check(answer, details, account_key)
        world = self.stream.world
        world.state.add_device(self._device(account.number, device))
        announce(world, account, "add", device)
        self.stream.pairing = None
        self.end()
        self.stream.stream_error(515)

    def _check(self, answer: Node, details: bytes, account_key: bytes) -> None:
        if error := answer.child("error"):
            raise PhoneError(
                "refused", f"The other device refused to be linked: {error.get('code')} {error.get('text')}."
            )
        identity = answer.child("pair-device-sign", "device-identity")
        try:
            signed = SignedDeviceIdentity.FromString(identity.data if identity else b"")
        except DecodeError:
            signed = SignedDeviceIdentity()
        message = DEVICE_SIGNATURE_PREFIX + details + self.identity + account_key
        if signed.details != details or not signature_is_valid(self.identity, message, signed.deviceSignature):
            self.stream.hang_up()
            raise PhoneError("refused", "The other device's signature is wrong.")

    async def _answer(self, future: Future[Node]) -> Node:
        timer = get_running_loop().call_later(ANSWER_TIMEOUT, _time_out, future)
        try:
            return await future
        finally:
            timer.cancel()

    def _device(self, number: str, device: int) -> Device:
        data = self.registration
        try:
            label = DeviceProps.FromString(data.deviceProps).os
        except DecodeError:
            label = ""
        registration, skey_id = (int.from_bytes(field, "big") for field in (data.eRegid, data.eSkeyID))
        return Device(
            number, device, self.noise_key, self.identity, registration, skey_id, data.eSkeyVal, data.eSkeySig, label
        )

    def _notification(self, type_: str, child: Node) -> Node:
        attrs: dict[str, Attr] = {"from": SERVER, "type": type_, "id": self.stream.world.new_id()}
        return Node("notification", {**attrs, "t": str(int(time.time()))}, [child])


def _time_out(future: Future[Node]) -> None:
    if not future.done():
        future.set_exception(PhoneError("no-answer", "The other device does not answer."))


def begin(stream: Stream, payload: Any) -> None:
    """Answer a registration payload."""
    if refusal := stream.world.faults.refusal(""):
        stream.fail(**refusal)
        return
    data = payload.devicePairingData
    if not signature_is_valid(data.eIdent, KEY_TYPE + data.eSkeyVal, data.eSkeySig):
        stream.fail(SIGNED_PREKEY_REFUSED)
        return
    stream.pairing = Pairing(stream, data)
    stream.pairing.offer_refs()
