"""The whole in its thread: start and stop, ports, outages, waiting, and the way in through the proxy."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path

import pytest

from simulator import Handset, PhoneError, Ports, Simulator, SimulatorError
from simulator.server import Ports as ServerPorts

from .conftest import ANA, BOB


def tunnel(simulator: Simulator, host: str = "web.whatsapp.com") -> http.client.HTTPSConnection:
    """A request through the proxy, as a client of the real address makes it."""
    context = ssl.create_default_context(cafile=str(simulator.ca_file))
    connection = http.client.HTTPSConnection("127.0.0.1", simulator.ports.proxy, timeout=5, context=context)
    connection.set_tunnel(host, 443)
    return connection


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_it_comes_back_on_the_same_ports_with_the_same_keys_and_phones(tmp_path: Path) -> None:
    with Simulator(tmp_path) as simulator:
        ana = simulator.phone(ANA, name="Ana")
        before = (simulator.environment, ServerPorts(**vars(simulator.ports)), simulator.root_key)
        simulator.stop()
        assert not is_listening(before[1].proxy)
        simulator.start()
        assert (simulator.environment, simulator.ports, simulator.root_key) == before
        assert ana.name == "Ana"
        assert simulator.phone(ANA).lid == ana.lid
    with Simulator(tmp_path) as another:
        assert (another.environment, another.ports, another.root_key) == before


def test_the_environment_says_all_that_a_client_needs(simulator: Simulator) -> None:
    environment = simulator.environment
    assert environment["HTTPS_PROXY"] == f"http://127.0.0.1:{simulator.ports.proxy}"
    assert Path(environment["SSL_CERT_FILE"]).is_file()
    assert environment["OXY_SIMULATOR"] == "1"
    assert len(bytes.fromhex(environment["OXY_SIMULATOR_ROOT"])) == 32


@pytest.mark.parametrize(
    ("host", "status"), [("web.whatsapp.com", 426), ("g.whatsapp.net", 426), ("mmg.whatsapp.net", 404)]
)
def test_the_proxy_brings_whatsapps_names_to_a_trusted_server(simulator: Simulator, host: str, status: int) -> None:
    connection = tunnel(simulator, host)
    connection.request("GET", "/ws/chat")
    # Not a WebSocket's handshake, but an answer of the WebSocket server behind TLS, or of the media server.
    assert connection.getresponse().status == status
    connection.close()


def test_the_proxy_forwards_nothing_but_tunnels(simulator: Simulator) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", simulator.ports.proxy, timeout=5)
    connection.request("GET", "http://web.whatsapp.com/")
    assert connection.getresponse().status == 405
    connection.close()


def test_outage_closes_the_ports_until_it_ends(simulator: Simulator) -> None:
    simulator.faults.outage(seconds=0)
    assert not is_listening(simulator.ports.proxy)
    assert not is_listening(simulator.ports.ws)
    assert is_listening(simulator.ports.control)
    simulator.faults.clear()
    assert is_listening(simulator.ports.proxy)
    assert is_listening(simulator.ports.ws)


def test_an_outage_of_the_other_kind_answers_503(simulator: Simulator) -> None:
    simulator.faults.outage(mode="503", seconds=0)
    connection = tunnel(simulator)
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "A" * 22 + "==",
    }
    connection.request("GET", "/ws/chat", headers=upgrade)
    assert connection.getresponse().status == 503
    connection.close()


def test_a_port_in_use_is_said_in_one_sentence(simulator: Simulator, tmp_path: Path) -> None:
    for name in ("proxy", "tls", "ws", "control"):
        taken = getattr(simulator.ports, name)
        other = Simulator(tmp_path / f"other-{name}", ports=Ports(**{name: taken}))
        with pytest.raises(SimulatorError, match=f"The port {taken} on 127.0.0.1 is in use"):
            other.start()


def test_a_state_that_is_none_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "simulator.sqlite3").write_bytes(b"not a database at all" * 100)
    with pytest.raises(SimulatorError, match=r"^The state file .* can't be used: .*\.$"):
        Simulator(tmp_path).start()


def test_a_stopped_simulator_says_so(tmp_path: Path) -> None:
    with Simulator(tmp_path) as simulator:
        ana = simulator.phone(ANA)
    with pytest.raises(SimulatorError, match="stopped"):
        ana.go_offline()


@pytest.mark.parametrize("number", ["", "12", "+5511987650001", "0511987650001", "55119876x0001"])
def test_what_is_no_phone_number_is_refused(simulator: Simulator, number: str) -> None:
    with pytest.raises(PhoneError) as error:
        simulator.phone(number)
    assert error.value.reason == "bad-number"


def test_phones_talk_and_are_waited_for(simulator: Simulator) -> None:
    ana, bob = simulator.phone(ANA, name="Ana"), simulator.phone(BOB, name="Bob")
    sent = ana.send_text(BOB, "hello")
    assert bob.wait_for_text("hello").id == sent
    assert ana.wait_for(lambda line: line.status == "delivered").id == sent
    with pytest.raises(TimeoutError):
        bob.wait_for_text("never", timeout=0.05)


def test_a_phone_that_is_offline_does_not_send(simulator: Simulator) -> None:
    ana: Handset = simulator.phone(ANA)
    simulator.phone(BOB)
    ana.go_offline()
    with pytest.raises(PhoneError) as error:
        ana.send_text(BOB, "hello")
    assert error.value.reason == "offline"


def test_messages_to_nobody_are_refused(simulator: Simulator) -> None:
    with pytest.raises(PhoneError) as error:
        simulator.phone(ANA).send_text("5511900000000", "hello")
    assert error.value.reason == "no-such-account"


def test_chats_and_signal_sessions_outlive_a_restart(simulator: Simulator) -> None:
    ana, bob = simulator.phone(ANA), simulator.phone(BOB)
    ana.send_text(BOB, "before")
    bob.wait_for_text("before")
    bob.go_offline()
    simulator.stop()
    simulator.start()
    ana.send_text(BOB, "between")
    bob.go_online()
    bob.wait_for_text("between")
    assert [line.text for line in bob.inbox] == ["before", "between"]


def test_an_unknown_fault_is_no_attribute(simulator: Simulator) -> None:
    with pytest.raises(AttributeError):
        simulator.faults.nonsense()
    with pytest.raises(SimulatorError, match="There is no fault"):
        simulator.faults.cause("nonsense")
