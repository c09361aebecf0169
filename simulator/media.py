"""Files on their way: encrypted as phones do it, and kept by a server that takes only what fits its hash, and gives it to who names that.

A client encrypts under a key of its own making and uploads; the message carries key and path to the receiver. The server never sees more.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from pathlib import Path
from typing import Any

from simulator import contents
from simulator.errors import PhoneError
from simulator.http import Refused, Request, Response
from simulator.proto import Message
from simulator.signal import kdf

#: What the server tells clients to use.
HOST, AUTH = "mmg.whatsapp.net", "simulated"
#: The largest file, encrypted.
LIMIT = 64 * 1024 * 1024
_MAC = 10
_PATH = "/v/t62.7118-24/"


class MediaServer:
    """What was uploaded, as files named by their SHA-256; `handle` answers requests."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, data: bytes) -> str:
        """Keep an encrypted file; its direct path."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        name = hashlib.sha256(data).hexdigest()
        (self._directory / name).write_bytes(data)
        return f"{_PATH}{name}?ccb=11-4&oh=01_simulated&oe=7FFFFFFF"

    def get(self, name: str) -> bytes | None:
        path = self._directory / name
        return path.read_bytes() if name.isalnum() and path.is_file() else None

    def forget(self) -> None:
        """Throw everything away, as WhatsApp does after some weeks."""
        for path in self._directory.glob("*"):
            path.unlink()

    async def handle(self, request: Request) -> Response:
        parts = request.path.strip("/").split("/")
        if request.method == "POST" and len(parts) == 3 and parts[:2] in [["mms", kind] for kind in contents.MEDIA]:
            return self._upload(request, parts[2])
        if request.method == "GET" and request.path.startswith(_PATH):
            return self._download(request, request.path.removeprefix(_PATH))
        raise Refused(404, "not-found", "There is nothing here.")

    def _upload(self, request: Request, token: str) -> Response:
        if request.query.get("auth") != AUTH:
            raise Refused(401, "unauthorized", "This is not what the media connection was told.")
        if token != request.query.get("token") or token != _token(hashlib.sha256(request.body).digest()):
            raise Refused(400, "wrong-hash", "The file is not what its hash says.")
        path = self.put(request.body)
        return Response(200, json.dumps({"url": f"https://{HOST}{path}", "direct_path": path, "handle": ""}).encode())

    def _download(self, request: Request, name: str) -> Response:
        data = self.get(name)
        if data is None:
            raise Refused(404, "not-found", "There is no such file any more.")
        if request.query.get("hash") != _token(bytes.fromhex(name)):
            raise Refused(403, "wrong-hash", "The file does not have this hash.")
        return Response(200, data, "application/octet-stream")


def _token(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).decode()


# --- what a phone does -------------------------------------------------------------------


def attach(kind: str, data: bytes, mimetype: str, caption: str, server: MediaServer, name: str = "") -> Any:
    """A message with this file, which is on the server then."""
    key = secrets.token_bytes(32)
    sealed = encrypt(kind, key, data)
    message = Message()
    part = getattr(message, kind)
    part.mimetype, part.mediaKey, part.fileLength, part.directPath = mimetype, key, len(data), server.put(sealed)
    part.fileHash, part.encHash = hashlib.sha256(data).digest(), hashlib.sha256(sealed).digest()
    if kind == "document":
        part.fileName = part.title = name
    if caption:
        part.caption = caption
    return message


def open_file(kind: str, content: dict[str, Any], server: MediaServer) -> bytes:
    """The file that a message speaks of (contents.py); PhoneError where it is gone, or is not what the message says."""
    name = content["directPath"].removeprefix(_PATH).split("?")[0]
    sealed = server.get(name)
    if sealed is None or hashlib.sha256(sealed).hexdigest() != content["encHash"]:
        raise PhoneError("no-such-file", "The server has no such file.")
    data = decrypt(kind, bytes.fromhex(content["mediaKey"]), sealed)
    if hashlib.sha256(data).hexdigest() != content["fileHash"] or len(data) != content["fileLength"]:
        raise PhoneError("wrong-file", "The file is not the one that the message speaks of.")
    return data


def encrypt(kind: str, key: bytes, data: bytes) -> bytes:
    iv, cipher_key, mac_key = _keys(kind, key)
    ciphertext = kdf.encrypt_cbc(cipher_key, iv, data)
    return ciphertext + kdf.mac(mac_key, iv + ciphertext)[:_MAC]


def decrypt(kind: str, key: bytes, sealed: bytes) -> bytes:
    iv, cipher_key, mac_key = _keys(kind, key)
    ciphertext, mac = sealed[:-_MAC], sealed[-_MAC:]
    if not hmac.compare_digest(kdf.mac(mac_key, iv + ciphertext)[:_MAC], mac):
        raise PhoneError("wrong-key", "The file was not made with this key.")
    return kdf.decrypt_cbc(cipher_key, iv, ciphertext)


def _keys(kind: str, key: bytes) -> tuple[bytes, bytes, bytes]:
    """(iv, cipher key, mac key), as whatsmeow's download.go derives them."""
    made = kdf.derive(key, salt=None, label=f"WhatsApp {kind.title()} Keys".encode(), size=112)
    return made[:16], made[16:48], made[48:80]
