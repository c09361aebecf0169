"""HTTP requests to addresses that somebody typed in: never to our own network, never for longer or larger than said.

The guard is where the connection is made. A name is resolved once, every address it has is checked, and the connection goes to one of
the checked addresses; the name stays in `Host` and in the TLS handshake. So a name that resolves to something else a moment later
changes nothing, and every hop of a redirect would pass the same door. No proxy is used: behind one, the name would be resolved
where nobody checks.
"""

from __future__ import annotations

import contextlib
import ipaddress
import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any

import httpcore
import httpx
from django.conf import settings
from django.utils.translation import gettext

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Seconds for a whole attempt, and for its connection alone.
TOTAL_TIMEOUT, CONNECT_TIMEOUT = 10.0, 5.0
#: How much of an answer's body is read.
BODY_LIMIT = 64 * 1024
#: Seconds that a web request may wait for a name to be resolved.
LOOKUP_TIMEOUT = 2.0
#: Longest address that is taken.
URL_LIMIT = 500

#: A cloud's metadata and agent services: public or private by their numbers, and nobody's to call from here.
_METADATA = frozenset(ipaddress.ip_address(text) for text in ("168.63.129.16", "fd00:ec2::254", "100.100.100.200"))
#: What only a setting opens, loopback aside.
_PRIVATE = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
#: No place to send to, though Python takes parts of some for global.
_NOWHERE = tuple(ipaddress.ip_network(text) for text in ("0.0.0.0/8", "192.0.0.0/24", "240.0.0.0/4", "fec0::/10"))
#: IPv6 prefixes that carry an IPv4 address in their last four bytes (RFC 6052, RFC 8215).
_NAT64 = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48"))
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "home.arpa")


class Refused(Exception):
    """An address that is not connected to; the text is for people, and names no address of ours."""


class Failed(Exception):
    """A request that got no whole answer; the text is a sentence for people."""


@dataclass(frozen=True)
class Answer:
    """What came back: the status, and the beginning of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def is_allowed(address: Address, *, private: bool) -> bool:
    """Whether a connection may go there. `private` opens private networks and loopback; link-local and metadata stay closed."""
    inner = _embedded(address)
    if inner is not None:
        return is_allowed(inner, private=private)
    if address in _METADATA or address.is_multicast or address.is_link_local or _within(address, _NOWHERE):
        return False
    if address.is_loopback or _within(address, _PRIVATE):
        return private
    return address.is_global


def _within(address: Address, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(address in network for network in networks)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address to which an IPv6 one leads."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if _within(address, _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None)


def resolve(host: str, port: int, timeout: float) -> list[str]:
    """The addresses of a name, all of them checked; raises `Refused` if any may not be reached, `Failed` if there is none."""
    texts = _lookup(host, port, timeout)
    if not texts:
        raise Failed(gettext("The name of the host cannot be found."))
    for text in texts:
        if not is_allowed(ipaddress.ip_address(text), private=settings.OXY_WEBHOOK_ALLOW_PRIVATE):
            raise Refused(_private_sentence())
    return texts


def _lookup(host: str, port: int, timeout: float) -> list[str]:
    """The system's answer, or none in time. It takes no time limit itself, so a thread waits for it, and is left alone if need be."""
    answer: queue.SimpleQueue[list[str]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        answer.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))

    threading.Thread(target=ask, name="lookup", daemon=True).start()
    try:
        return answer.get(timeout=timeout)
    except queue.Empty:
        return []


def _private_sentence() -> str:
    return gettext(
        "This address leads to a private or local network, where Oxy sends nothing unless OXY_WEBHOOK_ALLOW_PRIVATE is set."
    )


def check_url(url: str, *, limit: int = URL_LIMIT) -> str:
    """The URL as it will be called; raises `Refused` with a sentence where it cannot or may not be.

    A name that cannot be resolved now is taken: names are checked again at each connection.
    """
    try:
        parsed = httpx.URL(url)
        host, port = parsed.raw_host.decode("ascii"), parsed.port
    except (httpx.InvalidURL, UnicodeError, ValueError):
        raise Refused(gettext("This is not an address that can be called.")) from None
    if len(str(parsed)) > limit:  # as it is stored, with what is not ASCII escaped
        raise Refused(gettext("This address is too long: %(n)d characters at most.") % {"n": limit})
    if parsed.scheme not in ("http", "https") or not host:
        raise Refused(gettext("An address begins with https:// or http:// and names a host."))
    if parsed.userinfo:
        raise Refused(gettext("An address must not hold a user name or a password."))
    if parsed.fragment:
        raise Refused(gettext("An address must not hold a fragment (#…)."))
    _check_host(host, port or (443 if parsed.scheme == "https" else 80))
    return str(parsed)


def _check_host(host: str, port: int) -> None:
    name = host.rstrip(".").lower()
    local = any(name == suffix or name.endswith(f".{suffix}") for suffix in _LOCAL_NAMES)
    if local and not settings.OXY_WEBHOOK_ALLOW_PRIVATE:
        raise Refused(_private_sentence())
    with contextlib.suppress(Failed):
        resolve(host, port, LOOKUP_TIMEOUT)


class _Deadline:
    """A time by which everything ends, and the timeouts that follow from it."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def cap(self, timeout: float | None) -> float:
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("deadline")
        return left if timeout is None else min(timeout, left)


class _GuardedStream(httpcore.NetworkStream):
    """A connection whose every step is held to the deadline: an answer that drips in can't outlast it."""

    def __init__(self, stream: httpcore.NetworkStream, owner: Client) -> None:
        self._stream, self._owner = stream, owner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._owner.deadline.cap(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._owner.deadline.cap(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._owner.deadline.cap(timeout))
        return _GuardedStream(secured, self._owner)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _GuardedBackend(httpcore.NetworkBackend):
    """Makes connections for httpcore, to checked addresses alone."""

    def __init__(self, owner: Client) -> None:
        self._owner, self._plain = owner, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        error: Exception = Failed(gettext("The name of the host cannot be found."))
        cap = self._owner.deadline.cap
        for address in resolve(host, port, cap(timeout)):
            try:
                stream = self._plain.connect_tcp(address, port, cap(timeout), local_address, socket_options)
                return _GuardedStream(stream, self._owner)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                error = failure
        raise error


class Client:
    """Requests of one thread, one after the other; connections are kept between them. Redirects are answers, not followed."""

    def __init__(self, *, total_timeout: float = TOTAL_TIMEOUT) -> None:
        self._total = total_timeout
        self.deadline = _Deadline(total_timeout)
        self._pool = httpcore.ConnectionPool(
            ssl_context=_ssl_context(), network_backend=_GuardedBackend(self), max_connections=4, keepalive_expiry=5.0
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.close()

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST; raises `Refused` or `Failed`, each with a sentence."""
        return self.request("POST", url, headers, body)

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"", *, limit: int = BODY_LIMIT
    ) -> Answer:
        """One request within the time limit; of the answer's body, at most `limit` bytes are read."""
        self.deadline = _Deadline(self._total)
        parsed = httpx.URL(url)
        target = httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
        sent = {"Host": parsed.netloc.decode("ascii"), "Content-Length": str(len(body)), "Accept": "*/*", **headers}
        timeouts = {"connect": CONNECT_TIMEOUT, "read": self._total, "write": self._total, "pool": CONNECT_TIMEOUT}
        try:
            with self._pool.stream(
                method, target, headers=list(sent.items()), content=body, extensions={"timeout": timeouts}
            ) as response:
                read = _read(response, limit)
                names = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
                return Answer(response.status, names, read)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, ssl.SSLError) as error:
            raise Failed(_sentence(error)) from None


def _read(response: httpcore.Response, limit: int) -> bytes:
    read = bytearray()
    for chunk in response.iter_stream():
        read += chunk
        if len(read) >= limit:
            break
    return bytes(read[:limit])


def _sentence(error: Exception) -> str:
    """What went wrong, in words; the library's own text can quote what a stranger sent."""
    if isinstance(error, httpcore.ConnectTimeout):
        return gettext("The host did not accept the connection in time.")
    if isinstance(error, httpcore.TimeoutException):
        return gettext("The answer did not come in time.")
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return gettext("The certificate of the host is not valid: %(why)s.") % {"why": cause.verify_message}
    if isinstance(cause, ssl.SSLError):
        return gettext("The host does not speak TLS as it should.")
    if isinstance(error, httpcore.ConnectError):
        return gettext("The host does not accept connections.")
    if isinstance(error, httpcore.ProtocolError):
        return gettext("The answer is not HTTP.")
    return gettext("The connection broke off.")


@lru_cache(maxsize=1)
def _ssl_context() -> ssl.SSLContext:
    """Reading the certificates takes 20 ms, so once a process. SSL_CERT_FILE is honoured."""
    return httpx.create_ssl_context()
