"""The lifecycle table: stories as dialogues, and everything that is not in it."""

from __future__ import annotations

import itertools

import pytest

from sessions_app.lifecycle import FINAL, TRANSITIONS, Command, Event, IllegalTransition, Status, advance, allowed


def after(status: Status, *events: Event) -> Status:
    for event in events:
        status = advance(status, event)
    return status


@pytest.mark.parametrize(
    ("story", "end"),
    [
        ([Event.PAIRING_STARTED, Event.PAIRED, Event.CONNECTED], Status.CONNECTED),
        ([Event.PAIRING_STARTED, Event.PAIRING_ENDED], Status.NEW),
        ([Event.PAIRING_STARTED, Event.STOPPED], Status.NEW),
        ([Event.CONNECT_STARTED, Event.CONNECTED, Event.CONNECTION_LOST, Event.CONNECTED], Status.CONNECTED),
        ([Event.CONNECT_STARTED, Event.CONNECTION_LOST, Event.CONNECT_STARTED], Status.CONNECTING),
        ([Event.CONNECT_STARTED, Event.CONNECTED, Event.STOPPED, Event.CONNECT_STARTED], Status.CONNECTING),
        ([Event.CONNECT_STARTED, Event.CONNECTED, Event.LOGGED_OUT, Event.PAIRING_STARTED], Status.PAIRING),
        ([Event.CONNECT_STARTED, Event.CONNECTED, Event.REPLACED], Status.REPLACED),
        ([Event.CONNECT_STARTED, Event.BANNED, Event.CONNECT_STARTED, Event.CONNECTED], Status.CONNECTED),
        ([Event.FAILED], Status.FAILED),
    ],
)
def test_a_story_ends_where_it_should(story, end):
    assert after(Status.NEW, *story) == end


NOT_IN_THE_TABLE = [(s, e) for s, e in itertools.product(Status, Event) if e not in TRANSITIONS[s]]


@pytest.mark.parametrize(("status", "event"), NOT_IN_THE_TABLE)
def test_what_is_not_in_the_table_raises_a_sentence_that_names_both(status, event):
    with pytest.raises(IllegalTransition) as raised:
        advance(status, event)
    assert status.value in str(raised.value)
    assert event.value in str(raised.value)


@pytest.mark.parametrize("status", Status)
def test_every_status_says_what_a_person_may_ask_and_never_refuses_a_delete(status):
    assert Command.DELETE in allowed(status)


@pytest.mark.parametrize("status", FINAL)
def test_an_end_is_left_by_a_start_alone(status):
    assert Command.START in allowed(status)
    assert Event.CONNECTED not in TRANSITIONS[status]


def test_no_session_becomes_connected_without_a_login():
    before = {status for status in Status if TRANSITIONS[status].get(Event.CONNECTED) == Status.CONNECTED}
    assert before == {Status.CONNECTING, Status.CONNECTED, Status.WAITING}
