"""ipset messages: golden bytes out, listings in, whatever bytes come."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.wire import ipset
from guard.wire import nfnetlink as netlink
from guard.wire.ipset import Command, Entry, entries
from tests.kernel.golden import ALLOW, HOST, IPSET_MESSAGES, IPV4, IPV6, NET6, PORTS


@pytest.mark.parametrize("command", IPSET_MESSAGES)
def test_messages_are_the_golden_bytes_of_their_ipset_command(command):
    written, golden = IPSET_MESSAGES[command]
    assert written == [golden]


def test_an_order_is_for_the_subsystem_ipset_and_may_be_given_twice():
    (message,) = IPV4.messages(Command.ADD, IPV4.timed([(HOST, 60)]))
    kind, flags = struct.unpack_from("=HH", netlink.request(message, 1, ipset.SUBSYSTEM), 4)
    assert kind == 6 << 8 | 9
    assert not flags & netlink.EXCLUSIVE


@pytest.mark.parametrize(("writer", "key"), [(IPV4, HOST), (IPV6, NET6)])
def test_elements_are_spread_over_messages_of_a_thousand(writer, key):
    def spread(count):
        messages = writer.messages(Command.ADD, writer.timed([(key, 1)] * count))
        assert all(len(message.body) < 1 << 16 for message in messages)
        return [sum(1 for _ in entries(message.body)) for message in messages]

    assert spread(ipset.RUN) == [1_000]
    assert spread(ipset.RUN + 1) == [1_000, 1]
    assert spread(2_500) == [1_000, 1_000, 500]
    assert spread(0) == []


def test_no_ban_has_the_timeout_zero_which_means_never_or_one_that_the_kernel_refuses():
    assert IPV4.timed([(HOST, 0)]) == IPV4.timed([(HOST, 1)])
    assert IPV4.timed([(HOST, 30 * 86_400)]) == IPV4.timed([(HOST, 2_147_483)])


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.integers(1, 2_147_483)), min_size=2, max_size=50))
def test_bans_that_are_written_can_be_read_back(bans):
    (message,) = IPV4.messages(Command.ADD, IPV4.timed(bans))
    assert list(entries(message.body)) == [Entry(address, 0, seconds) for address, seconds in bans]


def test_networks_and_ports_that_are_written_can_be_read_back():
    (message,) = ALLOW.messages(Command.ADD, ALLOW.networks([(HOST, 32), (bytes((192, 0, 2, 0)), 24)]))
    assert list(entries(message.body)) == [Entry(HOST, 32, 0), Entry(bytes((192, 0, 2, 0)), 24, 0)]
    (message,) = PORTS.messages(Command.DELETE, PORTS.ports([5060, 65535]))
    assert list(entries(message.body)) == [Entry(b"\x13\xc4", 0, 0), Entry(b"\xff\xff", 0, 0)]


@given(st.binary(max_size=200))
def test_any_bytes_give_entries_or_a_value_error(data):
    inside = netlink.attribute(8, netlink.attribute(7, data))
    for body in (data, ipset.HEADER + inside, ipset.HEADER + netlink.attribute(8, data)):
        with suppress(ValueError):
            list(entries(body))
