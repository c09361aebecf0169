"""The smallest files of each kind that WhatsApp sends, for tests: real in their first bytes."""

from __future__ import annotations

import base64
import struct
import zlib


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


#: One red pixel.
PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    + _chunk(b"IEND", b"")
)
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + bytes(64) + bytes.fromhex("ffd9")
PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"
OGG = b"OggS\0\2" + bytes(20) + b"\1\x13OpusHead\1\2" + bytes(64)
MP3 = b"ID3\4\0\0\0\0\0\0" + bytes(64)
MP4 = struct.pack(">I", 24) + b"ftypisom" + bytes(4) + b"isomiso2" + bytes(64)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
