"""Counts become StatsD datagrams: res_auth_stats' meters name for name, bounded names, and no count lost."""

from __future__ import annotations

import re
from collections import Counter
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.address import host, parse_host, parse_source, widen
from guard.core.event import Service, Transport
from guard.core.units import DAY, SECOND, Instant
from guard.wire import statsd
from guard.wire.statsd import ADDRESSES_PER_DAY, DATAGRAM_LIMIT, Meters

T0 = Instant(1_000 * SECOND)
METRIC = re.compile(r"([A-Za-z0-9_./-]+):([0-9]{1,20})\|([mcg])")
SEVEN = (Service.PJSIP, Transport.UDP, parse_host("198.51.100.7"))


def read(datagrams):
    """Parse as a server would, refusing what any server could misread: [(name, value, type)]."""
    metrics = []
    for datagram in datagrams:
        assert 0 < len(datagram) <= DATAGRAM_LIMIT
        for line in datagram.decode("ascii").split("\n"):
            match = METRIC.fullmatch(line)
            assert match, line
            metrics.append((match[1], int(match[2]), match[3]))
    return metrics


def lines(datagrams):
    read(datagrams)
    return [line for datagram in datagrams for line in datagram.decode().split("\n")]


# --- the meters of res_auth_stats


def test_one_failure_is_the_two_meters_that_res_auth_stats_sent():
    assert Meters().collect({SEVEN: 1}, {}, {}, T0) == [
        b"security.failed_auth.PJSIP.count:1|m\nsecurity.failed_auth.PJSIP.IPV4/UDP/198_51_100_7:1|m"
    ]


def test_repeats_within_one_flush_are_summed():
    assert lines(Meters().collect({SEVEN: 17}, {}, {}, T0)) == [
        "security.failed_auth.PJSIP.count:17|m",
        "security.failed_auth.PJSIP.IPV4/UDP/198_51_100_7:17|m",
    ]


def test_without_meter_support_meters_are_counters_with_a_name_of_their_own():
    assert lines(Meters("", meter_support=False).collect({SEVEN: 1}, {}, {}, T0)) == [
        "security.failed_auth.PJSIP.count_meter:1|c",
        "security.failed_auth.PJSIP.IPV4/UDP/198_51_100_7_meter:1|c",
    ]


def test_a_prefix_stands_before_every_name():
    sent = lines(Meters("pbx.berlin").collect({SEVEN: 1}, {"events": 2}, {"lag_ms": 3}, T0))
    assert sent == [
        "pbx.berlin.security.failed_auth.PJSIP.count:1|m",
        "pbx.berlin.security.failed_auth.PJSIP.IPV4/UDP/198_51_100_7:1|m",
        "pbx.berlin.astguard.events:2|c",
        "pbx.berlin.astguard.lag_ms:3|g",
    ]


def test_a_prefix_is_cut_and_cleaned_like_every_other_name():
    (name, *_), *_ = read(Meters("a b:c|d@e#f\n" + "x" * 99).collect({SEVEN: 1}, {}, {}, T0))
    assert name == "a_b_c_d_e_f_" + "x" * 28 + ".security.failed_auth.PJSIP.count"


def test_the_colons_of_ipv6_do_not_end_the_name():
    failed = {(Service.SIP, Transport.TLS, parse_host("2001:db8::7")): 2}
    assert lines(Meters().collect(failed, {}, {}, T0)) == [
        "security.failed_auth.SIP.count:2|m",
        "security.failed_auth.SIP.IPV6/TLS/2001_db8__7:2|m",
    ]


def test_a_network_keeps_its_prefix_length_and_so_its_name():
    failed = {
        (Service.AMI, Transport.TCP, parse_source("2001:db8::/64")): 2,
        (Service.AMI, Transport.TCP, parse_host("2001:db8::")): 1,
    }
    assert set(lines(Meters().collect(failed, {}, {}, T0))) == {
        "security.failed_auth.AMI.count:3|m",
        "security.failed_auth.AMI.IPV6/TCP/2001_db8__/64:2|m",
        "security.failed_auth.AMI.IPV6/TCP/2001_db8__:1|m",
    }


def test_services_and_transports_are_counted_apart():
    source = parse_host("192.0.2.1")
    failed = {
        (Service.PJSIP, Transport.UDP, source): 1,
        (Service.PJSIP, Transport.TCP, source): 2,
        (Service.AMI, Transport.TCP, source): 4,
    }
    assert set(lines(Meters().collect(failed, {}, {}, T0))) == {
        "security.failed_auth.PJSIP.count:3|m",
        "security.failed_auth.PJSIP.IPV4/UDP/192_0_2_1:1|m",
        "security.failed_auth.PJSIP.IPV4/TCP/192_0_2_1:2|m",
        "security.failed_auth.AMI.count:4|m",
        "security.failed_auth.AMI.IPV4/TCP/192_0_2_1:4|m",
    }


def test_nothing_counted_is_nothing_sent():
    assert Meters().collect({SEVEN: 0}, {"events": 0}, {}, T0) == []


# --- the cap on per-address names


def crowd(number, first=0):
    return {(Service.PJSIP, Transport.UDP, host((0x0A000000 + first + n).to_bytes(4, "big"))): 1 for n in range(number)}


def address_names(datagrams):
    return [name for name, _, _ in read(datagrams) if "/UDP/" in name]


def test_the_thousand_and_first_address_of_a_day_is_counted_under_other():
    meters = Meters()
    sent = meters.collect(crowd(ADDRESSES_PER_DAY + 3), {}, {}, T0)
    assert len(address_names(sent)) == ADDRESSES_PER_DAY == 1_000
    assert ("security.failed_auth.PJSIP.other", 3, "m") in read(sent)
    assert ("security.failed_auth.PJSIP.count", 1_003, "m") in read(sent)
    assert meters.capped == 3


def test_a_name_of_today_stays_when_the_day_is_full():
    meters = Meters()
    meters.collect(crowd(ADDRESSES_PER_DAY), {}, {}, T0)
    sent = read(meters.collect(crowd(1) | crowd(2, first=5_000), {}, {}, T0))
    assert ("security.failed_auth.PJSIP.IPV4/UDP/10_0_0_0", 1, "m") in sent
    assert ("security.failed_auth.PJSIP.other", 2, "m") in sent


def test_the_next_day_has_room_again():
    meters = Meters()
    meters.collect(crowd(ADDRESSES_PER_DAY), {}, {}, Instant(DAY - 1))
    assert len(address_names(meters.collect(crowd(5, first=5_000), {}, {}, Instant(DAY - 1)))) == 0
    assert len(address_names(meters.collect(crowd(5, first=5_000), {}, {}, Instant(DAY)))) == 5


def test_a_spoofed_crowd_does_not_take_the_names_of_the_heaviest():
    sent = read(Meters().collect(crowd(5_000) | {SEVEN: 2}, {}, {}, T0))
    assert ("security.failed_auth.PJSIP.IPV4/UDP/198_51_100_7", 2, "m") in sent


def test_those_the_tally_had_no_room_for_are_counted_under_other():
    meters = Meters()
    assert lines(meters.collect({SEVEN: 1, (Service.PJSIP, Transport.UDP, None): 9}, {}, {}, T0)) == [
        "security.failed_auth.PJSIP.count:10|m",
        "security.failed_auth.PJSIP.other:9|m",
        "security.failed_auth.PJSIP.IPV4/UDP/198_51_100_7:1|m",
    ]
    assert meters.capped == 9


# --- astguard's own counts


def test_running_totals_are_sent_as_differences():
    meters = Meters()
    assert lines(meters.collect({}, {"events": 5, "outcome.banned": 1}, {}, T0)) == [
        "astguard.events:5|c",
        "astguard.outcome.banned:1|c",
    ]
    assert lines(meters.collect({}, {"events": 7, "outcome.banned": 1}, {}, T0)) == ["astguard.events:2|c"]
    assert meters.collect({}, {"events": 7, "outcome.banned": 1}, {}, T0) == []


def test_a_total_that_began_anew_is_counted_from_nought():
    meters = Meters()
    meters.collect({}, {"events": 100}, {}, T0)
    assert lines(meters.collect({}, {"events": 3}, {}, T0)) == ["astguard.events:3|c"]


def test_a_name_that_was_left_out_once_is_not_counted_twice():
    meters = Meters()
    meters.collect({}, {"events": 100}, {}, T0)
    meters.collect({}, {}, {}, T0)
    assert lines(meters.collect({}, {"events": 101}, {}, T0)) == ["astguard.events:1|c"]


def test_gauges_are_sent_each_time_nought_included():
    meters = Meters("", meter_support=False)
    for _ in range(2):
        assert lines(meters.collect({}, {}, {"bans.active": 0, "lag_ms": 4}, T0)) == [
            "astguard.bans.active:0|g",
            "astguard.lag_ms:4|g",
        ]


def test_a_gauge_below_nought_is_nought_because_a_server_would_subtract_it():
    assert lines(Meters().collect({}, {}, {"lag_ms": -4}, T0)) == ["astguard.lag_ms:0|g"]


@pytest.mark.parametrize("name", ["a:b|c@d#e\nf", "Ünïcode", "", "x" * 5_000, "198.51.100.7 \x1b[2J"])
def test_a_strange_name_is_cleaned_and_cut(name):
    ((sent, value, kind),) = read(Meters().collect({}, {name: 1}, {}, T0))
    assert re.fullmatch(r"astguard\.[A-Za-z0-9_.-]{1,128}", sent)
    assert (value, kind) == (1, "c")


def test_a_datagram_is_filled_to_the_last_byte_and_no_further():
    def names(letter, last):  # as metrics: nine of 141 bytes, one of 77, one of 13 + last
        return [f"{letter}{n}".ljust(128, "x") for n in range(9)] + [
            f"{letter}_".ljust(64, "y"),
            letter.ljust(last, "z"),
        ]

    def sizes(*names):
        return [len(datagram) for datagram in Meters().collect({}, dict.fromkeys(names, 1), {}, T0)]

    assert sizes(*names("a", 63), *names("b", 63)) == [DATAGRAM_LIMIT, DATAGRAM_LIMIT]
    assert sizes(*names("a", 64)) == [DATAGRAM_LIMIT - 77, 77]


# --- laws

sources = st.one_of(
    st.none(),
    st.binary(min_size=4, max_size=4).map(host),
    st.binary(min_size=16, max_size=16).map(host),
    st.binary(min_size=16, max_size=16).map(lambda packed: widen(host(packed), 64)),
)
keys = st.tuples(st.sampled_from(Service), st.sampled_from(Transport), sources)
failures = st.dictionaries(keys, st.integers(0, 2**63 // 100), max_size=60)
few_keys = st.tuples(
    st.sampled_from(Service),
    st.sampled_from(Transport),
    st.integers(0, 3).map(lambda last: host(bytes((192, 0, 2, last)))),
)
totals = st.dictionaries(st.text(max_size=200), st.integers(0, 2**63), max_size=60)


@given(failures, totals, totals, st.text(max_size=60), st.booleans(), st.sampled_from((0, 3, 1_000)))
def test_every_datagram_fits_and_every_line_reads_back(failed, counts, gauges, prefix, meter_support, limit):
    with patch.object(statsd, "ADDRESSES_PER_DAY", limit):
        sent = read(Meters(prefix, meter_support).collect(failed, counts, gauges, T0))
    kinds = Counter(kind for _, _, kind in sent)
    assert kinds["g"] == len(gauges)
    assert bool(kinds["m"]) == (meter_support and any(failed.values()))


@given(
    st.lists(st.one_of(failures, st.dictionaries(few_keys, st.integers(0, 50))), max_size=4),
    st.lists(st.integers(0, 2), min_size=4, max_size=4),
    st.booleans(),
    st.sampled_from((0, 3, 1_000)),
)
def test_address_names_and_other_sum_to_the_count_in_every_flush(flushes, days, meter_support, limit):
    meters = Meters("p", meter_support)
    suffix = "" if meter_support else "_meter"
    now = 0
    with patch.object(statsd, "ADDRESSES_PER_DAY", limit):
        for failed, later in zip(flushes, days, strict=False):
            now += later * DAY
            sent = read(meters.collect(failed, {}, {}, Instant(now)))
            assert len({name for name, _, _ in sent}) == len(sent)
            for service in Service:
                base = f"p.security.failed_auth.{service}."
                mine = {name.removeprefix(base): value for name, value, _ in sent if name.startswith(base)}
                count = mine.pop("count" + suffix, 0)
                assert count == sum(mine.values())
                assert count == sum(number for key, number in failed.items() if key[0] is service)


@given(st.lists(st.dictionaries(st.sampled_from(("events", "tampered", "lost.lag")), st.integers(0, 99)), max_size=6))
def test_totals_are_conserved_over_flushes(steps):
    meters, totals, seen = Meters(), Counter(), Counter()
    for step in steps:
        totals.update(step)
        for name, value, _ in read(meters.collect({}, totals, {}, T0)):
            assert value > 0
            seen[name.removeprefix("astguard.")] += value
    assert +seen == +totals


@given(st.permutations(sorted(crowd(12))), st.permutations(sorted(crowd(12))))
def test_the_order_of_the_counts_changes_nothing(one, other):
    with patch.object(statsd, "ADDRESSES_PER_DAY", 5):
        results = [sorted(read(Meters().collect(dict.fromkeys(order, 1), {}, {}, T0))) for order in (one, other)]
    assert results[0] == results[1]
