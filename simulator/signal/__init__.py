"""Signal, as WhatsApp uses it, for simulated phones: one `SignalState` a device, wire-compatible with libsignal."""

from __future__ import annotations

from .errors import DuplicateMessage, NoSenderKey, NoSession, SignalError
from .prekeys import PreKeyBundle, PublicKeys
from .state import SignalState

__all__ = ["DuplicateMessage", "NoSenderKey", "NoSession", "PreKeyBundle", "PublicKeys", "SignalError", "SignalState"]
