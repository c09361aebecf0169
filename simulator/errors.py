"""The errors that people and tests meet."""

from __future__ import annotations


class PhoneError(Exception):
    """A phone could not do what it was told.

    `reason` is a stable word: dead-code, bad-code, wrong-code, device-limit, passkey, refused, connection-lost, no-such-device,
    no-such-account, bad-number, offline, no-answer. The text is a sentence for the person who holds the phone.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class SimulatorError(Exception):
    """The simulator cannot start or cannot go on, in one sentence."""

    @classmethod
    def port_taken(cls, port: int) -> SimulatorError:
        return cls(f"The port {port} on 127.0.0.1 is in use by another program; choose another one.")
