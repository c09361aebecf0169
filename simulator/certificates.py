"""The TLS certificates of the simulator: its own authority, and one certificate for WhatsApp's names, kept in the state directory."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = (
    "web.whatsapp.com",
    "*.web.whatsapp.com",
    "*.whatsapp.com",
    "*.whatsapp.net",
    "*.cdn.whatsapp.net",
    "localhost",
)
LIFE = timedelta(days=3650)
CA_FILE, SERVER_FILE = "ca.pem", "server.pem"


def tls_context(directory: Path) -> ssl.SSLContext:
    """The server's side of TLS; makes the certificates on first use."""
    if not (directory / SERVER_FILE).exists():
        _make(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / SERVER_FILE)
    return context


def _make(directory: Path) -> None:
    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Oxy simulator")])
    ca = _builder(ca_name, ca_name, ca_key.public_key()).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    ca_certificate = ca.sign(ca_key, hashes.SHA256())
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in NAMES]
    names.append(x509.IPAddress(ip_address("127.0.0.1")))
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web.whatsapp.com")])
    server = _builder(server_name, ca_name, server_key.public_key()).add_extension(
        x509.SubjectAlternativeName(names), critical=False
    )
    server_certificate = server.sign(ca_key, hashes.SHA256())
    (directory / CA_FILE).write_bytes(_pem(ca_certificate))
    # The authority's key is thrown away: nothing else will ever be signed with it.
    private = server_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = directory / SERVER_FILE
    path.touch(mode=0o600)
    path.write_bytes(private + _pem(server_certificate))


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    return builder.not_valid_before(start).not_valid_after(start + LIFE)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
