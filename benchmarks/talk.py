"""Sessions in pairs that talk all the time, and a record of what the simulator saw of it."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from django.db import Error, connections

from benchmarks.installation import eventually
from sessions_app.lifecycle import Command, Status
from sessions_app.models import WhatsAppSession
from simulator import Handset, Simulator
from simulator.transcript import Entry

FIRST_NUMBER = 5511900000000


@dataclass
class Talker:
    """A session and its phone; `mate` is whom it talks with."""

    session: WhatsAppSession
    phone: Handset
    device: str = ""
    mate: Talker = field(init=False, repr=False)


def pair_up(sim: Simulator, count: int) -> list[Talker]:
    """Sessions that are linked and connected, the first with the second, the third with the fourth, and so on."""
    talkers = []
    for number in range(count):
        session = WhatsAppSession.objects.create(session_id=f"s{number:02}", name=f"Session {number:02}")
        talkers.append(Talker(session, sim.phone(str(FIRST_NUMBER + number), name=f"Phone {number:02}")))
    for one, two in zip(talkers[::2], talkers[1::2], strict=True):
        one.mate, two.mate = two, one
    for talker in talkers:
        talker.session.request(Command.START, by="benchmark")
        talker.device = talker.phone.scan(eventually(lambda t=talker: _code(t), "a QR code"))
    eventually(lambda: all_connected(count), "all sessions connected", 120)
    return talkers


def _code(talker: Talker) -> str:
    current = WhatsAppSession.objects.get(pk=talker.session.pk).current_round
    return str(current.code or "") if current else ""


def all_connected(count: int) -> bool:
    try:
        return WhatsAppSession.objects.filter(status=Status.CONNECTED).count() == count
    except Error:
        connections.close_all()
        return False


class Talk:
    """Has random sessions write to their mates, `rate` texts a second in all, until it is ended."""

    def __init__(self, talkers: list[Talker], rate: float, seed: int) -> None:
        self.accepted: set[str] = set()
        self.refused = 0
        self._talkers, self._rate = talkers, rate
        self._random = random.Random(f"talk {seed}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="talk")
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        number, due = 0, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            # After a pause of the database the talk goes on, and does not catch up.
            due = max(due + self._random.expovariate(self._rate), time.monotonic() - 1)
            number += 1
            talker = self._random.choice(self._talkers)
            text = f"{talker.session.session_id} says {number}"
            try:
                talker.session.send_text(talker.mate.phone.number, text, by="benchmark")
                self.accepted.add(text)
            except Error:
                # Whoever asked is told: that message was never taken on.
                self.refused += 1
                connections.close_all()
        connections.close_all()


class Observer:
    """What the simulator saw, kept for as long as the run lasts: the transcript itself forgets."""

    def __init__(self, sim: Simulator) -> None:
        #: (message id, device) → when it went out to that device and what the device answered, in order (`time.time`).
        self.stories: dict[tuple[str, str], list[tuple[float, str]]] = {}
        self.pairing_offers = 0
        self._fresh: deque[Entry] = deque()
        self._sim = sim
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._collect, name="collect", daemon=True),
            threading.Thread(target=self._read, name="read", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        eventually(lambda: not self._fresh, "the transcript is read")
        self._stop.set()
        self._threads[1].join(5)

    def _collect(self) -> None:
        # Called once with each entry, in the simulator's way: so nothing but a note is made here.
        self._sim.transcript.wait_for(lambda entry: bool(self._fresh.append(entry)), timeout=1e6)

    def _read(self) -> None:
        while not self._stop.is_set():
            if not self._fresh:
                self._stop.wait(0.2)
                continue
            self._note(self._fresh.popleft())

    def _note(self, entry: Entry) -> None:
        node = entry.node
        if entry.direction == "out" and node.tag == "iq" and node.child("pair-device"):
            self.pairing_offers += 1
        elif entry.direction == "out" and node.tag == "message":
            self._tell(entry, node.get("id"), "late" if node.get("offline") else "out")
        elif entry.direction == "in" and node.tag == "receipt":
            listed = node.child("list")
            for message_id in [node.get("id"), *(item.get("id") for item in (listed.children if listed else []))]:
                self._tell(entry, message_id, node.get("type") or "delivered")

    def _tell(self, entry: Entry, message_id: str, what: str) -> None:
        self.stories.setdefault((message_id, entry.device), []).append((entry.at, what))
