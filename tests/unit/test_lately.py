"""Who attacks of late: what counts, what is the heaviest, and what is forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core import lately as module
from guard.core.address import host, parse_source
from guard.core.lately import PAIRS_LIMIT, TURN, Heavy, Lately
from guard.core.outcome import Outcome
from guard.core.units import SECOND
from tests.events import event

ONE, TWO, THREE = (parse_source(f"198.51.100.{n}") for n in (1, 2, 3))
ATTEMPTS = {Outcome.HELD, Outcome.COUNTED, Outcome.OBSERVED, Outcome.BANNED, Outcome.ALREADY_BANNED, Outcome.AFTER_BAN}


def tried(lately, *tries, now=0, outcome=Outcome.COUNTED):
    events = [event(source, account=account) for source, account in tries]
    lately.add(events, [outcome] * len(events), now)


def heaviest(lately, rows=10):
    *_, last = lately.heaviest(rows)
    return last


def test_sources_and_accounts_are_summed_and_the_heaviest_come_first():
    lately = Lately(0)
    tried(lately, (ONE, "101"), (ONE, "101"), (ONE, "102"), (TWO, "101"))
    assert heaviest(lately) == ({ONE: Heavy(3, 2), TWO: Heavy(1, 1)}, {"101": Heavy(3, 2), "102": Heavy(1, 1)})
    sources, accounts = heaviest(lately, 1)
    assert (list(sources), list(accounts)) == ([ONE], ["101"])


@pytest.mark.parametrize("outcome", Outcome)
def test_what_counts_is_an_attempt_that_somebody_could_be_banned_for(outcome):
    lately = Lately(0)
    tried(lately, (ONE, "101"), outcome=outcome)
    assert bool(heaviest(lately)[0]) == (outcome in ATTEMPTS)


def test_an_ipv6_site_is_one_source():
    lately = Lately(0)
    tried(lately, (parse_source("2001:db8::1"), "101"), (parse_source("2001:db8::2"), "101"))
    assert heaviest(lately)[0] == {parse_source("2001:db8::/64"): Heavy(2, 1)}


def test_an_account_is_cut():
    lately = Lately(0)
    tried(lately, (ONE, "x" * 255), (ONE, "x" * 254))
    assert heaviest(lately)[1] == {"x" * 80: Heavy(2, 1)}


def test_what_is_long_ago_is_forgotten_after_two_turns_and_not_before():
    lately = Lately(0)
    tried(lately, (ONE, "101"), now=TURN - SECOND)
    tried(lately, (TWO, "101"), now=TURN)
    assert lately.since == 0
    assert heaviest(lately) == ({ONE: Heavy(1, 1), TWO: Heavy(1, 1)}, {"101": Heavy(2, 2)})
    tried(lately, (ONE, "101"), now=2 * TURN - SECOND)
    assert heaviest(lately) == ({ONE: Heavy(2, 1), TWO: Heavy(1, 1)}, {"101": Heavy(3, 2)})
    tried(lately, (THREE, "101"), now=2 * TURN)
    assert lately.since == TURN
    assert heaviest(lately)[0] == {ONE: Heavy(1, 1), TWO: Heavy(1, 1), THREE: Heavy(1, 1)}
    assert lately.forgotten == 0


def test_a_flood_of_new_addresses_makes_it_look_back_less_and_does_not_hide_the_heavy_one():
    lately = Lately(0, limit=100)
    for number in range(1_000):
        tried(lately, (host(number.to_bytes(4, "big")), "101"), (ONE, "101"), now=number * SECOND)
        assert len(lately._young) + len(lately._old) <= 100
    assert lately.table.entries <= lately.table.limit == 100
    assert lately.forgotten == lately.table.evicted > 800
    assert lately.since > 900 * SECOND
    (heavy, _), *_ = heaviest(lately, 1)[0].items()
    assert heavy == ONE


def test_the_work_comes_in_pieces_and_events_may_come_in_between(monkeypatch):
    monkeypatch.setattr(module, "PIECE", 10)
    lately = Lately(0)
    tried(lately, *((host(number.to_bytes(4, "big")), "101") for number in range(95)))
    pieces = 0
    for piece in lately.heaviest(3):
        tried(lately, (host((1_000 + pieces).to_bytes(4, "big")), "101"), now=TURN * pieces)
        pieces += piece is None
    assert pieces == 10 + 10 + 1  # the pairs, the largest of 95 sources, of one account
    assert piece[1]["101"].attempts >= 95


@given(st.lists(st.tuples(st.sampled_from([ONE, TWO, THREE]), st.sampled_from("abc")), max_size=60), st.integers(0, 59))
def test_two_tables_tell_the_same_as_one(tries, cut):
    one, two = Lately(0), Lately(0)
    tried(one, *tries)
    tried(two, *tries[:cut], now=TURN - SECOND)
    tried(two, *tries[cut:], now=TURN)
    assert heaviest(one, 100) == heaviest(two, 100)


def test_the_limit_is_a_hundred_thousand_pairs():
    assert Lately(0).table.limit == PAIRS_LIMIT == 100_000
