"""What is recorded, and waiting for it."""

from __future__ import annotations

import threading

import pytest

from simulator.nodes import Node, encode
from simulator.phone import Phone
from simulator.transcript import Connections, Entry, Transcript
from simulator.world import World

from .conftest import link


def entry(tag: str) -> Entry:
    return Entry(1, "", "in", encode(Node(tag)))


def test_a_stanza_that_is_there_already_is_found() -> None:
    transcript = Transcript()
    for tag in ("iq", "message"):
        transcript.add(entry(tag))
    assert transcript.wait_for(lambda found: found.node.tag == "message", 0).node.tag == "message"
    assert [each.node.tag for each in transcript] == ["iq", "message"]


def test_a_stanza_that_comes_from_another_thread_is_waited_for() -> None:
    transcript = Transcript()
    threading.Timer(0.01, lambda: [transcript.add(entry("iq")), transcript.add(entry("message"))]).start()
    assert transcript.wait_for(lambda found: found.node.tag == "message", 5).node.tag == "message"


def test_what_never_comes_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        Transcript().wait_for(lambda found: True, 0.01)


async def test_both_directions_are_recorded_under_the_device(world: World, ana: Phone) -> None:
    companion = await link(world, ana)
    world.transcript.clear()
    companion.ask("w:p")
    seen = [(each.direction, each.device, each.node.get("type")) for each in world.transcript]
    assert seen == [("in", str(companion.jid), "get"), ("out", str(companion.jid), "result")]


def test_a_replaced_connection_overlaps_until_its_socket_closes() -> None:
    connections = Connections()
    connections.opened(1, "device")
    connections.opened(2, "device")
    assert len(connections.overlaps("device")) == 1
    assert connections.live == {"device": 2}
    connections.closed(1, "device")
    assert connections.live == {"device": 2}
    connections.closed(2, "device")
    connections.opened(3, "device")
    assert [(a.connection, b.connection) for a, b in connections.overlaps("device")] == [(1, 2)]
    assert [span.connection for span in connections.history] == [1, 2, 3]
