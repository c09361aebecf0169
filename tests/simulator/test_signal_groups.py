"""Sender keys among Signal states: late joiners, lost and repeated messages, changes of key, and refusals."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.signal import DuplicateMessage, NoSenderKey, SignalError, SignalState
from simulator.signal.groups import MAX_SENDER_KEYS
from simulator.signal.kdf import MAX_SKIPPED

GROUP, ANA = "120363000000000001@g.us", "5511987650001:0"


def group_of_two() -> tuple[SignalState, SignalState]:
    ana, bia = SignalState.generate(0), SignalState.generate(0)
    bia.process_distribution(GROUP, ANA, ana.create_distribution(GROUP, ANA))
    return ana, bia


def test_one_ciphertext_serves_all_members() -> None:
    ana, bia = group_of_two()
    carla = SignalState.generate(0)
    carla.process_distribution(GROUP, ANA, ana.create_distribution(GROUP, ANA))

    wire = ana.encrypt_group(GROUP, ANA, b"oi, gente")

    assert bia.decrypt_group(GROUP, ANA, wire) == carla.decrypt_group(GROUP, ANA, wire) == b"oi, gente"


def test_who_joins_late_reads_what_comes_after_and_nothing_before() -> None:
    ana, _ = group_of_two()
    before = ana.encrypt_group(GROUP, ANA, b"before")
    carla = SignalState.generate(0)
    carla.process_distribution(GROUP, ANA, ana.create_distribution(GROUP, ANA))

    assert carla.decrypt_group(GROUP, ANA, ana.encrypt_group(GROUP, ANA, b"after")) == b"after"
    with pytest.raises(SignalError):
        carla.decrypt_group(GROUP, ANA, before)


def test_who_left_can_not_read_after_the_sender_key_was_dropped() -> None:
    ana, left = group_of_two()
    stays = SignalState.generate(0)
    stays.process_distribution(GROUP, ANA, ana.create_distribution(GROUP, ANA))
    late = ana.encrypt_group(GROUP, ANA, b"with all")

    ana.drop_sender_key(GROUP, ANA)
    stays.process_distribution(GROUP, ANA, ana.create_distribution(GROUP, ANA))
    wire = ana.encrypt_group(GROUP, ANA, b"among us")

    assert stays.decrypt_group(GROUP, ANA, wire) == b"among us"
    assert stays.decrypt_group(GROUP, ANA, late) == b"with all"
    with pytest.raises(NoSenderKey):
        left.decrypt_group(GROUP, ANA, wire)


def test_only_so_many_keys_of_a_sender_are_kept() -> None:
    ana, bia = group_of_two()
    wires = [ana.encrypt_group(GROUP, ANA, b"0")]
    for number in range(MAX_SENDER_KEYS):
        ana.drop_sender_key(GROUP, ANA)
        bia.process_distribution(GROUP, ANA, ana.create_distribution(GROUP, ANA))
        wires.append(ana.encrypt_group(GROUP, ANA, b"%d" % (number + 1)))

    with pytest.raises(NoSenderKey):
        bia.decrypt_group(GROUP, ANA, wires[0])
    assert bia.decrypt_group(GROUP, ANA, wires[1]) == b"1"


def test_groups_and_senders_do_not_mix() -> None:
    ana, bia = group_of_two()
    wire = ana.encrypt_group(GROUP, ANA, b"oi")

    with pytest.raises(NoSenderKey):
        bia.decrypt_group("another@g.us", ANA, wire)
    with pytest.raises(NoSenderKey):
        bia.decrypt_group(GROUP, "carla:0", wire)
    assert bia.decrypt_group(GROUP, ANA, wire) == b"oi"


def test_a_key_handed_out_again_does_not_make_old_messages_readable_again() -> None:
    ana, bia = SignalState.generate(0), SignalState.generate(0)
    first = ana.create_distribution(GROUP, ANA)
    bia.process_distribution(GROUP, ANA, first)
    wires = [ana.encrypt_group(GROUP, ANA, b"%d" % number) for number in range(3)]
    bia.decrypt_group(GROUP, ANA, wires[2])

    bia.process_distribution(GROUP, ANA, first)
    bia.process_distribution(GROUP, ANA, ana.create_distribution(GROUP, ANA))

    with pytest.raises(DuplicateMessage):
        bia.decrypt_group(GROUP, ANA, wires[2])
    assert bia.decrypt_group(GROUP, ANA, wires[0]) == b"0"


def test_a_key_handed_out_again_bridges_a_gap_that_is_too_wide() -> None:
    ana, bia = group_of_two()
    for _ in range(MAX_SKIPPED + 1):
        ana.sender_keys[GROUP][ANA][0].chain.step()
    wire = ana.encrypt_group(GROUP, ANA, b"far away")
    with pytest.raises(SignalError, match="missing"):
        bia.decrypt_group(GROUP, ANA, wire)

    bia.process_distribution(GROUP, ANA, ana.create_distribution(GROUP, ANA))

    assert bia.decrypt_group(GROUP, ANA, ana.encrypt_group(GROUP, ANA, b"here again")) == b"here again"


def test_without_a_sender_key_nothing_is_written() -> None:
    ana, bia = group_of_two()

    with pytest.raises(NoSenderKey):
        bia.encrypt_group(GROUP, "bia:0", b"oi")
    with pytest.raises(SignalError, match="owner"):
        bia.encrypt_group(GROUP, ANA, b"oi")
    assert ana.sender_keys[GROUP][ANA][0].signing is not None


def test_a_changed_bit_anywhere_is_refused_and_changes_nothing() -> None:
    ana, bia = group_of_two()
    wire = ana.encrypt_group(GROUP, ANA, b"oi")
    before = bia.to_json()

    for position in range(len(wire)):
        broken = bytearray(wire)
        broken[position] ^= 0x10
        with pytest.raises(SignalError):
            bia.decrypt_group(GROUP, ANA, bytes(broken))
    assert bia.to_json() == before
    assert bia.decrypt_group(GROUP, ANA, wire) == b"oi"


def test_every_truncation_is_refused() -> None:
    ana, bia = group_of_two()
    wire, distribution = ana.encrypt_group(GROUP, ANA, b"oi"), ana.create_distribution(GROUP, ANA)
    before = bia.to_json()

    for size in range(len(wire)):
        with pytest.raises(SignalError):
            bia.decrypt_group(GROUP, ANA, wire[:size])
    for size in range(len(distribution)):
        with pytest.raises(SignalError):
            bia.process_distribution(GROUP, ANA, distribution[:size])
    assert bia.to_json() == before


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 25), st.booleans())
def test_whatever_arrives_is_read_once_in_any_order(order: random.Random, count: int, restart: bool) -> None:
    ana, bia = group_of_two()
    sent = [(b"%d" % number, ana.encrypt_group(GROUP, ANA, b"%d" % number)) for number in range(count)]
    arriving = order.sample(sent, order.randint(1, count))

    for text, wire in arriving:
        assert bia.decrypt_group(GROUP, ANA, wire) == text
        with pytest.raises(DuplicateMessage):
            bia.decrypt_group(GROUP, ANA, wire)
        if restart:
            bia = SignalState.from_json(bia.to_json())
    ana = SignalState.from_json(ana.to_json())
    assert bia.decrypt_group(GROUP, ANA, ana.encrypt_group(GROUP, ANA, b"last")) == b"last"
