"""What a ban by hand would better not touch, read from the system's files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.cli.lifelines import (
    Lifeline,
    callers,
    gateways,
    gateways6,
    in_danger,
    lifelines,
    parse_environment,
    parse_parent,
    resolvers,
)
from guard.core.address import parse_host, parse_source, show_address

ROUTE = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
eth1\t0000000A\t0202A8C0\t0003\t0\t0\t100\t000000FF\t0\t0\t0
wg0\t00000000\t00000000\t0001\t0\t0\t50\t00000000\t0\t0\t0
"""
ROUTE6 = """\
20010db8000500000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000005 00000000 00450003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
"""


def shown(found):
    return [(show_address(line.source), line.what) for line in found]


def test_the_caller_is_who_logged_in_over_ssh():
    assert shown(callers({"SSH_CONNECTION": "203.0.113.5 50123 192.0.2.1 22"})) == [
        ("203.0.113.5", "your own SSH address")
    ]
    assert shown(callers({"SSH_CLIENT": "2001:db8::5%eth0 50123 22"})) == [("2001:db8::5", "your own SSH address")]
    assert shown(callers({"SSH_CONNECTION": "UNKNOWN 65535", "SSH_CLIENT": ""})) == []


def test_the_default_gateway_is_read_from_the_routing_table():
    assert shown(gateways(ROUTE, "little")) == [("192.168.2.1", "the default gateway")]
    assert shown(gateways(ROUTE.replace("0102A8C0", "C0A80201"), "big")) == [("192.168.2.1", "the default gateway")]


def test_the_default_gateway_of_ipv6_is_read_from_its_own_table():
    assert shown(gateways6(ROUTE6)) == [("fe80::1", "the default gateway")]


def test_resolvers_are_the_nameserver_lines():
    conf = "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver\n"
    assert shown(resolvers(conf)) == [("192.0.2.53", "the resolver"), ("fe80::1", "the resolver")]


def test_sudo_hides_the_login_but_the_process_above_has_it():
    environment = parse_environment("HOME=/\0SSH_CONNECTION=203.0.113.5 50123 192.0.2.1 22\0\0odd\0")
    assert environment == {"HOME": "/", "SSH_CONNECTION": "203.0.113.5 50123 192.0.2.1 22"}
    assert parse_parent("Name:\tbash\nPPid:\t812\nUid:\t0 0 0 0\n") == 812
    assert parse_parent("") == 0


@pytest.mark.parametrize("read", [gateways, gateways6, resolvers, parse_environment, parse_parent])
@given(text=st.text(st.characters() | st.sampled_from("0 \n\t:PPid=")))
def test_files_that_make_no_sense_are_passed_over(read, text):
    list(read(text)) if read is not parse_parent else read(text)


@pytest.mark.parametrize(
    ("wanted", "lost"),
    [
        ("203.0.113.5", ["your own SSH address 203.0.113.5"]),
        ("203.0.113.0/24", ["your own SSH address 203.0.113.5"]),
        ("0.0.0.0/0", ["the resolver 192.0.2.53", "your own SSH address 203.0.113.5"]),
        ("203.0.113.6", []),
        ("::/0", []),
    ],
)
def test_a_ban_that_covers_a_lifeline_says_which(wanted, lost):
    lines = [
        Lifeline(parse_host("203.0.113.5"), "your own SSH address"),
        Lifeline(parse_host("203.0.113.5"), "your own SSH address"),
        Lifeline(parse_host("192.0.2.53"), "the resolver"),
    ]
    assert in_danger(parse_source(wanted), lines) == lost


def test_the_machine_itself_can_be_asked():
    assert Lifeline(parse_host("203.0.113.5"), "your own SSH address") in lifelines({"SSH_CLIENT": "203.0.113.5 1 2"})
