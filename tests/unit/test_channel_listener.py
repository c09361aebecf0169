"""The parts of the listener that need no database."""

from __future__ import annotations

import fcntl
import itertools
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessions_app import channel_listener


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_descriptors_above_1023_are_waited_for(many_descriptors: None) -> None:
    here, there = socket.socketpair()
    high = socket.socket(fileno=fcntl.fcntl(here.fileno(), fcntl.F_DUPFD, 1100))
    with here, there, high:
        there.send(b"!")
        assert channel_listener._readable(5, high) == [high]


def test_a_listener_is_woken_in_a_directory_with_a_very_long_name(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 120)
    directory.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        with channel_listener._short(directory) as short:
            listener.bind(f"{short}/listener")
        before = os.listdir("/proc/self/fd")

        channel_listener.wake(directory)

        listener.settimeout(5)
        assert listener.recv(16) == b"!"
        assert len(os.listdir("/proc/self/fd")) == len(before)


def test_waking_a_directory_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    channel_listener.wake(tmp_path / "nobody")


def test_delays_grow_from_the_first_to_the_most() -> None:
    delays = channel_listener._retry_delays()
    values = [next(delays) for _ in range(30)]
    assert values[0] == channel_listener.RETRY_FIRST
    assert max(values) <= channel_listener.RETRY_MOST
    assert all(later > earlier for earlier, later in itertools.pairwise(values[:4]))
