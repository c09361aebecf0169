"""Frames in any portions."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.framing import INTRO, ROUTING, FrameReader, FramingError, frame


@given(st.lists(st.binary(max_size=300), max_size=5), st.lists(st.integers(0, 2000), max_size=8), st.booleans())
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    payloads: list[bytes], cuts: list[int], routed: bool
) -> None:
    routing = ROUTING + b"\x00\x00\x02ab" if routed else b""
    wire = routing + INTRO + b"".join(frame(payload) for payload in payloads)
    reader, out = FrameReader(expect_intro=True), []
    places = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    for start, end in itertools.pairwise(places):
        out += reader.feed(wire[start:end])
    assert out == payloads
    assert reader.is_empty


def test_a_truncated_frame_is_not_given_out() -> None:
    reader = FrameReader(expect_intro=False)
    assert reader.feed(frame(b"hello")[:-1]) == []
    assert not reader.is_empty


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1", b"WA\x05\x03", b"EDGE"])
def test_what_does_not_begin_with_the_intro_is_refused(start: bytes) -> None:
    with pytest.raises(FramingError):
        FrameReader(expect_intro=True).feed(start)


def test_a_frame_of_16_mib_is_refused() -> None:
    with pytest.raises(FramingError):
        frame(bytes(1 << 24))
