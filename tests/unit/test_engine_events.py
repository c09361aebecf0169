"""What hosts and engines say to each other, as lines."""

from __future__ import annotations

import pytest

from sessions_app.engine import events

SECRET = "2@top-secret"
SAMPLES = [
    events.StartClient(session="s", epoch=3, path="/p", spool="/q", lease_seconds=1.5, proxy_url="http://u:p@h"),
    events.RenewLease(seconds={"s": 2.5}),
    events.QrIssued(session="s", epoch=1, at=1.5, code=SECRET),
    events.ReceiptReceived(session="s", epoch=1, at=0.0, chat="c", sender="x", message_ids=("a", "b")),
    events.MessageReceived(
        session="s", epoch=1, at=0.0, message_id="m", chat="c", sender="x", text="é\n☃", raw=b"\0\xff"
    ),
]


@pytest.mark.parametrize("message", SAMPLES, ids=lambda m: type(m).__name__)
def test_a_message_survives_the_pipe_on_one_line(message):
    line = events.encode(message)
    assert b"\n" not in line
    assert events.decode(line) == message


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b'{"type":"Nothing"}', b'{"type":"QrIssued","code":"2@top-secret"}', b"\xff"]
)
def test_a_line_that_is_not_ours_is_refused_without_being_quoted(line):
    with pytest.raises(events.BadMessage) as raised:
        events.decode(line)
    assert SECRET not in str(raised.value)


def test_a_code_and_a_text_are_not_in_the_repr():
    assert SECRET not in repr(SAMPLES[2])
    assert "☃" not in repr(SAMPLES[4])
    assert "u:p@h" not in repr(SAMPLES[0])
