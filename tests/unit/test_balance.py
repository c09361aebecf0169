"""The rule that spreads sessions over hosts: fair, sparing, and at rest in the end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sessions_app.hosting.balance import Load, gives_one_up, level

#: Hosts that are within their capacity.
hosts = st.lists(
    st.integers(0, 40).flatmap(lambda held: st.builds(Load, st.just(held), st.integers(max(held, 1), 60))),
    min_size=1,
    max_size=6,
)


def run_to_rest(loads: list[Load], first: int = 0) -> tuple[list[Load], list[tuple[int, int]]]:
    """Let hosts move sessions in turn until nobody wants to; the loads then, and each move as (from, to)."""
    moves = []
    while True:
        turn = [(first + i) % len(loads) for i in range(len(loads))]
        giver = next((i for i in turn if gives_one_up(loads[i], loads[:i] + loads[i + 1 :])), None)
        if giver is None:
            return loads, moves
        loads = [Load(load.sessions - (i == giver), load.capacity) for i, load in enumerate(loads)]
        fair = level([load.capacity for load in loads], sum(load.sessions for load in loads) + 1)
        taker = next(i for i in reversed(turn) if loads[i].room(fair) and i != giver)
        loads = [Load(load.sessions + (i == taker), load.capacity) for i, load in enumerate(loads)]
        moves.append((giver, taker))
        assert len(moves) <= 240, "no rest"


@given(hosts, st.integers(0, 5))
def test_it_comes_to_rest_with_nobody_above_the_level_and_nobody_beyond_its_capacity(loads, first):
    total = sum(load.sessions for load in loads)
    after, _ = run_to_rest(loads, first)
    fair = level([load.capacity for load in loads], total)
    assert sum(load.sessions for load in after) == total
    assert all(load.sessions <= min(fair, load.capacity) for load in after)


@given(hosts, st.integers(0, 5))
def test_it_cuts_no_more_sessions_than_it_must(loads, first):
    fair = level([load.capacity for load in loads], sum(load.sessions for load in loads))
    _, moves = run_to_rest(loads, first)
    assert len(moves) == sum(max(0, load.sessions - fair) for load in loads)


@given(hosts, st.integers(0, 5))
def test_nobody_gives_away_what_it_has_been_given(loads, first):
    _, moves = run_to_rest(loads, first)
    assert not {giver for giver, _ in moves} & {taker for _, taker in moves}


@given(st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(0, 400))
def test_the_level_is_the_smallest_that_holds_everything(capacities, sessions):
    def held(most: int) -> int:
        return sum(min(most, capacity) for capacity in capacities)

    found = level(capacities, sessions)
    if sum(capacities) >= sessions:
        assert held(found) >= sessions
        assert found == 0 or held(found - 1) < sessions
    else:
        assert found == max(capacities)


def test_a_host_that_joins_receives_its_share_and_no_more():
    after, moves = run_to_rest([Load(50, 300), Load(50, 300), Load(0, 300)])
    assert [load.sessions for load in after] == [34, 34, 32]
    assert len(moves) == 32


def test_one_session_between_two_hosts_stays_where_it_is():
    assert not gives_one_up(Load(1, 300), [Load(0, 300)])
    assert not gives_one_up(Load(2, 300), [Load(1, 300)])
    assert gives_one_up(Load(2, 300), [Load(0, 300)])


def test_a_full_host_receives_nothing():
    assert not gives_one_up(Load(50, 300), [Load(10, 10)])
