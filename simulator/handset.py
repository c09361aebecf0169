"""A phone as people and tests hold it: callable from any thread, waiting where there is something to wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.nodes import Jid
from simulator.state import Account, Device

if TYPE_CHECKING:
    from simulator.phone import Phone
    from simulator.simulation import Simulator


class Handset:
    """The phone of `account`."""

    def __init__(self, simulator: Simulator, account: Account) -> None:
        self._simulator = simulator
        self.account = account

    def __repr__(self) -> str:
        return f"<Handset {self.number} {self.name}>"

    @property
    def number(self) -> str:
        return self.account.number

    @property
    def name(self) -> str:
        return self.account.name

    @property
    def jid(self) -> str:
        return str(self.account.jid())

    @property
    def lid(self) -> str:
        return str(self.account.lid_jid())

    @property
    def _phone(self) -> Phone:
        # Looked up each time: a simulator that was stopped and started has new phones.
        return self._simulator.world.phones[self.number]

    def scan(self, qr_text: str) -> str:
        """Link the device that shows this QR code, and return its address; PhoneError where that can't be."""
        return str(self._simulator.wait(self._phone.scan(qr_text)))

    def enter_code(self, code: str) -> str:
        """Link the device that shows this pairing code, and return its address; PhoneError where that can't be."""
        return str(self._simulator.wait(self._phone.enter_code(code)))

    @property
    def devices(self) -> list[Device]:
        """The linked devices."""
        return self._simulator.call(lambda: self._phone.devices)

    def unlink(self, jid: str) -> None:
        """Remove a linked device."""
        self._simulator.call(lambda: self._phone.unlink(Jid.parse(jid)))

    def go_offline(self) -> None:
        self._simulator.call(lambda: self._phone.go_offline())

    def go_online(self) -> None:
        self._simulator.call(lambda: self._phone.go_online())
