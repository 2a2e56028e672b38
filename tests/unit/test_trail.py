"""The trail: what a source did last, as far as it is remembered."""

from __future__ import annotations

import pytest

from guard.core.address import parse_host, parse_source
from guard.core.engine import Engine
from guard.core.outcome import Outcome
from guard.core.trail import TRACES_LIMIT, TRAIL_LIMIT, Trails
from guard.core.units import SECOND
from tests.events import event, rule

ONE, TWO = parse_host("198.51.100.1"), parse_host("198.51.100.2")
SITE = parse_source("2001:db8:5::/64")
NEAR, FAR = parse_host("2001:db8:5::7"), parse_host("2001:db8:5::8")


def add(trails, site, *events):
    for one in events:
        trails.add(site, one, Outcome.COUNTED)


def accounts(trail):
    return [trace.account for trace in trail]


def test_the_last_events_are_told_the_oldest_first_and_once():
    trails = Trails()
    add(trails, ONE, *(event(ONE, at=number, account=str(number)) for number in range(TRAIL_LIMIT + 5)))
    assert accounts(trails.take(ONE)) == [str(number) for number in range(5, TRAIL_LIMIT + 5)]
    assert trails.take(ONE) == ()


def test_a_trace_has_who_when_what_and_where():
    trails = Trails()
    one = event(ONE, at=5 * SECOND, account="101", session="call", port=5070)
    add(trails, ONE, one)
    (trace,) = trails.take(ONE)
    assert trace == (*one[:8], Outcome.COUNTED)
    assert (trace.at, trace.account, trace.source, trace.local_port) == (5 * SECOND, "101", ONE, 5070)


def test_the_ban_of_one_host_of_a_site_tells_of_that_host_alone():
    trails = Trails()
    add(trails, SITE, event(NEAR, at=1, account="near"), event(FAR, at=2, account="far"))
    assert accounts(trails.take(NEAR)) == ["near"]
    assert accounts(trails.take(SITE)) == ["near", "far"]


def test_the_ban_of_a_network_tells_of_all_inside_by_their_time():
    trails = Trails()
    add(trails, TWO, event(TWO, at=1, account="first"), event(TWO, at=3, account="third"))
    add(trails, ONE, event(ONE, at=2, account="second"))
    elsewhere = parse_host("203.0.113.9")
    add(trails, elsewhere, event(elsewhere, account="not"))
    assert accounts(trails.take(parse_source("198.51.100.0/24"))) == ["first", "second", "third"]
    assert trails.take(ONE) == ()
    assert accounts(trails.take(elsewhere)) == ["not"]


def test_there_are_never_more_traces_than_allowed_and_the_longest_untouched_go():
    trails = Trails(limit=20)
    hosts = [parse_host(f"203.0.113.{number}") for number in range(12)]
    for host in hosts:
        add(trails, host, event(host), event(host))
        assert sum(len(trail) for _, trail in trails.dump()) <= 20 + 1
    assert trails.forgotten > 0
    assert trails.take(hosts[0]) == ()
    assert len(trails.take(hosts[-1])) == 2


def test_the_engine_gives_what_led_to_a_ban_and_nothing_of_who_is_banned_or_allowed():
    engine = Engine([rule()], allow=[TWO])
    for number in range(5):  # the third bans
        engine.handle([event(ONE, at=number, account=str(number)), event(TWO, at=number)], number, number)
    assert accounts(engine.memory.take_trail(ONE)) == ["0", "1", "2"]
    assert engine.memory.take_trail(TWO) == ()


@pytest.mark.parametrize("limit", [TRACES_LIMIT])
def test_the_limit_is_the_one_that_was_reckoned_with(limit):
    assert limit * 300 < 10_000_000
