"""A simulated phone: the primary device of an account, which links companions and sends and reads real Signal messages."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from simulator import appstate, linking
from simulator.appstate import AppState
from simulator.errors import PhoneError
from simulator.messenger import Messenger
from simulator.nodes import USER_SERVER, Jid, Node, NodeError
from simulator.signal import SignalState
from simulator.state import Account, ChatLine, Device
from simulator.world import Party

if TYPE_CHECKING:
    from simulator.pairing import Pairing
    from simulator.world import World

PREKEYS = 50
OFFLINE = "This phone is offline. Put it online first."
DEAD_CODE = "That code is no longer valid. Scan the code that the other device shows now."


class Phone:
    """Device 0 of `account`. All of it runs in the world's thread."""

    def __init__(self, world: World, account: Account) -> None:
        self.world = world
        self.account = account
        self.party = Party(account, 0)
        self.signal = SignalState.from_json(world.state.signal_of(account.number))
        #: Called after each change of what the phone shows.
        self.changed: Callable[[], None] = lambda: None
        self._arrived: deque[Node] = deque()
        self._messenger = Messenger(self)

    @classmethod
    def create(cls, world: World, number: str, name: str) -> Phone:
        """A new account and its phone, with its keys published."""
        signal = SignalState.generate(PREKEYS)
        account = world.state.add_account(number, name, signal.to_json())
        keys = signal.bundle()
        signed = (keys.signed_prekey_id, keys.signed_prekey, keys.signed_prekey_signature)
        world.state.add_device(Device(number, 0, b"", keys.identity, keys.registration_id, *signed, "Phone"))
        world.state.add_prekeys(number, 0, keys.prekeys.items())
        return cls(world, account)

    @classmethod
    def get(cls, world: World, number: str, name: str = "") -> Phone:
        """The phone with this number; made where there is none."""
        if number not in world.phones:
            if not number.isascii() or not number.isdigit() or number.startswith("0") or not 7 <= len(number) <= 15:
                raise PhoneError(
                    "bad-number", "A phone number is 7 to 15 digits with its country code, like 5511987650001."
                )
            cls.create(world, number, name or f"Phone {number[-4:]}").switch_on()
        return world.phones[number]

    def switch_on(self) -> None:
        """Take part in the world, online or not as it was."""
        self.world.phones[self.account.number] = self
        if self.world.state.is_online(self.account.number):
            self.go_online()

    # -- linked devices --------------------------------------------------------------------------------------------------

    async def scan(self, text: str) -> Jid:
        """Link the device that shows this QR code; its address."""
        offer = linking.read_qr(text)
        pairing = self.world.pairings.get(offer.ref)
        if pairing is None or not pairing.is_alive(offer.ref):
            raise PhoneError("dead-code", DEAD_CODE)
        if (offer.noise_key, offer.identity) != (pairing.noise_key, pairing.identity):
            raise PhoneError("bad-code", "The code does not belong to the device that shows it.")
        return await self._link(pairing, offer.adv_secret)

    async def enter_code(self, text: str) -> Jid:
        """Link the device that shows this pairing code; its address."""
        code = linking.read_code(text)
        waiting = [
            p
            for ref, p in self.world.pairings.items()
            if p.hello and p.hello.number == self.account.number and ref == p.code_ref
        ]
        if not waiting:
            raise PhoneError("dead-code", "No device waits to be linked to this number by a code.")
        pairing = waiting[-1]
        assert pairing.hello
        exchange = linking.CodeExchange(code, self.signal.identity)
        finish = await pairing.ask_to_finish(exchange.wrapped_ephemeral(), self.signal.identity.public)
        bundle = finish.child("link_code_pairing_wrapped_key_bundle")
        adv_secret = exchange.adv_secret(
            pairing.hello.wrapped_ephemeral, pairing.identity, bundle.data if bundle else b""
        )
        return await self._link(pairing, adv_secret)

    async def _link(self, pairing: Pairing, adv_secret: bytes) -> Jid:
        if not self.is_online:
            raise PhoneError("offline", OFFLINE)
        if len(self.devices) >= self.world.faults.device_limit:
            raise PhoneError(
                "device-limit", f"This phone has {len(self.devices)} linked devices already. Unlink one first."
            )
        if self.world.faults.asks_for_passkey:
            pairing.ask_for_passkey()
            raise PhoneError("passkey", "WhatsApp asks for a passkey, which the other device can't give.")
        device = self.world.state.reserve_device(self.account.number)
        proof = linking.sign_device(self.signal.identity, pairing.identity, adv_secret, device)
        await pairing.link(self.account, device, proof.container, proof.details, self.signal.identity.public)
        return self.account.jid(device)

    @property
    def devices(self) -> list[Device]:
        """The linked devices, without the phone itself."""
        return [device for device in self.world.state.devices(self.account.number) if device.device]

    def unlink(self, jid: Jid) -> None:
        party = self.world.party(jid)
        if party is None or party.account.number != self.account.number or not party.device:
            raise PhoneError("no-such-device", "No such device is linked to this phone.")
        self.world.unlink(party)

    def welcome(self, companion: Party) -> None:
        """Give a companion that is there for the first time the key to the app state."""
        state = AppState.from_json(self.world.state.sync_of(self.account.number))
        if self.is_online and companion.device not in state.welcomed and self.world.party(companion.jid):
            state.welcomed.append(companion.device)
            self.world.state.save_sync(self.account.number, state.to_json())
            self._messenger.send_private(companion, state.key_share())

    def app_state_patch(self, collection: str) -> bytes | None:
        """The patch that a companion at version 0 of this collection lacks."""
        if collection != appstate.COLLECTION:
            return None
        return AppState.from_json(self.world.state.sync_of(self.account.number)).patch(self.account.name)

    # -- presence --------------------------------------------------------------------------------------------------------

    @property
    def is_online(self) -> bool:
        return self.world.is_attached(self.party, self)

    def go_online(self) -> None:
        self.world.state.set_online(self.account.number, True)
        if not self.is_online:
            self.world.attach(self.party, self)
            for device in self.devices:
                self.welcome(Party(self.account, device.device))

    def go_offline(self) -> None:
        self.world.state.set_online(self.account.number, False)
        self.world.detach(self.party, self)

    # -- messages --------------------------------------------------------------------------------------------------------

    def send_text(self, to: str, text: str) -> str:
        """Send to a number, or to a group's address; the message's id."""
        if not self.is_online:
            raise PhoneError("offline", OFFLINE)
        return self._messenger.send_text(self._read_address(to), text)

    def send(self, to: str, message: Any) -> str:
        """The same for a message of any kind (contents.py)."""
        return self._messenger.send(self._read_address(to), message)

    def react(self, message_id: str, emoji: str) -> str:
        return self._messenger.react(message_id, emoji)

    def reply(self, message_id: str, text: str) -> str:
        return self._messenger.reply(message_id, text)

    def create_group(self, subject: str, numbers: list[str]) -> Jid:
        return self._messenger.create_group(subject, numbers)

    def mark_read(self, message_id: str) -> None:
        self._messenger.mark_read(message_id)

    @property
    def lines(self) -> list[ChatLine]:
        """The chats, oldest message first."""
        return self.world.state.lines(self.account.number)

    def deliver(self, stanza: Node) -> None:
        # Read in a turn of its own: an answer must not overtake what the sender is in the middle of.
        self._arrived.append(stanza)
        self.world.later(0, self._take_next)

    def save(self) -> None:
        """Keep the Signal state: it has moved."""
        self.world.state.save_signal(self.account.number, self.signal.to_json())

    def _take_next(self) -> None:
        stanza = self._arrived.popleft()
        # What came before it went offline is still in its queue.
        if self.is_online:
            self._messenger.take(stanza)

    @staticmethod
    def _read_address(text: str) -> Jid:
        try:
            return Jid.parse(text) if "@" in text else Jid(re.sub(r"[^0-9]", "", text), USER_SERVER)
        except NodeError:
            raise PhoneError("bad-number", "Send to a phone number, or to the address of a group.") from None
