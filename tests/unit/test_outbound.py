"""The guard of outgoing requests: which addresses are open, and that nothing outlasts or outgrows its limit."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sessions_app import outbound
from tests.receivers import receiver


@pytest.fixture
def private(settings: Any) -> None:
    settings.OXY_WEBHOOK_ALLOW_PRIVATE = True


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """What each name resolves to, time after time; the last answer stays."""
    known: dict[str, list[list[str]]] = {}
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        answers = known.get(host)
        if answers is None:
            return real(host, port, *args, **kwargs)
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for address in addresses for entry in real(address, port, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


CLOSED_ALWAYS = [
    "0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.1.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
    "192.0.0.192", "168.63.129.16", "100.100.100.200", "192.0.2.1", "198.18.0.1",
    "::", "fe80::1", "fe80::1%eth0", "ff02::1", "fec0::1", "fd00:ec2::254", "2001:db8::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
]  # fmt: skip
OPEN_BY_SETTING = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255",
    "::1", "fd12:3456::1", "fc00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::c0a8:1", "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
]  # fmt: skip
OPEN = [
    "93.184.216.34",
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "64:ff9b::808:808",
    "::ffff:8.8.8.8",
]


@pytest.mark.parametrize("text", CLOSED_ALWAYS)
def test_no_setting_opens_metadata_link_local_multicast_and_nowhere(text):
    address = ipaddress.ip_address(text)
    assert not outbound.is_allowed(address, private=False)
    assert not outbound.is_allowed(address, private=True)


@pytest.mark.parametrize("text", OPEN_BY_SETTING)
def test_a_setting_opens_private_networks_and_loopback(text):
    address = ipaddress.ip_address(text)
    assert not outbound.is_allowed(address, private=False)
    assert outbound.is_allowed(address, private=True)


@pytest.mark.parametrize("text", OPEN)
def test_public_addresses_are_open(text):
    assert outbound.is_allowed(ipaddress.ip_address(text), private=False)


def test_a_name_with_one_private_address_among_public_ones_is_refused(names):
    names["two.example"] = [["93.184.216.34", "10.0.0.1"]]
    with pytest.raises(outbound.Refused):
        outbound.check_url("https://two.example/")


def test_a_name_that_resolves_to_another_address_a_moment_later_gets_no_connection_there(names):
    with receiver() as hook:
        port = hook.url.split(":")[2].split("/")[0]
        names["rebind.example"] = [["93.184.216.34"], ["127.0.0.1"]]
        url = outbound.check_url(f"http://rebind.example:{port}/hook")
        with outbound.Client() as client, pytest.raises(outbound.Refused):
            client.post(url, {}, b"{}")
        assert not hook.calls


def test_the_name_is_resolved_once_a_connection_and_kept_in_the_host_header(names, private):
    with receiver() as hook:
        port = hook.url.split(":")[2].split("/")[0]
        names["once.example"] = [["127.0.0.1"], ["10.255.255.1"]]
        with outbound.Client(total_timeout=3) as client:
            assert client.post(f"http://once.example:{port}/hook", {}, b"{}").status == 204
        assert hook.calls[0].headers["host"] == f"once.example:{port}"


@pytest.mark.parametrize(
    "name", ["localhost", "a.localhost", "printer.local", "metadata.google.internal", "LOCALHOST."]
)
def test_local_names_are_refused_whatever_they_resolve_to(name, names):
    names[name] = [["93.184.216.34"]]
    with pytest.raises(outbound.Refused):
        outbound.check_url(f"http://{name}/")


def test_a_name_that_nobody_knows_now_is_taken_and_said_at_delivery(names):
    names["later.example"] = [[]]
    assert outbound.check_url("https://later.example/hook") == "https://later.example/hook"
    with outbound.Client() as client, pytest.raises(outbound.Failed, match="cannot be found"):
        client.post("https://later.example/hook", {}, b"")


def test_a_lookup_that_hangs_ends_in_time(monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: never.wait(30) and [])
    began = time.monotonic()
    with outbound.Client(total_timeout=0.3) as client, pytest.raises(outbound.Failed):
        client.post("https://slow.example/", {}, b"")
    assert time.monotonic() - began < 5
    never.set()


def test_a_proxy_of_the_environment_is_not_used(private, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with receiver() as hook, outbound.Client() as client:
        assert client.post(hook.url, {}, b"{}").status == 204


@contextmanager
def raw_server(serve: Callable[[socket.socket], None], context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server that does with each connection what it is told to; gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) if context else connection as stream:
                    serve(stream)
            except OSError:
                continue

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def take_request(connection: socket.socket) -> None:
    """Headers and body may come apart; what is left unread when a socket closes would cut the answer off."""
    taken = b""
    while not taken.endswith(b"{}"):
        taken += connection.recv(65536) or b"{}"


def drip(piece: bytes, start: bytes = b"") -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(start)
        while True:
            connection.sendall(piece)
            time.sleep(0.05)

    return serve


@pytest.mark.parametrize(
    "serve",
    [
        drip(b"X"),
        drip(b"X-A: b\r\n", b"HTTP/1.1 200 OK\r\n"),
        drip(b"x", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
    ],
)
def test_an_answer_that_drips_in_cannot_outlast_the_time_limit(private, serve):
    with raw_server(serve) as port, outbound.Client(total_timeout=0.5) as client:
        began = time.monotonic()
        with pytest.raises(outbound.Failed):
            client.post(f"http://127.0.0.1:{port}/", {}, b"{}")
        assert time.monotonic() - began < 3


def test_an_endless_body_is_read_up_to_the_limit(private):
    def serve(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with raw_server(serve) as port, outbound.Client() as client:
        answer = client.post(f"http://127.0.0.1:{port}/", {}, b"{}")
    assert (answer.status, len(answer.body)) == (200, outbound.BODY_LIMIT)


def test_what_is_not_http_is_said_in_words(private):
    with (
        raw_server(lambda connection: connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")) as port,
        outbound.Client() as client,
        pytest.raises(outbound.Failed, match="not HTTP"),
    ):
        client.post(f"http://127.0.0.1:{port}/", {}, b"{}")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for hook.example that no authority has signed."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook.example")])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hook.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = tmp_path / "cert.pem", tmp_path / "key.pem"
    pem.write_bytes(signed.public_bytes(Encoding.PEM))
    key_pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pem, key_pem


def tls_server(certificate: tuple[Path, Path], seen: list[str | None]) -> Any:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.sni_callback = lambda connection, name, whole: seen.append(name)

    def serve(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    return raw_server(serve, context)


def test_a_certificate_is_checked_against_the_name_and_not_the_address(private, names, certificate, monkeypatch):
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    monkeypatch.setattr(outbound, "_ssl_context", lambda: trusting)
    names["hook.example"] = names["other.example"] = [["127.0.0.1"]]
    seen: list[str | None] = []
    with tls_server(certificate, seen) as port:
        with outbound.Client() as client:
            assert client.post(f"https://hook.example:{port}/", {}, b"{}").body == b"ok"
        with outbound.Client() as client, pytest.raises(outbound.Failed, match="certificate"):
            client.post(f"https://other.example:{port}/", {}, b"{}")
    assert seen == ["hook.example", "other.example"]


def test_a_certificate_that_nobody_signed_is_refused_in_words(private, names, certificate):
    names["hook.example"] = [["127.0.0.1"]]
    with (
        tls_server(certificate, []) as port,
        outbound.Client() as client,
        pytest.raises(outbound.Failed, match="certificate"),
    ):
        client.post(f"https://hook.example:{port}/", {}, b"{}")
