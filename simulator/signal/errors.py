"""What can go wrong with encrypted messages: every failure of this package is a `SignalError`."""

from __future__ import annotations


class SignalError(Exception):
    """A message, bundle or stored state was refused; nothing was changed. The text never holds key material."""


class DuplicateMessage(SignalError):
    """The message's key was used before (or was thrown away because too many were skipped)."""


class NoSession(SignalError):
    """There is no session with this address: fetch its bundle and start one, or ask it to send again."""


class NoSenderKey(SignalError):
    """The sender has not handed out this group's sender key: ask it to send again."""
