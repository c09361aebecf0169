"""A phone as people and tests hold it: callable from any thread, waiting where there is something to wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from simulator import contents, media
from simulator.nodes import Jid
from simulator.state import Account, ChatLine, Device

if TYPE_CHECKING:
    from simulator.phone import Phone
    from simulator.simulation import Simulator


class Handset:
    """The phone of `account`."""

    def __init__(self, simulator: Simulator, account: Account) -> None:
        self._simulator = simulator
        self.account = account
        self._change = threading.Condition()
        self._version = 0

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

    # -- messages --------------------------------------------------------------------------------------------------------

    def send_text(self, to: str, text: str) -> str:
        """Send to a number, or to a group's address; the message's id. PhoneError where that can't be."""
        return self._simulator.call(lambda: self._phone.send_text(to, text))

    def send_location(self, to: str, latitude: float, longitude: float, name: str = "") -> str:
        return self._simulator.call(lambda: self._phone.send(to, contents.location(latitude, longitude, name)))

    def send_file(self, to: str, kind: str, data: bytes, mimetype: str, caption: str = "", *, name: str = "") -> str:
        """Send an image, a document, audio or a video; the message's id."""
        return self._simulator.call(
            lambda: self._phone.send(to, media.attach(kind, data, mimetype, caption, self._simulator.world.media, name))
        )

    def open_file(self, line: ChatLine) -> bytes:
        """The file of a message; PhoneError where it cannot be had."""
        return self._simulator.call(lambda: media.open_file(line.kind, line.content, self._simulator.world.media))

    def react(self, message_id: str, emoji: str) -> str:
        """React to a message that it sent or received; an empty emoji takes the reaction back. The reaction's own id."""
        return self._simulator.call(lambda: self._phone.react(message_id, emoji))

    def reply(self, message_id: str, text: str) -> str:
        """Answer a received message, and quote it; the answer's id."""
        return self._simulator.call(lambda: self._phone.reply(message_id, text))

    def create_group(self, subject: str, numbers: list[str]) -> str:
        """A group with these numbers; its address."""
        return str(self._simulator.call(lambda: self._phone.create_group(subject, numbers)))

    def mark_read(self, message_id: str) -> None:
        """Tell the author that a received message was read."""
        self._simulator.call(lambda: self._phone.mark_read(message_id))

    @property
    def lines(self) -> list[ChatLine]:
        """Everything in its chats: sent ("out"), received ("in"), and sent by its companions ("own")."""
        return self._simulator.call(lambda: self._phone.lines)

    @property
    def inbox(self) -> list[ChatLine]:
        """What it received; `text` is None, and `error` says why, where it could not decrypt."""
        return [line for line in self.lines if line.direction == "in"]

    def wait_for_text(self, text: str, timeout: float = 10) -> ChatLine:
        """The first received message with exactly this text; TimeoutError after `timeout` seconds."""
        return self.wait_for(lambda line: line.direction == "in" and line.text == text, timeout)

    def wait_for(self, predicate: Callable[[ChatLine], bool], timeout: float = 10) -> ChatLine:
        """The first line, there or to come, that `predicate` accepts; TimeoutError after `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            seen = self._version
            if found := next(filter(predicate, self.lines), None):
                return found
            if not self._wait_for_change(seen, end - time.monotonic()):
                texts = [line.text for line in self.lines]
                raise TimeoutError(f"{self!r} saw no such message in {timeout} s; it has {texts}")

    def _wait_for_change(self, seen: int, timeout: float) -> bool:
        with self._change:
            return self._change.wait_for(lambda: self._version != seen, max(timeout, 0))

    def changed(self) -> None:
        """What the phone shows has changed; called in the simulator's thread."""
        with self._change:
            self._version += 1
            self._change.notify_all()
