"""What the simulator remembers."""

from __future__ import annotations

from pathlib import Path

from simulator.nodes import Jid, Node
from simulator.signal import SignalState
from simulator.state import ChatLine, Device, Group, State


def test_everything_is_there_again_after_the_file_was_closed(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite3")
    account = state.add_account("5511987650001", "Ana", SignalState.generate(1).to_json())
    other = state.add_account("5511987650002", "Bob", "{}")
    device = Device(
        account.number,
        state.reserve_device(account.number),
        b"n" * 32,
        b"i" * 32,
        7,
        1,
        b"s" * 32,
        b"g" * 64,
        "Oxy",
        1.5,
    )
    state.add_device(device)
    state.add_prekeys(account.number, 1, [(1, b"a"), (2, b"b")])
    assert state.take_prekey(account.number, 1) == (1, b"a")
    stanza = Node("message", {"id": "M1", "from": Jid(other.lid, "lid", 2)}, [Node("enc", {}, b"x")])
    state.enqueue(account.number, 1, stanza)
    group = Group("1203", "Friends", account.number, 5, {account.number: True, other.number: False})
    state.add_group(group)
    line = ChatLine("M1", "in", "chat", "sender", None, "no key", "", 2.5)
    state.add_line(account.number, line)
    state.add_watch(account.number, other.number)
    state.set_online(account.number, False)
    state.put("ports", b"{}")
    state.close()

    state = State(tmp_path / "state.sqlite3")
    assert state.accounts() == [account, other]
    assert state.account_of(account.lid_jid(3)) == account
    assert state.devices(account.number) == [device]
    assert state.reserve_device(account.number) == 2
    assert state.take_prekey(account.number, 1) == (2, b"b")
    assert state.take_prekey(account.number, 1) is None
    assert state.waiting(account.number, 1) == [stanza]
    assert state.groups_of(other.number) == [group]
    assert state.lines(account.number) == [line]
    assert state.watchers(account.number) == [other.number]
    assert (state.is_online(account.number), state.is_online(other.number)) == (False, True)
    assert state.get("ports") == b"{}"
    state.close()


def test_an_acknowledgement_drops_one_stanza_of_its_class_and_sender(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite3")
    first, second = (
        Node("receipt", {"id": "M1", "from": Jid("1", "lid"), "type": kind}) for kind in ("sender", "read")
    )
    for stanza in (first, second):
        state.enqueue("1", 1, stanza)
    assert not state.acknowledge("1", 1, "message", "M1", "1@lid")
    assert not state.acknowledge("1", 1, "receipt", "M1", "2@lid")
    assert state.acknowledge("1", 1, "receipt", "M1", "1@lid")
    assert state.waiting("1", 1) == [second]
    state.close()


def test_a_removed_device_leaves_nothing_behind(tmp_path: Path) -> None:
    state = State(tmp_path / "state.sqlite3")
    state.add_device(Device("1", 1, b"n", b"i", 1, 1, b"s", b"g"))
    state.add_prekeys("1", 1, [(1, b"a")])
    state.enqueue("1", 1, Node("message", {"id": "M1"}))
    assert state.remove_device("1", 1)
    assert (state.devices("1"), state.count_prekeys("1", 1), state.waiting("1", 1)) == ([], 0, [])
    assert not state.remove_device("1", 1)
    state.close()
