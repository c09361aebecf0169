"""Two Signal states talk: in order, out of order, with losses, both beginning at once; and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.signal import DuplicateMessage, NoSession, PreKeyBundle, SignalError, SignalState
from simulator.signal.kdf import MAX_SKIPPED
from simulator.signal.messages import PreKeySignalMessage
from simulator.signal.state import MAX_SESSIONS

ANA, BIA = "5511987650001:0", "123456_1:3"

Wire = tuple[str, bytes]
Pair = tuple[SignalState, SignalState]


def pair() -> Pair:
    """Ana, who has begun a session with Bia, and Bia, who knows nothing of it yet."""
    ana, bia = SignalState.generate(3), SignalState.generate(3)
    ana.start_session(BIA, bia.bundle().with_prekey(2))
    return ana, bia


def talking_pair() -> Pair:
    ana, bia = pair()
    bia.decrypt(ANA, *ana.encrypt(BIA, b"oi"))
    ana.decrypt(BIA, *bia.encrypt(ANA, b"oi!"))
    return ana, bia


def test_the_first_messages_are_pkmsg_until_the_peer_has_answered() -> None:
    ana, bia = pair()

    first, second = ana.encrypt(BIA, b"one"), ana.encrypt(BIA, b"two")
    assert [first[0], second[0]] == ["pkmsg", "pkmsg"]
    assert bia.decrypt(ANA, *second) == b"two"
    assert bia.decrypt(ANA, *first) == b"one"

    answer = bia.encrypt(ANA, b"three")
    assert answer[0] == "msg"
    assert ana.decrypt(BIA, *answer) == b"three"
    assert ana.encrypt(BIA, b"four")[0] == "msg"


def test_a_one_time_prekey_is_gone_once_it_was_used() -> None:
    ana, bia = pair()
    carla = SignalState.generate(0)
    carla.start_session(BIA, bia.bundle().with_prekey(2))

    bia.decrypt(ANA, *ana.encrypt(BIA, b"oi"))

    assert sorted(bia.prekeys) == [1, 3]
    with pytest.raises(SignalError, match="no prekey 2"):
        bia.decrypt("carla:0", *carla.encrypt(BIA, b"oi"))
    assert not bia.has_session("carla:0")


def test_a_session_can_begin_without_a_one_time_prekey() -> None:
    ana, bia = SignalState.generate(0), SignalState.generate(1)
    ana.start_session(BIA, bia.bundle().with_prekey(None))

    assert bia.decrypt(ANA, *ana.encrypt(BIA, b"oi")) == b"oi"
    assert list(bia.prekeys) == [1]


def test_both_may_begin_at_the_same_time() -> None:
    ana, bia = SignalState.generate(1), SignalState.generate(1)
    ana.start_session(BIA, bia.bundle().with_prekey(1))
    bia.start_session(ANA, ana.bundle().with_prekey(1))

    from_ana, from_bia = ana.encrypt(BIA, b"a"), bia.encrypt(ANA, b"b")
    assert (bia.decrypt(ANA, *from_ana), ana.decrypt(BIA, *from_bia)) == (b"a", b"b")
    from_ana, from_bia = ana.encrypt(BIA, b"aa"), bia.encrypt(ANA, b"bb")
    assert (bia.decrypt(ANA, *from_ana), ana.decrypt(BIA, *from_bia)) == (b"aa", b"bb")
    for text in (b"1", b"2", b"3"):
        assert bia.decrypt(ANA, *ana.encrypt(BIA, text)) == text
        assert ana.decrypt(BIA, *bia.encrypt(ANA, text)) == text
    assert ana.sessions[BIA][0].base_key == bia.sessions[ANA][0].base_key


def test_messages_of_an_earlier_session_can_still_be_read() -> None:
    ana, bia = talking_pair()
    late = bia.encrypt(ANA, b"late")

    ana.start_session(BIA, bia.bundle().with_prekey(3))
    assert bia.decrypt(ANA, *ana.encrypt(BIA, b"again")) == b"again"

    assert ana.decrypt(BIA, *late) == b"late"


def test_a_new_identity_behind_an_address_ends_the_sessions_with_the_old_one() -> None:
    ana, bia = talking_pair()
    new_bia = SignalState.generate(1)
    new_bia.start_session(ANA, ana.bundle().with_prekey(1))

    assert ana.decrypt(BIA, *new_bia.encrypt(ANA, b"new phone")) == b"new phone"

    assert ana.identities[BIA] == new_bia.identity.public != bia.identity.public
    assert [session.remote_identity for session in ana.sessions[BIA]] == [new_bia.identity.public]


def test_a_message_is_read_once() -> None:
    ana, bia = pair()
    wires = [ana.encrypt(BIA, b"pre"), ana.encrypt(BIA, b"pre")]
    for wire in wires:
        bia.decrypt(ANA, *wire)
    ana.decrypt(BIA, *bia.encrypt(ANA, b"answer"))
    wires.append(ana.encrypt(BIA, b"plain"))
    bia.decrypt(ANA, *wires[-1])

    before = bia.to_json()
    for wire in wires:
        with pytest.raises(DuplicateMessage):
            bia.decrypt(ANA, *wire)
    assert bia.to_json() == before


@pytest.mark.parametrize("make_pair", [pair, talking_pair])
def test_a_changed_bit_anywhere_is_refused_and_changes_nothing(make_pair: Callable[[], Pair]) -> None:
    ana, bia = make_pair()
    kind, wire = ana.encrypt(BIA, b"oi")
    before = bia.to_json()

    for position in range(len(wire)):
        broken = bytearray(wire)
        broken[position] ^= 0x10
        try:
            plaintext = bia.decrypt(ANA, kind, bytes(broken))
        except SignalError:
            assert bia.to_json() == before
        else:
            # The registration id alone is under no MAC: nothing is derived from it.
            assert plaintext == b"oi"
            assert PreKeySignalMessage.parse(bytes(broken)).registration_id != ana.registration_id
            bia = SignalState.from_json(before)
    assert bia.decrypt(ANA, kind, wire) == b"oi"


@pytest.mark.parametrize("make_pair", [pair, talking_pair])
def test_every_truncation_is_refused(make_pair: Callable[[], Pair]) -> None:
    ana, bia = make_pair()
    kind, wire = ana.encrypt(BIA, b"oi")

    for size in range(len(wire)):
        with pytest.raises(SignalError):
            bia.decrypt(ANA, kind, wire[:size])
    assert bia.decrypt(ANA, kind, wire) == b"oi"


def test_a_bundle_that_the_identity_did_not_sign_is_refused() -> None:
    ana, bia = SignalState.generate(0), SignalState.generate(1)
    bundle = bia.bundle().with_prekey(1)
    other = SignalState.generate(1).bundle().with_prekey(1)

    for forged in (
        replace(bundle, signed_prekey=other.signed_prekey),
        replace(bundle, identity=other.identity),
        replace(bundle, signed_prekey_signature=bytes(64)),
        replace(bundle, signed_prekey_signature=b""),
    ):
        with pytest.raises(SignalError, match="signature"):
            ana.start_session(BIA, forged)
    assert not ana.has_session(BIA)


def test_half_a_one_time_prekey_is_refused() -> None:
    ana, bundle = SignalState.generate(0), SignalState.generate(1).bundle().with_prekey(1)

    for half in (replace(bundle, prekey=None), replace(bundle, prekey_id=None)):
        with pytest.raises(SignalError, match="both"):
            ana.start_session(BIA, half)


def test_keys_that_give_no_secret_are_refused() -> None:
    ana, bia = SignalState.generate(0), SignalState.generate(1)

    with pytest.raises(SignalError, match="agreed"):
        ana.start_session(BIA, replace(bia.bundle().with_prekey(1), prekey=bytes(32)))
    with pytest.raises(SignalError, match="agreed"):
        ana.start_session(BIA, replace(bia.bundle().with_prekey(1), prekey=b"short"))
    assert not ana.has_session(BIA)


def test_without_a_session_nothing_is_written_or_read() -> None:
    ana, bia = talking_pair()
    wire = bia.encrypt(ANA, b"oi")

    ana.drop_session(BIA)

    assert not ana.has_session(BIA)
    with pytest.raises(NoSession):
        ana.encrypt(BIA, b"oi")
    with pytest.raises(NoSession):
        ana.decrypt(BIA, *wire)
    with pytest.raises(SignalError, match="either a pkmsg or a msg"):
        ana.decrypt(BIA, "skmsg", wire[1])


def test_a_message_for_another_device_is_refused() -> None:
    ana, _ = pair()
    carla = SignalState.generate(3)
    carla.signed_prekey = replace(carla.signed_prekey, key_id=7)

    with pytest.raises(SignalError, match="no signed prekey 1"):
        carla.decrypt(ANA, *ana.encrypt(BIA, b"oi"))
    carla.signed_prekey = replace(carla.signed_prekey, key_id=1)
    with pytest.raises(SignalError, match="MAC"):
        carla.decrypt(ANA, *ana.encrypt(BIA, b"oi"))
    assert not carla.sessions and len(carla.prekeys) == 3


def test_many_messages_may_be_missing_but_not_any_number() -> None:
    ana, bia = talking_pair()
    wires = [ana.encrypt(BIA, b"%d" % number) for number in range(MAX_SKIPPED + 2)]

    with pytest.raises(SignalError, match="missing"):
        bia.decrypt(ANA, *wires[-1])

    assert bia.decrypt(ANA, *wires[-2]) == b"2000"
    assert bia.decrypt(ANA, *wires[0]) == b"0"
    assert bia.decrypt(ANA, *wires[-1]) == b"2001"


def test_the_oldest_skipped_keys_are_forgotten_first() -> None:
    ana, bia = talking_pair()
    wires = [ana.encrypt(BIA, b"%d" % number) for number in range(MAX_SKIPPED + 3)]
    bia.decrypt(ANA, *wires[MAX_SKIPPED])
    bia.decrypt(ANA, *wires[MAX_SKIPPED + 2])

    with pytest.raises(DuplicateMessage):
        bia.decrypt(ANA, *wires[0])
    assert bia.decrypt(ANA, *wires[1]) == b"1"


def test_a_forged_message_does_not_use_up_the_key_of_the_real_one() -> None:
    ana, bia = talking_pair()
    late, wire = ana.encrypt(BIA, b"late"), ana.encrypt(BIA, b"first")
    bia.decrypt(ANA, *wire)

    with pytest.raises(SignalError, match="MAC"):
        bia.decrypt(ANA, late[0], late[1][:-1] + bytes([late[1][-1] ^ 1]))

    assert bia.decrypt(ANA, *late) == b"late"


def test_only_so_many_sessions_are_kept_for_an_address() -> None:
    ana, bia = talking_pair()

    for _ in range(MAX_SESSIONS + 3):
        ana.start_session(BIA, bia.bundle().with_prekey(None))

    assert len(ana.sessions[BIA]) == MAX_SESSIONS
    assert bia.decrypt(ANA, *ana.encrypt(BIA, b"the newest")) == b"the newest"


def test_prekeys_never_get_a_number_twice() -> None:
    ana, bia = pair()
    bia.decrypt(ANA, *ana.encrypt(BIA, b"oi"))

    added = bia.add_prekeys(2)

    assert sorted(added) == [4, 5]
    assert sorted(bia.bundle().prekeys) == [1, 3, 4, 5]


def test_nothing_secret_is_in_a_repr() -> None:
    ana, _ = talking_pair()
    ana.create_distribution("group@g.us", ANA)
    session = ana.sessions[BIA][0]
    secrets = [ana.identity.private, session.root_key, session.ratchet.private, ana.prekeys[1].private]
    assert session.sending is not None
    secrets.append(session.sending.key)

    for shown in (ana, ana.__dict__, ana.sessions, ana.sender_keys, session.sending, session.receiving):
        for secret in secrets:
            assert repr(secret)[2:-1] not in repr(shown)
            assert secret.hex() not in repr(shown)


def test_json_keeps_everything() -> None:
    ana, bia = talking_pair()
    ana.start_session("carla:0", SignalState.generate(1).bundle().with_prekey(1))
    for _ in range(3):
        late = ana.encrypt(BIA, b"late")
        bia.decrypt(ANA, *ana.encrypt(BIA, b"in time"))
    ana.decrypt(BIA, *bia.encrypt(ANA, b"my turn"))
    bia.process_distribution("group@g.us", ANA, ana.create_distribution("group@g.us", ANA))

    for state in (ana, bia):
        assert SignalState.from_json(state.to_json()) == state
    assert ana.sessions[BIA][0].previous_counter == 5
    assert ana.sessions["carla:0"][0].pending is not None
    assert SignalState.from_json(bia.to_json()).decrypt(ANA, *late) == b"late"


class World:
    """Two states, a server that hands out their prekeys, and what is on its way between them."""

    def __init__(self) -> None:
        self.states = [SignalState.generate(40), SignalState.generate(40)]
        self.published = [state.bundle() for state in self.states]
        self.unused = [sorted(keys.prekeys) for keys in self.published]
        self.on_the_way: list[list[tuple[bytes, Wire]]] = [[], []]
        self.overtaken: list[dict[bytes, int]] = [{}, {}]
        self.count = 0

    def bundle_of(self, who: int) -> PreKeyBundle:
        return self.published[who].with_prekey(self.unused[who].pop() if self.unused[who] else None)

    def send(self, who: int, _: int) -> None:
        if not self.states[who].has_session("peer"):
            self.begin(who, 0)
        self.count += 1
        text = b"message %d" % self.count
        self.on_the_way[1 - who].append((text, self.states[who].encrypt("peer", text)))

    def begin(self, who: int, _: int) -> None:
        self.states[who].start_session("peer", self.bundle_of(1 - who))

    def deliver(self, who: int, choice: int) -> None:
        """Any message that is on its way, but none is overtaken so often that its ratchet key is forgotten."""
        waiting = self.on_the_way[who]
        if not waiting:
            return
        overtaken = self.overtaken[who]
        index = 0 if overtaken.get(waiting[0][0], 0) >= 4 else choice % len(waiting)
        for text, _ in waiting[:index]:
            overtaken[text] = overtaken.get(text, 0) + 1
        text, wire = waiting.pop(index)
        assert self.states[who].decrypt("peer", *wire) == text
        with pytest.raises(DuplicateMessage):
            self.states[who].decrypt("peer", *wire)

    def lose(self, who: int, choice: int) -> None:
        waiting = self.on_the_way[who]
        if waiting:
            waiting.pop(choice % len(waiting))

    def restart(self, who: int, _: int) -> None:
        text = self.states[who].to_json()
        restored = SignalState.from_json(text)
        assert restored == self.states[who]
        assert restored.to_json() == text
        self.states[who] = restored


STEPS = st.tuples(
    st.sampled_from(["send", "send", "send", "deliver", "deliver", "deliver", "lose", "restart", "begin"]),
    st.integers(0, 1),
    st.integers(0, 9),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_whatever_arrives_is_read_in_any_order_with_losses_and_restarts(steps: list[tuple[str, int, int]]) -> None:
    world = World()
    for verb, who, choice in steps:
        getattr(world, verb)(who, choice)
    for who in (0, 1):
        while world.on_the_way[who]:
            world.deliver(who, 0)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", '{"format":1}', '{"format":2}', '{"format":1,"identity":"AAAA"}', "not json"]
)
def test_a_text_that_is_no_state_is_refused(text: str) -> None:
    with pytest.raises(SignalError, match="Signal state"):
        SignalState.from_json(text)


def test_a_broken_state_is_refused_without_showing_its_keys() -> None:
    ana, _ = talking_pair()
    whole = ana.to_json()

    with pytest.raises(SignalError) as refusal:
        SignalState.from_json(whole.replace('"prekeys":[[', '"prekeys":[[["x"],'))
    assert refusal.value.__cause__ is None
    assert len(str(refusal.value)) < 60
    for size in range(0, len(whole), 97):
        with pytest.raises(SignalError):
            SignalState.from_json(whole[:size])
