"""Packets really stop, and only those that should. Two namespaces, a wire, and every packet is a real one.

Nothing waits to see that a packet did not come: behind it goes a mark from a sender nobody bans, over the same wire,
and what was not heard before the mark was dropped.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest

from guard.core.address import parse_source
from guard.core.rule import Scope
from guard.firewall import Layout
from guard.firewall.choice import choose
from tests.kernel.conftest import NOW, add, nft, remove

FRIEND = {"4": ("192.0.2.66", "192.0.2.1"), "6": ("2001:db8:1::66", "2001:db8:1::1")}


class Wire:
    """The PBX's ears and the mouths of the far side."""

    def __init__(self, pbx, far, stack):
        self.pbx, self.far, self.stack = pbx, far, stack
        self.ears, self.mouths = {}, {}

    def _socket(self, place, address, port, kind=socket.SOCK_DGRAM):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with place.inside():
            made = self.stack.enter_context(socket.socket(family, kind))
        made.settimeout(5)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        return made

    def ear(self, family, port):
        key = (family, port)
        if key not in self.ears:
            self.ears[key] = self._socket(self.pbx, FRIEND[family][1], port)
        return self.ears[key]

    def mouth(self, address):
        if address not in self.mouths:
            self.mouths[address] = self._socket(self.far, address, 0)
        return self.mouths[address]

    def heard(self, address, port=5060, count=1):
        """Send from an address, then a mark from a friend; tell how many came before the mark."""
        family = "6" if ":" in address else "4"
        friend, pbx = FRIEND[family]
        ear = self.ear(family, port)
        for _ in range(count):
            self.mouth(address).sendto(b"knock", (pbx, port))
        self.mouth(friend).sendto(b"mark", (pbx, port))
        heard = 0
        while ear.recv(100) != b"mark":
            heard += 1
        return heard


@pytest.fixture(params=["nftables", "iptables"])
def firewall(request, place):
    """Give each backend of the kernel in turn."""
    made = choose(request.param)
    yield made
    made.close()


@pytest.fixture
def air(place, wire, firewall):
    """Give the wire with the backend set up on the PBX's side."""
    firewall.setup(Layout())
    with ExitStack() as stack:
        yield Wire(place, wire, stack)


@pytest.mark.parametrize(
    ("banned", "stopped", "passing"),
    [
        ("198.51.100.7", ["198.51.100.7"], ["198.51.100.8", "203.0.113.9", "2001:db8:5::7"]),
        ("198.51.100.0/24", ["198.51.100.7", "198.51.100.8"], ["203.0.113.9"]),
        ("2001:db8:5::/64", ["2001:db8:5::7", "2001:db8:5::8"], ["2001:db8:6::7", "198.51.100.7"]),
        ("2001:db8:5::7/128", ["2001:db8:5::7"], ["2001:db8:5::8"]),
        ("2001:db8:4::/46", ["2001:db8:5::7", "2001:db8:6::7"], ["198.51.100.7"]),
    ],
)
def test_a_banned_source_is_silent_and_its_neighbours_are_not(air, firewall, banned, stopped, passing):
    assert [air.heard(address) for address in [*stopped, *passing]] == [1] * len([*stopped, *passing])
    firewall.apply([add(banned)], NOW)
    assert [air.heard(address, port) for address in stopped for port in (5060, 12000)] == [0, 0] * len(stopped)
    assert [air.heard(address) for address in passing] == [1] * len(passing)
    firewall.apply([remove(banned)], NOW)
    assert [air.heard(address) for address in stopped] == [1] * len(stopped)


def test_a_ban_bites_on_an_established_udp_flow(air, place, firewall):
    # With conntrack watching, as on any host with a stateful firewall that accepts what is established.
    nft(
        place,
        "table inet stateful { chain input { type filter hook input priority 0; policy drop; "
        "iif lo accept; ct state established accept; udp dport 5060 accept; meta l4proto ipv6-icmp accept; } }",
    )
    for address, pbx in (("198.51.100.7", "192.0.2.1"), ("2001:db8:5::7", "2001:db8:1::1")):
        mouth = air.mouth(address)
        assert air.heard(address) == 1
        air.ear("6" if ":" in address else "4", 5060).sendto(b"challenge", mouth.getsockname()[:2])
        assert mouth.recv(100) == b"challenge"
        assert air.heard(address) == 1
        firewall.apply([add(address if "." in address else "2001:db8:5::/64")], NOW)
        assert air.heard(address) == 0, pbx


def test_a_ban_bites_on_an_open_tcp_connection(air, firewall):
    listener = air._socket(air.pbx, "192.0.2.1", 5060, socket.SOCK_STREAM)
    listener.listen()
    caller = air._socket(air.far, "198.51.100.7", 0, socket.SOCK_STREAM)
    caller.connect(("192.0.2.1", 5060))
    served, _ = listener.accept()
    air.stack.enter_context(served)
    served.settimeout(5)
    caller.sendall(b"REGISTER")
    assert served.recv(100) == b"REGISTER"
    firewall.apply([add("198.51.100.7")], NOW)
    caller.sendall(b"REGISTER again")
    assert air.heard("198.51.100.8") == 1  # sent behind it, heard: so the other one is not under way any more
    served.setblocking(False)
    with pytest.raises(BlockingIOError):
        served.recv(100)


def test_a_banned_source_cannot_open_a_tcp_connection(air, firewall):
    listener = air._socket(air.pbx, "192.0.2.1", 5060, socket.SOCK_STREAM)
    listener.listen()
    firewall.apply([add("198.51.100.7")], NOW)
    caller = air._socket(air.far, "198.51.100.7", 0, socket.SOCK_STREAM)
    caller.settimeout(0.3)
    with pytest.raises(TimeoutError):
        caller.connect(("192.0.2.1", 5060))


@pytest.mark.parametrize(
    ("allowed", "banned", "passing", "stopped"),
    [
        ("198.51.100.7", "198.51.100.0/24", "198.51.100.7", "198.51.100.8"),
        ("198.51.100.0/24", "198.51.100.7", "198.51.100.7", None),
        ("198.51.100.0/29", "198.51.100.0/24", "198.51.100.7", "198.51.100.8"),
        ("2001:db8:5::7/128", "2001:db8:5::/64", "2001:db8:5::7", "2001:db8:5::8"),
        ("2001:db8:4::/46", "2001:db8:5::/64", "2001:db8:5::7", None),
    ],
)
def test_the_allowlist_is_accepted_before_any_ban_is_looked_at(air, firewall, allowed, banned, passing, stopped):
    firewall.setup(Layout(allow=[parse_source(allowed)]))
    for scope in Scope:
        firewall.apply([add(banned, scope=scope)], NOW)
        assert air.heard(passing, count=30) == 30
        if stopped:
            assert air.heard(stopped, count=30) < 10


def test_who_is_accepted_by_now_is_heard_at_once_and_no_longer_when_that_ends(air, firewall):
    own = [parse_source("192.0.2.1"), parse_source("2001:db8:1::1/128")]
    firewall.setup(Layout(allow=own))
    firewall.apply([add("198.51.100.0/24"), add("2001:db8:5::/64")], NOW)
    added = [parse_source("198.51.100.7"), parse_source("2001:db8:5::7/128")]
    hosts = ("198.51.100.7", "2001:db8:5::7", "198.51.100.8")
    assert firewall.accept(added, [])
    assert [air.heard(address) for address in hosts] == [1, 1, 0]
    assert firewall.accept([], added[:1])
    assert [air.heard(address) for address in hosts] == [0, 1, 0]
    assert firewall.accept([], added)
    assert [air.heard(address) for address in hosts] == [0, 0, 0]


@pytest.mark.parametrize("source", ["198.51.100.7", "198.51.100.0/24", "2001:db8:5::/64"])
def test_the_scope_sip_closes_the_sip_ports_only(air, firewall, source):
    address = "2001:db8:5::7" if ":" in source else "198.51.100.7"
    firewall.setup(Layout(sip_ports=[5060, 5080]))
    firewall.apply([add(source, scope=Scope.SIP)], NOW)
    assert [air.heard(address, port) for port in (5060, 5080, 5061, 12000)] == [0, 0, 1, 1]


def test_a_port_that_is_learnt_is_closed_to_who_is_banned_already(air, firewall):
    firewall.apply([add("198.51.100.7", scope=Scope.SIP), add("2001:db8:5::/64", scope=Scope.SLOW)], NOW)
    assert [air.heard("198.51.100.7", port) for port in (5060, 5080, 12000)] == [0, 1, 1]
    firewall.close_ports([5060, 5080])
    assert [air.heard("198.51.100.7", port) for port in (5060, 5061, 5080, 12000)] == [0, 0, 0, 1]
    assert air.heard("2001:db8:5::7", 5080, count=100) < 50
    assert air.heard("198.51.100.8", 5080) == 1


def test_the_scope_sip_closes_tcp_as_well(air, firewall):
    firewall.apply([add("198.51.100.7", scope=Scope.SIP)], NOW)
    for port, opens in ((5060, False), (8089, True)):
        listener = air._socket(air.pbx, "192.0.2.1", port, socket.SOCK_STREAM)
        listener.listen()
        caller = air._socket(air.far, "198.51.100.7", 0, socket.SOCK_STREAM)
        caller.settimeout(5 if opens else 0.3)
        assert (caller.connect_ex(("192.0.2.1", port)) == 0) is opens


@pytest.mark.parametrize("source", ["198.51.100.0/24", "2001:db8:5::/64"])
def test_the_scope_slow_lets_the_stated_rate_through_to_each_element_by_itself(air, firewall, source):
    one = "2001:db8:5::7" if ":" in source else "198.51.100.7"
    firewall.setup(Layout(slow_rate=20))
    firewall.apply([add(source, scope=Scope.SLOW), add("203.0.113.9", scope=Scope.SLOW)], NOW)
    began = last = time.monotonic()
    heard = air.heard(one, count=100)
    burst = 5 + 20 * (time.monotonic() - began)
    assert 5 <= heard <= burst + 1
    assert air.heard("203.0.113.9", count=100) >= 5  # the other one has not been charged for this
    least, tokens = 5, 0.0  # what a bucket of four fifths of the rate lets through at the moments of our knocks
    while (elapsed := (now := time.monotonic()) - began) < 0.6:
        tokens = min(5, tokens + (now - last) * 20 * 0.8)
        least, tokens, last = least + (tokens >= 1), tokens - (tokens >= 1), now
        heard += air.heard(one)
        time.sleep(0.005)
    assert least - 1 <= heard <= 5 + 20 * elapsed + 1
    assert air.heard(one, 12000, count=50) == 50


def test_a_ban_ends_by_itself_with_nobody_running(air, firewall):
    firewall.apply([add("198.51.100.7", "1s", now=NOW - 600_000_000)], NOW)  # 400 ms are left
    began = time.monotonic()
    firewall.close()
    assert air.heard("198.51.100.7") == 0
    while not air.heard("198.51.100.7"):
        assert time.monotonic() - began < 3
        time.sleep(0.01)
    assert time.monotonic() - began >= (0.38 if firewall.name == "nftables" else 0.9)  # ipset counts in seconds


def test_adding_again_keeps_a_source_out_for_longer(air, firewall):
    firewall.apply([add("198.51.100.7", "1s", now=NOW - 700_000_000)], NOW)  # 300 ms are left
    firewall.apply([add("198.51.100.7", "1h")], NOW)
    time.sleep(0.5)
    assert air.heard("198.51.100.7") == 0


def test_what_is_dropped_is_counted_by_scope_and_stays_counted(air, firewall):
    firewall.apply(
        [add("198.51.100.7"), add("198.51.100.8", scope=Scope.SIP), add("203.0.113.9", scope=Scope.SLOW)], NOW
    )
    for address in ("198.51.100.7", "198.51.100.8"):
        air.heard(address, count=7)
    late = 50 - air.heard("203.0.113.9", count=50)
    size = 20 + 8 + len(b"knock")
    expected = {Scope.ALL: (7, 7 * size), Scope.SIP: (7, 7 * size), Scope.SLOW: (late, late * size)}
    assert late > 30
    assert firewall.dropped() == expected
    firewall.apply([add("198.51.100.9"), add("203.0.113.0/24"), remove("198.51.100.7")], NOW)
    firewall.setup(Layout())
    assert firewall.dropped() == expected


def test_our_own_traffic_over_loopback_is_never_dropped(air, firewall):
    firewall.apply([add("192.0.2.1"), add("127.0.0.0/8"), add("2001:db8:1::/64"), add("::1/128")], NOW)
    for address in ("192.0.2.1", "127.0.0.1", "2001:db8:1::1", "::1"):
        one, other = air._socket(air.pbx, address, 5060), air._socket(air.pbx, address, 0)
        other.sendto(b"ours", one.getsockname()[:2])
        assert one.recv(100) == b"ours"


def test_a_ban_of_our_own_link_leaves_neighbour_discovery_alone(air, place, firewall):
    firewall.apply([add("2001:db8:1::/64"), add("fe80::/64")], NOW)
    place.run("ip", "-6", "neighbour", "flush", "dev", "eth0")
    mouth, ear = air.mouth("2001:db8:1::66"), air.ear("6", 5060)
    ear.sendto(b"answer", mouth.getsockname()[:2])  # needs the neighbour's link address, hence its advertisement
    assert mouth.recv(100) == b"answer"
    mouth.sendto(b"knock", ear.getsockname()[:2])
    ear.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ear.recv(100)


def test_first_fragments_of_a_banned_scope_are_dropped_so_the_rest_is_never_whole(air, firewall):
    firewall.apply([add("198.51.100.7", scope=Scope.SIP)], NOW)
    air.mouth("198.51.100.7").sendto(b"x" * 4000, ("192.0.2.1", 5060))
    assert air.heard("198.51.100.8") == 1


@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8:5::7"])
@pytest.mark.parametrize(("scope", "goes_on"), [(Scope.SIP, True), (Scope.SLOW, True), (Scope.ALL, False)])
def test_the_sound_of_a_running_call_is_only_touched_by_the_scope_all(air, firewall, address, scope, goes_on):
    family = "6" if ":" in address else "4"
    ear, mouth = air.ear(family, 12_000), air.mouth(address)
    assert air.heard(address, 12_000, count=50) == 50
    firewall.apply([add(address if family == "4" else "2001:db8:5::/64", scope=scope)], NOW)
    assert air.heard(address, 12_000, count=50) == (50 if goes_on else 0)
    for _ in range(50):
        ear.sendto(b"sound", mouth.getsockname()[:2])
    assert [mouth.recv(100) for _ in range(50)] == [b"sound"] * 50  # what we send is nobody's to stop
    assert air.heard(address, 5060, count=50) < 20
