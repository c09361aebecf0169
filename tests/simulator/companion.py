"""A client in a few lines, without sockets: what the real ones do to be linked and to log in, so that each step can be bent in a test."""

from __future__ import annotations

import base64
import hmac
import itertools
import secrets
from typing import Any

from simulator.curve import KeyPair
from simulator.framing import INTRO, FrameReader, frame
from simulator.nodes import SERVER, Attr, Jid, Node, decode, encode
from simulator.noise import Cipher, ClientHandshake
from simulator.proto import ClientPayload, SignedDeviceIdentity, SignedDeviceIdentityHmac
from simulator.signal import SignalState
from simulator.stream import Stream
from simulator.world import World


class Socket:
    """One connection of a companion: the server's stream at the other end, and what came from it."""

    def __init__(self, companion: Companion, number: int) -> None:
        self.received: list[Node] = []
        self.is_cut = False
        self.stream = Stream(companion.world, number, self._take, self.cut)
        self.stream.cut = self.cut
        self._companion = companion
        self._frames = FrameReader(expect_intro=False)
        self._raw: list[bytes] = []
        self._reading: Cipher | None = None
        self._writing: Cipher | None = None

    def shake_hands(self, payload: bytes) -> None:
        shake = ClientHandshake(INTRO, self._companion.noise, self._companion.world.keys.root.public)
        self.stream.receive(INTRO + frame(shake.hello()))
        last, self._reading, self._writing = shake.finish(self._raw[0], payload)
        self.stream.receive(frame(last))

    def send(self, node: Node) -> None:
        assert self._writing
        self.stream.receive(frame(self._writing.encrypt(encode(node))))

    def cut(self) -> None:
        if not self.is_cut:
            self.is_cut = True
            self.stream.gone()

    def _take(self, data: bytes) -> None:
        for payload in self._frames.feed(data):
            if self._reading is None:
                self._raw.append(payload)
                continue
            node = decode(self._reading.decrypt(payload))
            self.received.append(node)
            if (success := node.child("pair-success")) and self._companion.answers_pairing:
                self._companion.answer_pairing(node, success)


class Companion:
    """A device's keys, and one connection at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.noise = KeyPair.generate()
        self.signal = SignalState.generate(5)
        self.adv_secret = secrets.token_bytes(32)
        self.jid: Jid | None = None
        self.answers_pairing = True
        #: Replaces the device's signature in a test of its check.
        self.forged_signature: bytes | None = None
        self._ids = itertools.count(1)

    # -- connections -----------------------------------------------------------------------------------------------------

    def connect(self, payload: Any) -> Stream:
        """Shake hands with this payload; a new connection, whatever was before."""
        self.socket = Socket(self, next(self._ids))
        self.socket.shake_hands(payload.SerializeToString())
        return self.stream

    @property
    def stream(self) -> Stream:
        return self.socket.stream

    @property
    def received(self) -> list[Node]:
        """Every stanza of the present connection."""
        return self.socket.received

    @property
    def is_cut(self) -> bool:
        return self.socket.is_cut

    def register(self, **wrong: bytes) -> Stream:
        """Ask to be linked; `wrong` replaces fields of the registration."""
        keys = self.signal.bundle()
        payload = ClientPayload()
        data = payload.devicePairingData
        data.eRegid, data.eKeytype = keys.registration_id.to_bytes(4, "big"), b"\x05"
        data.eIdent, data.eSkeyID = keys.identity, keys.signed_prekey_id.to_bytes(3, "big")
        data.eSkeyVal, data.eSkeySig = keys.signed_prekey, keys.signed_prekey_signature
        for name, value in wrong.items():
            setattr(data, name, value)
        return self.connect(payload)

    def log_in(self, *, active: bool = True) -> Node:
        """Come back as the linked device; the server's first stanza."""
        assert self.jid
        self.connect(ClientPayload(username=int(self.jid.user), device=self.jid.device, passive=True))
        if active and self.received and self.received[0].tag == "success":
            self.ask("passive", Node("active"), type_="set")
        return self.received[0]

    def leave(self) -> None:
        """Close the socket."""
        self.socket.cut()

    # -- stanzas ---------------------------------------------------------------------------------------------------------

    def send(self, node: Node) -> None:
        self.socket.send(node)

    def ask(self, namespace: str, *content: Node, type_: str = "get", to: Jid = SERVER) -> Node:
        """An iq and its answer; AssertionError where none came at once."""
        request_id = f"q{next(self._ids)}"
        self.send(Node("iq", {"id": request_id, "xmlns": namespace, "type": type_, "to": to}, list(content)))
        answers = [node for node in self.received if node.tag == "iq" and node.get("id") == request_id]
        assert answers, f"no answer to {namespace}"
        return answers[0]

    def message(self, to: Jid, *targets: Jid, text: bytes = b"ciphertext", message_id: str = "") -> str:
        """Send something that looks encrypted to these devices; its id."""
        message_id = message_id or f"M{next(self._ids)}"
        participants = [Node("to", {"jid": jid}, [Node("enc", {"v": "2", "type": "msg"}, text)]) for jid in targets]
        self.send(
            Node("message", {"id": message_id, "to": to, "type": "text"}, [Node("participants", {}, participants)])
        )
        return message_id

    def receipt(self, stanza: Node, **attrs: Attr) -> None:
        self.send(Node("receipt", {"to": stanza.attrs["from"], "id": stanza.get("id"), **attrs}))

    def got(self, tag: str, **attrs: str) -> list[Node]:
        return [node for node in self.received if node.tag == tag and all(node.get(k) == v for k, v in attrs.items())]

    # -- pairing ---------------------------------------------------------------------------------------------------------

    @property
    def refs(self) -> list[str]:
        offers = [offer for node in self.received if (offer := node.child("pair-device"))]
        return [ref.data.decode() for ref in offers[-1].children] if offers else []

    def qr(self, index: int = 0) -> str:
        keys = (
            base64.b64encode(key).decode() for key in (self.noise.public, self.signal.identity.public, self.adv_secret)
        )
        return "https://wa.me/settings/linked_devices#" + ",".join([self.refs[index], *keys, "1"])

    def upload_prekeys(self) -> Node:
        keys = self.signal.bundle()
        prekeys = [
            Node("key", {}, [Node("id", {}, i.to_bytes(3, "big")), Node("value", {}, public)])
            for i, public in keys.prekeys.items()
        ]
        return self.ask(
            "encrypt",
            Node("registration", {}, keys.registration_id.to_bytes(4, "big")),
            Node("identity", {}, keys.identity),
            Node("list", {}, prekeys),
            self.signed_prekey(keys.signed_prekey_signature),
            type_="set",
        )

    def signed_prekey(self, signature: bytes) -> Node:
        keys = self.signal.bundle()
        content = [Node("id", {}, keys.signed_prekey_id.to_bytes(3, "big")), Node("value", {}, keys.signed_prekey)]
        return Node("skey", {}, [*content, Node("signature", {}, signature)])

    def answer_pairing(self, request: Node, success: Node) -> None:
        identity, device = success.child("device-identity"), success.child("device")
        assert identity and device
        container = SignedDeviceIdentityHmac.FromString(identity.data)
        attrs: dict[str, Attr] = {"id": request.get("id"), "to": SERVER}
        if hmac.digest(self.adv_secret, container.details, "sha256") != container.hmac:
            error = Node("error", {"code": "401", "text": "hmac-mismatch"})
            self.send(Node("iq", {**attrs, "type": "error"}, [error]))
            return
        signed = SignedDeviceIdentity.FromString(container.details)
        message = b"\x06\x01" + signed.details + self.signal.identity.public + signed.accountSignatureKey
        signed.deviceSignature = self.forged_signature or self.signal.identity.sign(message)
        signed.ClearField("accountSignatureKey")
        self.jid = device.jid("jid")
        content = Node(
            "pair-device-sign", {}, [Node("device-identity", {"key-index": "1"}, signed.SerializeToString())]
        )
        self.send(Node("iq", {**attrs, "type": "result"}, [content]))
