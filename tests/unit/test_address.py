"""The one place where a string becomes an address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.address import (
    covers,
    host,
    is_host,
    is_special,
    mask,
    overlap,
    parse_host,
    parse_source,
    show,
    show_short,
    site,
    widen,
)
from guard.errors import AddressError

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


def test_a_mapped_address_counts_as_ipv4():
    assert parse_host("::ffff:198.51.100.7") == parse_host("198.51.100.7")
    assert parse_source("::ffff:198.51.100.0/120") == parse_source("198.51.100.0/24")


def test_a_zone_is_dropped_from_an_address_that_asterisk_reports():
    assert parse_host("fe80::1%eth0") == parse_host("fe80::1")


@pytest.mark.parametrize(
    "text",
    ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "1.2.3.4/32", "0x7f.1", "2130706433", "::g", "[::1]",
     "1.2.3.4\n", "１.2.3.4", "localhost"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(AddressError, match="is not an address; write it like"):
        parse_host(text)


@pytest.mark.parametrize(
    "text", ["", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/255.255.0.255", "::/129", "a/b", "1.2.3.4/24/8"]
)
def test_what_is_no_network_is_refused(text):
    with pytest.raises(AddressError, match="is not an address or network"):
        parse_source(text)


def test_bits_behind_the_prefix_are_a_mistake_with_a_suggestion():
    with pytest.raises(AddressError, match=r"did you mean 198\.51\.100\.0/24\?"):
        parse_source("198.51.100.7/24")


def test_a_source_with_a_zone_is_refused():
    with pytest.raises(AddressError):
        parse_source("fe80::1%eth0")


@given(addresses, st.integers(0, 128))
def test_widening_is_what_ipaddress_says(address, wanted):
    source = host(address.packed)
    length = min(wanted, address.max_prefixlen)
    network = ipaddress.ip_network((address, length), strict=False)
    assert show(widen(source, length)) == str(network)
    assert covers(widen(source, length), source)
    assert is_host(widen(source, length)) == (length == address.max_prefixlen)
    assert ipaddress.ip_address(mask(address.version, length)) == network.netmask


@given(addresses, addresses, st.integers(0, 128), st.integers(0, 128))
def test_covering_is_what_ipaddress_says(one, other, one_length, other_length):
    networks = [
        ipaddress.ip_network((address, min(length, address.max_prefixlen)), strict=False)
        for address, length in ((one, one_length), (other, other_length))
    ]
    sources = [widen(host(network.network_address.packed), network.prefixlen) for network in networks]
    same = one.version == other.version
    assert covers(sources[0], sources[1]) == (same and networks[1].subnet_of(networks[0]))
    assert overlap(sources[0], sources[1]) == (same and networks[0].overlaps(networks[1]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("198.51.100.7", "198.51.100.7/32"),
        ("2001:db8::7", "2001:db8::/64"),
        ("fe80::7", "fe80::7/128"),  # or one neighbour's ban would be everybody's
        ("64:ff9b::198.51.100.7", "64:ff9b::c633:6407/128"),  # IPv4 behind a translator: all of it in one /64
        ("64:ff9b:1:fffe::198.51.100.7", "64:ff9b:1:fffe::c633:6407/128"),
        ("64:ff9b:2::7", "64:ff9b:2::/64"),
    ],
)
def test_one_source_is_a_site_and_never_more_than_one_partys(text, expected):
    assert show(site(parse_host(text))) == expected
    assert covers(site(parse_host(text), {4: 24, 6: 48}), parse_host(text))


@given(addresses, st.integers(0, 128))
def test_what_is_shown_is_read_back(address, wanted):
    source = widen(host(address.packed), min(wanted, address.max_prefixlen))
    if is_host(source):  # a mapped address was never made by the parser
        source = parse_host(str(address))
    elif source[0] == 6 and address.ipv4_mapped and source[1] >= 96:
        source = widen(parse_host(str(address)), source[1] - 96)
    assert parse_source(show(source)) == source
    assert parse_source(show_short(source)) == source


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.255.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "::", "::1",
     "ff02::1", "::ffff:127.0.0.1"],
)  # fmt: skip
def test_special_addresses_are_never_a_source(text):
    assert is_special(parse_host(text))


@pytest.mark.parametrize("text", ["198.51.100.7", "10.0.0.1", "169.254.1.1", "2001:db8::1", "fe80::1", "::2", "1::"])
def test_other_addresses_can_be_a_source(text):
    assert not is_special(parse_host(text))


@pytest.mark.parametrize(
    ("text", "special"),
    [("0.0.0.0/0", True), ("126.0.0.0/7", True), ("128.0.0.0/2", False), ("198.51.100.0/24", False), ("::/0", True),
     ("::/64", True), ("2001:db8::/32", False), ("fe00::/7", True), ("192.0.0.0/3", False), ("192.0.0.0/2", True)],
)  # fmt: skip
def test_a_network_is_special_if_it_touches_one(text, special):
    assert is_special(parse_source(text)) is special
