"""Talk with Signal libraries that are not ours, and write down what was said: `python record.py DIRECTORY`.

DIRECTORY is a scratch directory outside the project in which npm has installed `libsignal@6.0.0`, `baileys@7.0.0-rc14`
and `@signalapp/libsignal-client@0.42.0`, and in which `peer-go` is peer.go, built with go.mau.fi/libsignal. Each
recording holds our keys, every random key pair that we drew, and both sides' messages: with the same draws, our side
must write the same bytes and read the same texts again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

from simulator.curve import KeyPair
from simulator.signal import PreKeyBundle, SignalState

HERE = Path(__file__).parent
THEM = "theirs"
GROUP = "group@g.us"


def text(data: bytes) -> str:
    return b64encode(data).decode()


class Peer:
    """A library behind peer.mjs or peer.go."""

    def __init__(self, library: str, directory: Path) -> None:
        command = [str(directory / "peer-go")] if library == "go" else ["node", str(HERE / "peer.mjs"), library]
        self.process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, verb: str, **fields: Any) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps({"do": verb, **fields}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{verb}: {answer['error']}")
        return answer

    def close(self) -> None:
        self.process.communicate(timeout=10)


def draw_and_note(drawn: list[str]) -> Callable[[], KeyPair]:
    generate = KeyPair.generate

    def draw() -> KeyPair:
        pair = generate()
        drawn.append(text(pair.private))
        return pair

    return draw


class Pairwise:
    """One conversation between our state and a peer; `said` holds every step in the order in which our side took it."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.ours = SignalState.generate(2)
        self.state = json.loads(self.ours.to_json())
        self.said: list[dict[str, Any]] = []
        self.count = 0

    def we_start(self, prekey: int | None) -> None:
        bundle = self.peer.ask("bundle", prekey=prekey)
        self.ours.start_session(THEM, PreKeyBundle(**{key: read(value) for key, value in bundle.items()}))
        self.said.append({"do": "start", "bundle": bundle})

    def they_start(self, prekey: int | None) -> None:
        bundle = asdict(self.ours.bundle().with_prekey(prekey))
        self.peer.ask("start", bundle={key: write(value) for key, value in bundle.items()})

    def we_write(self) -> dict[str, Any]:
        plaintext = self.plaintext()
        kind, ciphertext = self.ours.encrypt(THEM, plaintext)
        step = {"do": "write", "plaintext": text(plaintext), "type": kind, "ciphertext": text(ciphertext)}
        self.said.append(step)
        return step

    def they_read(self, step: dict[str, Any]) -> None:
        answer = self.peer.ask("decrypt", type=step["type"], ciphertext=step["ciphertext"])
        assert answer["plaintext"] == step["plaintext"], "the peer read something else"

    def they_write(self) -> dict[str, Any]:
        plaintext = text(self.plaintext())
        return {"do": "read", "plaintext": plaintext, **self.peer.ask("encrypt", plaintext=plaintext)}

    def we_read(self, step: dict[str, Any]) -> None:
        plaintext = self.ours.decrypt(THEM, step["type"], b64decode(step["ciphertext"]))
        assert text(plaintext) == step["plaintext"], "we read something else"
        self.said.append(step)

    def plaintext(self) -> bytes:
        """Of 0, 1, 2 … 40 bytes, so that all paddings occur."""
        self.count += 1
        return bytes(range(self.count - 1))

    def talk(self) -> None:
        """Turns of one to three messages a side; within a turn the last arrives first, and one comes a turn late."""
        for turn in range(4):
            ours = [self.we_write() for _ in range(turn % 3 + 1)]
            for step in reversed(ours):
                self.they_read(step)
            theirs = [self.they_write() for _ in range(3)]
            for step in (theirs[2], theirs[0]):
                self.we_read(step)
            self.they_read(self.we_write())
            self.we_read(self.they_write())
            self.we_read(theirs[1])


def read(value: Any) -> Any:
    return b64decode(value) if isinstance(value, str) else value


def write(value: Any) -> Any:
    return text(value) if isinstance(value, bytes) else value


def we_begin(talk: Pairwise) -> None:
    talk.we_start(21)
    first, second = talk.we_write(), talk.we_write()
    talk.they_read(second)
    talk.they_read(first)
    talk.we_read(talk.they_write())
    talk.talk()


def we_begin_without_a_prekey(talk: Pairwise) -> None:
    talk.we_start(None)
    talk.they_read(talk.we_write())
    talk.talk()


def they_begin(talk: Pairwise) -> None:
    talk.they_start(1)
    first, second = talk.they_write(), talk.they_write()
    talk.we_read(second)
    talk.we_read(first)
    talk.talk()


def they_begin_without_a_prekey(talk: Pairwise) -> None:
    talk.they_start(None)
    talk.we_read(talk.they_write())
    talk.talk()


def both_begin(talk: Pairwise) -> None:
    talk.they_start(2)
    talk.we_start(22)
    ours, theirs = [talk.we_write(), talk.we_write()], [talk.they_write(), talk.they_write()]
    for step in ours:
        talk.they_read(step)
    for step in theirs:
        talk.we_read(step)
    talk.talk()


def we_begin_again_and_an_old_message_comes_late(talk: Pairwise) -> None:
    they_begin(talk)
    late = talk.they_write()
    talk.we_start(22)
    talk.they_read(talk.we_write())
    talk.we_read(late)
    talk.talk()


ONE_SESSION = [we_begin, we_begin_without_a_prekey, they_begin, they_begin_without_a_prekey]
TWO_SESSIONS = [both_begin, we_begin_again_and_an_old_message_comes_late]
#: npm libsignal spoils a session by trying a message of another one on it: two of its own kind lose each other as well.
CONVERSATIONS = {
    "libsignal": ONE_SESSION,
    "libsignal-client": ONE_SESSION + TWO_SESSIONS,
    "go": ONE_SESSION + TWO_SESSIONS,
}
ORIGINS = {
    "libsignal": "npm libsignal 6.0.0 (WhiskeySockets/libsignal-node, the one that Baileys uses)",
    "libsignal-client": "npm @signalapp/libsignal-client 0.42.0 (Signal's own, in Rust)",
    "go": "go.mau.fi/libsignal of 2025-05-13 (the one inside whatsmeow, and so inside neonize)",
    "baileys": "npm baileys 7.0.0-rc14 (lib/Signal/Group)",
}


def record_pairwise(library: str, directory: Path, conversation: Callable[[Pairwise], None]) -> dict[str, Any]:
    peer = Peer(library, directory)
    try:
        talk = Pairwise(peer)
        drawn: list[str] = []
        with patch.object(KeyPair, "generate", draw_and_note(drawn)):
            conversation(talk)
    finally:
        peer.close()
    return {"name": conversation.__name__, "ours": talk.state, "drawn": drawn, "steps": talk.said}


def record_group(library: str, directory: Path) -> dict[str, Any]:
    """Both sides write ten messages; the reader gets them in pairs, the second of each pair first."""
    peer, ours = Peer(library, directory), SignalState.generate(0)
    ours_handed, theirs_handed = ours.create_distribution(GROUP, "ours"), peer.ask("distribution")["distribution"]
    state = json.loads(ours.to_json())
    peer.ask("process", distribution=text(ours_handed))
    ours.process_distribution(GROUP, THEM, b64decode(theirs_handed))
    written: list[dict[str, str]] = []
    received: list[dict[str, str]] = []
    for number in range(10):
        plaintext = text(bytes(range(number)))
        ciphertext = text(ours.encrypt_group(GROUP, "ours", bytes(range(number))))
        written.append({"plaintext": plaintext, "ciphertext": ciphertext})
        received.append({"plaintext": plaintext, **peer.ask("encrypt", plaintext=plaintext)})
    for number in (1, 0, 3, 2, 5, 4, 7, 6, 9, 8):
        assert (
            peer.ask("decrypt", ciphertext=written[number]["ciphertext"])["plaintext"] == written[number]["plaintext"]
        )
        plaintext = text(ours.decrypt_group(GROUP, THEM, b64decode(received[number]["ciphertext"])))
        assert plaintext == received[number]["plaintext"]
    late = peer.ask("distribution")["distribution"]
    joined = {"plaintext": text(b"late"), **peer.ask("encrypt", plaintext=text(b"late"))}
    peer.close()
    return {
        "ours": state,
        "our_distribution": text(ours_handed),
        "their_distribution": theirs_handed,
        "written": written,
        "received": received,
        "their_late_distribution": late,
        "received_late": joined,
    }


def main(directory: Path) -> None:
    for library, conversations in CONVERSATIONS.items():
        talks = [record_pairwise(library, directory, conversation) for conversation in conversations]
        save(library, library, {"conversations": talks})
    for library in ("baileys", "go"):
        save(f"{library}-group", library, record_group(library, directory))


def save(name: str, library: str, value: dict[str, Any]) -> None:
    found = {"origin": f"Recorded by record.py with {ORIGINS[library]}.", **value}
    (HERE / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
