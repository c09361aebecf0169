"""Binary XML: the stanzas of WhatsApp and their encoding (dictionary version 3); no I/O."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path

USER_SERVER = "s.whatsapp.net"
LID_SERVER = "lid"
GROUP_SERVER = "g.us"

LIST_EMPTY = 0
DICTIONARY_0 = 236
AD_JID = 247
LIST_8 = 248
LIST_16 = 249
JID_PAIR = 250
HEX_8 = 251
BINARY_8 = 252
BINARY_20 = 253
BINARY_32 = 254
NIBBLE_8 = 255
PACKED_MAX = 127
COMPRESSED = 2
LARGEST_STANZA = 1 << 26

NIBBLES = "0123456789-."
HEX_DIGITS = "0123456789ABCDEF"
PACKINGS = ((NIBBLE_8, NIBBLES, re.compile(r"[0-9.-]+")), (HEX_8, HEX_DIGITS, re.compile(r"[0-9A-F]+")))
AD_DOMAINS = {0: USER_SERVER, 1: LID_SERVER}

_TABLES = json.loads((Path(__file__).parent / "tokens.json").read_text("utf-8"))
SINGLE: list[str] = _TABLES["single"]
DOUBLE: list[list[str]] = _TABLES["double"]
SINGLE_INDEX = {token: index for index, token in enumerate(SINGLE) if token}
DOUBLE_INDEX = {token: (table, index) for table, tokens in enumerate(DOUBLE) for index, token in enumerate(tokens)}


class NodeError(Exception):
    """Bytes that are no stanza, or a stanza that cannot be bytes."""


@dataclass(frozen=True, order=True)
class Jid:
    """An address: a user's device ("5511…:3@s.whatsapp.net"), a user (device 0), a group, or a bare server (no user)."""

    user: str
    server: str
    device: int = 0

    def __str__(self) -> str:
        device = f":{self.device}" if self.device else ""
        return f"{self.user}{device}@{self.server}" if self.user else self.server

    @classmethod
    def parse(cls, text: str) -> Jid:
        """Jid.parse("5511…:3@lid") == Jid("5511…", "lid", 3); NodeError for text that is no address."""
        match = re.fullmatch(r"(?:(?P<user>[^@:]+)(?::(?P<device>\d{1,3}))?@)?(?P<server>[a-z.]+)", text)
        if match is None:
            raise NodeError("the text is no address")
        return cls(match["user"] or "", match["server"], int(match["device"] or 0))

    @property
    def bare(self) -> Jid:
        """The user's address, without the device."""
        return Jid(self.user, self.server)

    @property
    def is_user(self) -> bool:
        return bool(self.user) and self.server in AD_DOMAINS.values()


SERVER = Jid("", USER_SERVER)

Attr = str | Jid
Content = bytes | str | list["Node"] | None


@dataclass
class Node:
    """A stanza or a part of one.

    `content` is bytes, a list of nodes, or nothing. Text may be given; it comes back as str only where the dictionary or a packing holds
    it, else as bytes: the wire does not tell them apart. An attribute that holds an address is a Jid on the wire and here.
    """

    tag: str
    attrs: dict[str, Attr] = field(default_factory=dict)
    content: Content = None

    @property
    def children(self) -> list[Node]:
        return self.content if isinstance(self.content, list) else []

    @property
    def data(self) -> bytes:
        """The content as bytes; empty where there is none."""
        if isinstance(self.content, str):
            return self.content.encode()
        return self.content if isinstance(self.content, bytes) else b""

    def child(self, *path: str) -> Node | None:
        """The first descendant along `path`, or None."""
        here: Node | None = self
        for tag in path:
            here = next((c for c in here.children if c.tag == tag), None) if here else None
        return here

    def all(self, tag: str) -> list[Node]:
        return [child for child in self.children if child.tag == tag]

    def get(self, name: str) -> str:
        """An attribute as text; empty where there is none."""
        return str(self.attrs.get(name, ""))

    def jid(self, name: str) -> Jid | None:
        """An attribute as an address; None where it is absent or is not one."""
        value = self.attrs.get(name)
        if isinstance(value, str):
            try:
                return Jid.parse(value)
            except NodeError:
                return None
        return value

    def with_attrs(self, **attrs: Attr) -> Node:
        return Node(self.tag, {**self.attrs, **attrs}, self.content)


def encode(node: Node) -> bytes:
    """The stanza as it stands in a frame, its leading flag byte included."""
    out = bytearray(b"\x00")
    _write_node(out, node)
    return bytes(out)


def decode(data: bytes) -> Node:
    """The stanza in a frame; NodeError where the bytes end too early, go on too long or mean nothing."""
    if not data:
        raise NodeError("the stanza is empty")
    body = _inflate(data[1:]) if data[0] & COMPRESSED else data[1:]
    cursor = _Cursor(body)
    node = cursor.node()
    if cursor.position != len(body):
        raise NodeError(f"{len(body) - cursor.position} bytes are left over behind the stanza")
    return node


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(data, LARGEST_STANZA)
    except zlib.error as error:
        raise NodeError("the compressed stanza is damaged") from error
    if not inflater.eof or inflater.unused_data:
        raise NodeError("the compressed stanza is cut short, too long, or followed by more")
    return body


def _write_node(out: bytearray, node: Node) -> None:
    _write_list_start(out, 1 + 2 * len(node.attrs) + (node.content is not None))
    _write_text(out, node.tag)
    for name, value in node.attrs.items():
        _write_text(out, name)
        _write_jid(out, value) if isinstance(value, Jid) else _write_text(out, value)
    if isinstance(node.content, list):
        _write_list_start(out, len(node.content))
        for child in node.content:
            _write_node(out, child)
    elif isinstance(node.content, str):
        _write_text(out, node.content)
    elif node.content is not None:
        _write_raw(out, node.content)


def _write_list_start(out: bytearray, size: int) -> None:
    if size == 0:
        out.append(LIST_EMPTY)
    elif size < 1 << 8:
        out += bytes((LIST_8, size))
    elif size < 1 << 16:
        out.append(LIST_16)
        out += size.to_bytes(2, "big")
    else:
        raise NodeError(f"a list of {size} is too long")


def _write_text(out: bytearray, text: str) -> None:
    if text in SINGLE_INDEX:
        out.append(SINGLE_INDEX[text])
    elif text in DOUBLE_INDEX:
        table, index = DOUBLE_INDEX[text]
        out += bytes((DICTIONARY_0 + table, index))
    else:
        for tag, digits, pattern in PACKINGS:
            if len(text) <= PACKED_MAX and pattern.fullmatch(text):
                _write_packed(out, tag, digits, text)
                return
        _write_raw(out, text.encode())


def _write_packed(out: bytearray, tag: int, digits: str, text: str) -> None:
    odd = len(text) % 2
    out += bytes((tag, (len(text) + odd) // 2 | odd << 7))
    values = [digits.index(character) for character in text] + [15] * odd
    out += bytes(high << 4 | low for high, low in zip(values[::2], values[1::2], strict=True))


def _write_jid(out: bytearray, jid: Jid) -> None:
    domain = next((number for number, server in AD_DOMAINS.items() if server == jid.server), None)
    if jid.device and domain is not None:
        out += bytes((AD_JID, domain, jid.device))
        _write_text(out, jid.user)
        return
    out.append(JID_PAIR)
    if jid.user:
        _write_text(out, jid.user)
    else:
        out.append(LIST_EMPTY)
    _write_text(out, jid.server)


def _write_raw(out: bytearray, data: bytes) -> None:
    if len(data) < 1 << 8:
        out += bytes((BINARY_8, len(data)))
    elif len(data) < 1 << 20:
        out.append(BINARY_20)
        out += len(data).to_bytes(3, "big")
    else:
        out.append(BINARY_32)
        out += len(data).to_bytes(4, "big")
    out += data


class _Cursor:
    """A position in a stanza; `take` is the only reader."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._data):
            raise NodeError(f"the stanza ends at {len(self._data)}, {count} bytes were wanted at {self.position}")
        taken, self.position = self._data[self.position : end], end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def node(self) -> Node:
        size = self._list_size(self.number(1))
        if size == 0:
            raise NodeError(f"an empty list at {self.position} stands where a stanza should")
        tag = self.text()
        attrs: dict[str, Attr] = {}
        for _ in range((size - 1) // 2):
            name, value = self.text(), self._value(self.number(1), text=True)
            attrs[name] = value if isinstance(value, str | Jid) else ""
        return Node(tag, attrs, self._content() if size % 2 == 0 else None)

    def text(self) -> str:
        value = self._value(self.number(1), text=True)
        if not isinstance(value, str):
            raise NodeError(f"no text at {self.position}")
        return value

    def _content(self) -> Content:
        tag = self.number(1)
        if tag in (LIST_EMPTY, LIST_8, LIST_16):
            return [self.node() for _ in range(self._list_size(tag))]
        value = self._value(tag, text=False)
        return str(value) if isinstance(value, Jid) else value

    def _value(self, tag: int, *, text: bool) -> str | bytes | Jid | None:
        match tag:
            case 0:
                return None
            case 247:
                return self._ad_jid()
            case 250:
                user = self._value(self.number(1), text=True)
                return Jid(user if isinstance(user, str) else "", self.text())
            case 251 | 255:
                return self._packed(HEX_DIGITS if tag == HEX_8 else NIBBLES)
            case 252 | 253 | 254:
                raw = self.take(self.number({BINARY_8: 1, BINARY_20: 3, BINARY_32: 4}[tag]))
                return self._utf8(raw) if text else raw
            case _:
                return self._token(tag)

    def _utf8(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise NodeError(f"the text before {self.position} is not UTF-8") from error

    def _token(self, tag: int) -> str:
        if 0 < tag < len(SINGLE):
            return SINGLE[tag]
        if DICTIONARY_0 <= tag < DICTIONARY_0 + len(DOUBLE):
            return DOUBLE[tag - DICTIONARY_0][self.number(1)]
        raise NodeError(f"tag {tag} at {self.position} means nothing")

    def _ad_jid(self) -> Jid:
        domain, device = self.number(1), self.number(1)
        if domain not in AD_DOMAINS:
            raise NodeError(f"address domain {domain} at {self.position} is not known")
        return Jid(self.text(), AD_DOMAINS[domain], device)

    def _packed(self, digits: str) -> str:
        header = self.number(1)
        values = [half for byte in self.take(header & 0x7F) for half in (byte >> 4, byte & 15)]
        if header & 0x80 and (not values or values.pop() != 15):
            raise NodeError(f"packed text before {self.position} is badly filled up")
        if any(value >= len(digits) for value in values):
            raise NodeError(f"packed text before {self.position} holds a digit that is none")
        return "".join(digits[value] for value in values)

    def _list_size(self, tag: int) -> int:
        if tag == LIST_EMPTY:
            return 0
        if tag not in (LIST_8, LIST_16):
            raise NodeError(f"tag {tag} at {self.position} begins no list")
        return self.number(1 if tag == LIST_8 else 2)
