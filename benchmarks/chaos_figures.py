"""What a chaos run comes to: messages, duplicates, QR codes, hosts that met, and how long sessions were away."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.chaos_faults import Fault
from benchmarks.talk import Observer, Talk, Talker
from sessions_app.models import Message, PairingRound
from simulator import Simulator
from simulator.transcript import Span

#: A message that went to a machine so long before it was lost with its disk counts as lost with it; earlier ones do not.
LAST_MOMENTS = 10.0
#: The messages were handed to a socket of the lost machine; the clock was read in another process.
CLOCK_SLACK = 0.5
#: Their sockets stay open while they stand still, and nobody is behind them.
FROZEN = {"freeze-machine"}


@dataclass
class Verdict:
    """The counts of a run. `lost`: text → what is known about it; `with_disk`: text → seconds, see `_age_at_loss`."""

    accepted: int = 0
    refused: int = 0
    vanished: list[str] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    unfinished: list[str] = field(default_factory=list)
    lost: dict[str, str] = field(default_factory=dict)
    with_disk: dict[str, float] = field(default_factory=dict)
    arrived_though_failed: int = 0
    duplicates: list[str] = field(default_factory=list)
    unreadable_at_phones: int = 0
    qr_codes: int = 0
    pairing_rounds: int = 0
    meetings: list[str] = field(default_factory=list)
    frozen_meetings: int = 0


def judge(talk: Talk, talkers: list[Talker], observer: Observer, faults: list[Fault], sim: Simulator) -> Verdict:
    """Compare what was accepted with what arrived, from the database and from the phones."""
    verdict = Verdict(accepted=len(talk.accepted), refused=talk.refused)
    sent = {m.text: m for m in Message.objects.filter(direction="out", requested_by="benchmark")}
    verdict.vanished = sorted(talk.accepted - sent.keys())
    arrived = Counter(Message.objects.filter(direction="in").values_list("session__session_id", "text"))
    by_name = {talker.session.session_id: talker for talker in talkers}
    for text, message in sent.items():
        receiver = by_name[text.split()[0]].mate
        copies = arrived[(receiver.session.session_id, text)]
        _judge_message(verdict, message, receiver, copies, observer, faults)
    _judge_phones(verdict, talkers)
    verdict.qr_codes = observer.pairing_offers - len(talkers)
    verdict.pairing_rounds = PairingRound.objects.count() - len(talkers)
    for talker in talkers:
        _judge_meetings(verdict, talker, sim, faults)
    return verdict


def _judge_message(
    verdict: Verdict, message: Message, receiver: Talker, copies: int, observer: Observer, faults: list[Fault]
) -> None:
    verdict.statuses[message.status] += 1
    if copies > 1:
        verdict.duplicates.append(message.text)
    if message.status == "failed":
        verdict.failed[message.reason] += 1
        verdict.arrived_though_failed += bool(copies)
    elif message.status in ("queued", "sending"):
        verdict.unfinished.append(message.text)
    elif not copies:
        age = _age_at_loss(message, receiver, observer, faults)
        if age is None:
            verdict.lost[message.text] = _tell(message, receiver, observer, faults)
        else:
            verdict.with_disk[message.text] = age


def _age_at_loss(message: Message, receiver: Talker, observer: Observer, faults: list[Fault]) -> float | None:
    """Seconds from when a message reached a machine until that machine was lost with its disk; None: it was not so lost."""
    story = observer.stories.get((message.message_id, receiver.device), [])
    outs = [at for at, what in story if what in ("out", "late")]
    for fault in faults:
        hit = fault.kind == "lose-machine" and receiver.session.session_id in fault.sessions
        if hit and outs and -CLOCK_SLACK < (age := fault.wall - outs[-1]) < LAST_MOMENTS:
            return age
    return None


def _tell(message: Message, receiver: Talker, observer: Observer, faults: list[Fault]) -> str:
    """What happened to a message on its way to a session, beside the last fault before it, for whoever has to find out why."""
    story = observer.stories.get((message.message_id, receiver.device), [])
    began = message.created_at.timestamp()
    before = max((fault for fault in faults if fault.wall <= began + 1), key=lambda fault: fault.wall, default=None)
    since = f"{began - before.wall:+.2f} s of {before.kind} {before.what}" if before else "no fault"
    steps = ", ".join(f"{what} {at - began:+.2f}" for at, what in story)
    return f"{message.message_id} {message.status}, queued {since}: {steps or 'never went out'}"


def _judge_phones(verdict: Verdict, talkers: list[Talker]) -> None:
    """The peers' phones: what they could not read, and what reached them under two ids."""
    for talker in talkers:
        lines = [line for line in talker.phone.lines if line.direction == "in"]
        verdict.unreadable_at_phones += sum(line.text is None for line in lines)
        ids: dict[str, set[str]] = {}
        for line in lines:
            if line.text:
                ids.setdefault(line.text, set()).add(line.id)
        verdict.duplicates += [f"{text} (phone)" for text, seen in ids.items() if len(seen) > 1]


def _judge_meetings(verdict: Verdict, talker: Talker, sim: Simulator, faults: list[Fault]) -> None:
    for one, two in sim.connections.overlaps(talker.device):
        end = min(one.closed or two.opened, two.closed or float("inf"))
        frozen = any(f.kind in FROZEN and f.at < two.opened < f.over + LAST_MOMENTS for f in faults)
        if frozen:
            verdict.frozen_meetings += 1
        else:
            verdict.meetings.append(f"{talker.device} for {(end - two.opened) * 1000:.0f} ms")


# --- how long -------------------------------------------------------------------


def times_away(faults: list[Fault], talkers: list[Talker], sim: Simulator) -> dict[str, list[float]]:
    """Kind → for each session that the fault took down, for how many seconds the simulator had no connection of it."""
    spans: dict[str, list[Span]] = {}
    for span in sim.connections.history:
        spans.setdefault(span.device, []).append(span)
    away: dict[str, list[float]] = {}
    for number, fault in enumerate(faults):
        until = faults[number + 1].at if number + 1 < len(faults) else float("inf")
        for talker in talkers:
            if seconds := _away(spans.get(talker.device, []), fault, until):
                away.setdefault(fault.kind, []).append(seconds)
    return away


def _away(spans: list[Span], fault: Fault, until: float) -> float:
    total = 0.0
    for one, two in itertools.pairwise(spans):
        left = one.closed if one.closed is not None and one.closed < two.opened else two.opened
        if fault.kind in FROZEN and one.opened < fault.at < two.opened < until:
            left = fault.at
        if fault.at <= left < until:
            total += two.opened - left
    return total


def spread(values: Iterable[float]) -> dict[str, float]:
    """p50, p95 and max."""
    found = sorted(values)
    if not found:
        return {}
    at = lambda share: found[min(len(found) - 1, round(share * (len(found) - 1)))]  # noqa: E731
    return {"p50": statistics.median(found), "p95": at(0.95), "max": found[-1]}


def summary(verdict: Verdict, faults: list[Fault], away: dict[str, list[float]], **facts: Any) -> dict[str, Any]:
    """Everything as JSON."""
    kinds = sorted({fault.kind for fault in faults})
    ages = list(verdict.with_disk.values())
    return {
        **facts,
        "faults": {
            kind: {
                "times": sum(fault.kind == kind for fault in faults),
                "unsettled": sum(fault.kind == kind and fault.settled is None for fault in faults),
                "sessions_down": len(away.get(kind, [])),
                "away_seconds": spread(away.get(kind, [])),
            }
            for kind in kinds
        },
        "messages": {
            "accepted": verdict.accepted,
            "refused_at_once": verdict.refused,
            "by_status": dict(verdict.statuses),
            "failed": dict(verdict.failed),
            "failed_but_arrived": verdict.arrived_though_failed,
            "unfinished": verdict.unfinished,
            "vanished_from_database": verdict.vanished,
            "lost_in_silence": verdict.lost,
            "lost_with_a_disk": verdict.with_disk,
            "lost_with_a_disk_oldest_ms": round(max(ages) * 1000) if ages else 0,
            "duplicates": verdict.duplicates,
            "unreadable_at_phones": verdict.unreadable_at_phones,
        },
        "qr_codes_after_pairing": verdict.qr_codes + verdict.pairing_rounds,
        "two_hosts_on_a_session": verdict.meetings,
        "taken_over_from_a_frozen_machine": verdict.frozen_meetings,
    }


def table(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{'fault':<20}{'times':>6}{'sessions down':>15}{'away p50':>10}{'p95':>8}{'max':>8} s"]
    for kind, row in found["faults"].items():
        times = "".join(f"{row['away_seconds'].get(name, 0):>{width}.1f}" for name, width in _WIDTHS)
        unsettled = f"   NOT SETTLED {row['unsettled']}" if row["unsettled"] else ""
        lines.append(f"{kind:<20}{row['times']:>6}{row['sessions_down']:>15}{times}{unsettled}")
    messages = found["messages"]
    lines.append("")
    for name, value in (
        ("messages accepted", messages["accepted"]),
        ("  by status", _listed(messages["by_status"])),
        ("  failed, by reason", _listed(messages["failed"]) or "none"),
        ("  failed, and had arrived", messages["failed_but_arrived"]),
        ("  refused at once (database away)", messages["refused_at_once"]),
        ("  unfinished", len(messages["unfinished"])),
        ("  vanished from the database", len(messages["vanished_from_database"])),
        ("  lost in silence", len(messages["lost_in_silence"])),
        ("  lost with a disk", len(messages["lost_with_a_disk"])),
        ("    the oldest reached it before its end", f"{messages['lost_with_a_disk_oldest_ms']} ms"),
        ("  duplicates seen by a peer", len(messages["duplicates"])),
        ("  unreadable at phones", messages["unreadable_at_phones"]),
        ("QR codes after pairing", found["qr_codes_after_pairing"]),
        ("moments with two hosts on a session", len(found["two_hosts_on_a_session"])),
        ("sockets taken over from a frozen machine", found["taken_over_from_a_frozen_machine"]),
    ):
        lines.append(f"{name:<42}{value}")
    return "\n".join(lines)


_WIDTHS = (("p50", 10), ("p95", 8), ("max", 8))


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
