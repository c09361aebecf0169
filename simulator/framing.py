"""Frames on the socket: an intro header once, then messages with a 3-byte big-endian length; no I/O."""

from __future__ import annotations

INTRO = b"WA\x06\x03"
ROUTING = b"ED\x00\x01"
LENGTH_SIZE = 3
MAX_FRAME = 1 << 24


class FramingError(Exception):
    """The bytes on the socket are not WhatsApp frames."""


def frame(payload: bytes) -> bytes:
    """`payload` with its length in front; FramingError from 16 MiB on."""
    if len(payload) >= MAX_FRAME:
        raise FramingError(f"a frame of {len(payload)} bytes is too long")
    return len(payload).to_bytes(LENGTH_SIZE, "big") + payload


class FrameReader:
    """Takes bytes in any portions, gives whole frames back.

    A client that was here before may put routing information in front of the intro ("ED" 0 1, 3-byte length, bytes); it is skipped, and the
    prologue of the Noise handshake is INTRO all the same (Baileys Utils/noise-handler).
    """

    def __init__(self, *, expect_intro: bool) -> None:
        self._buffer = bytearray()
        self._expect_intro = expect_intro

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        if self._expect_intro and not self._take_intro():
            return []
        frames = []
        while len(self._buffer) >= LENGTH_SIZE:
            end = LENGTH_SIZE + int.from_bytes(self._buffer[:LENGTH_SIZE], "big")
            if len(self._buffer) < end:
                break
            frames.append(bytes(self._buffer[LENGTH_SIZE:end]))
            del self._buffer[:end]
        return frames

    @property
    def is_empty(self) -> bool:
        """Whether no part of a frame waits for the rest of it."""
        return not self._buffer and not self._expect_intro

    def _take_intro(self) -> bool:
        start = 0
        if self._buffer[: len(ROUTING)] == ROUTING:
            size_end = len(ROUTING) + LENGTH_SIZE
            if len(self._buffer) < size_end:
                return False
            start = size_end + int.from_bytes(self._buffer[len(ROUTING) : size_end], "big")
        have = bytes(self._buffer[start : start + len(INTRO)])
        if have != INTRO[: len(have)] and not (start == 0 and ROUTING.startswith(have)):
            raise FramingError("the connection does not begin with WhatsApp's intro header")
        if have != INTRO:
            return False
        del self._buffer[: start + len(INTRO)]
        self._expect_intro = False
        return True
