"""The pipe between a host and an engine."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from sessions_app.engine import events
from sessions_app.engine.pipe import MessageWriter, read_messages


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_end, write_end = os.pipe()
    yield read_end, write_end
    for fd in (read_end, write_end):
        try:
            os.close(fd)
        except OSError:
            continue


def test_messages_arrive_in_order_and_as_they_were(pipe: tuple[int, int]) -> None:
    sent = [
        events.SendMessage(session="shop", ref="1", to="5511987650001", text="a\nb\0ü\u2028"),
        events.RenewLease(seconds={"shop": 3.5}),
        events.ShutDown(),
    ]
    writer = MessageWriter(pipe[1])
    for message in sent:
        writer.send(message)
    assert writer.flush(5)
    os.close(pipe[1])
    assert list(read_messages(pipe[0])) == sent


def test_a_long_message_arrives_whole(pipe: tuple[int, int]) -> None:
    text = "x" * 3_000_000
    MessageWriter(pipe[1]).send(events.SendMessage(session="s", ref="1", to="1", text=text))
    assert next(read_messages(pipe[0])).text == text


def test_a_line_that_is_no_message_is_passed_over_and_not_quoted(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    os.write(
        pipe[1], b'{"type":"Nonsense","text":"private"}\nnot json, private\n' + events.encode(events.ShutDown()) + b"\n"
    )
    os.close(pipe[1])
    assert list(read_messages(pipe[0])) == [events.ShutDown()]
    assert caplog.text.count("pipe_line_ignored") == 2
    assert "private" not in caplog.text


def test_a_peer_that_does_not_read_blocks_nobody_and_is_rung_once(pipe: tuple[int, int]) -> None:
    writer = MessageWriter(pipe[1])
    for number in range(2000):
        writer.send(events.SendMessage(session="s", ref=str(number), to="1", text="x" * 1000))
    for _ in range(5000):
        writer.ring("shop")
        writer.ring("other")
    assert not writer.flush(0.05)

    messages = read_messages(pipe[0])
    heard = [next(messages) for _ in range(2002)]
    rung = [message.session for message in heard if isinstance(message, events.SpoolGrew)]
    assert sorted(rung) == ["other", "shop"]
    assert writer.flush(5)


def test_a_ring_after_the_last_one_was_read_is_said_again(pipe: tuple[int, int]) -> None:
    writer = MessageWriter(pipe[1])
    messages = read_messages(pipe[0])
    for _ in range(3):
        writer.ring("shop")
        assert next(messages) == events.SpoolGrew(session="shop")


def test_the_end_of_the_reader_is_told_once(pipe: tuple[int, int]) -> None:
    told = threading.Semaphore(0)
    writer = MessageWriter(pipe[1], on_broken=told.release)
    os.close(pipe[0])
    writer.send(events.ShutDown())
    assert told.acquire(timeout=5)
    writer.send(events.ShutDown())
    writer.ring("shop")
    assert writer.flush(5)
    assert not told.acquire(blocking=False)
