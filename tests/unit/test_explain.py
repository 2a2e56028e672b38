"""What the engine tells of one source is what it does: each promise is tried on the engine that made it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.core.address import parse_host, parse_source
from guard.core.alarm import Kind as AlarmKind
from guard.core.ban import Op
from guard.core.engine import Engine
from guard.core.event import Kind, Transport
from guard.core.outcome import Outcome
from guard.core.rule import Across, Evidence, Mode, Scope
from guard.core.units import DAY, HOUR, MINUTE, SECOND, Duration, Instant, Wall
from tests.events import event, rule

ONE = parse_host("198.51.100.7")
NOW = 1_000 * SECOND


def engine(*rules, **changes):
    made = Engine(rules or [rule(threshold=5, window=5 * MINUTE)], **changes)
    made.tick(Instant(NOW))
    return made


def fail(made, times=1, *, at=None, every=SECOND, **fields):
    """Have events happen, one after the other; return the instant of the last."""
    at = made.now if at is None else at
    for number in range(times):
        if number or at > made.now:
            at = at if not number else at + every
        made.handle(
            [event(fields.get("source", ONE), at=at, **{k: v for k, v in fields.items() if k != "source"})],
            Instant(at),
            Wall(at),
        )
    return at


def only(made, now=None):
    """Return what is told of the one rule that has something against the source."""
    (standing,) = made.explain(ONE, Instant(now or made.now)).standings
    return standing


def test_of_a_stranger_nothing_is_known_and_asking_leaves_no_trace():
    made = engine()
    known = made.explain(ONE, made.now)
    assert (known.site, known.events, list(known.trail), list(known.standings)) == (ONE, 0, [], [])
    assert (known.factor, dict(known.trusted), dict(known.failing), list(known.held)) == (1.0, {}, {}, [])
    assert not any(table.entries for table in made.tables())


def test_it_tells_how_many_are_missing_when_the_oldest_leaves_and_what_follows():
    made = engine()
    at = fail(made, 2, at=NOW)
    standing = only(made, at + 10 * SECOND)
    assert (standing.offences, standing.proven, standing.needed) == (2, 0, 5)
    assert standing.leaves == NOW + 5 * MINUTE
    coming = standing.next
    assert (coming.missing, coming.scope, coming.evidence) == (3, Scope.SIP, Evidence.UNPROVEN)
    assert (coming.strike, coming.length, coming.alarm, coming.crowd) == (1, 10 * MINUTE, None, False)


def test_an_offence_that_has_left_the_window_is_told_no_more():
    made = engine()
    fail(made, at=NOW)
    assert only(made, NOW + 5 * MINUTE - 1).offences == 1
    assert made.explain(ONE, Instant(NOW + 5 * MINUTE)).standings == []


def test_each_event_is_told_with_what_came_of_it():
    made = engine()
    fail(made, at=NOW, session="call", account="101", challenge="c", response="r")
    fail(made, at=NOW + SECOND, session="call", account="101", challenge="c", response="r")
    fail(made, at=NOW + 2 * SECOND, kind=Kind.INVALID_ACCOUNT_ID, account="nobody")
    trail = made.explain(ONE, made.now).trail
    assert [trace.outcome for trace in trail] == [Outcome.COUNTED, Outcome.FOLDED, Outcome.HELD]
    assert made.explain(ONE, made.now).held  # and when it counts
    assert len(made.explain(ONE, made.now).trail) == 3  # asking takes nothing away


def test_proven_offences_are_told_to_close_everything():
    made = engine()
    fail(made, 2, at=NOW, transport=Transport.TCP)
    coming = only(made).next
    assert (coming.evidence, coming.scope) == (Evidence.PROVEN, Scope.ALL)


def test_former_bans_are_in_the_length_that_is_told():
    made = engine(rule(threshold=1))
    fail(made, at=NOW)
    made.tick(Instant(NOW + 11 * MINUTE))
    fail(made, at=made.now)
    made.tick(Instant(made.now + 31 * MINUTE))
    made.reload([rule(threshold=2)])
    fail(made, at=made.now)
    coming = only(made).next
    assert (coming.strike, coming.length) == (3, HOUR)


def test_trust_makes_the_threshold_higher_and_says_by_whom():
    made = engine()
    for account in ("101", "102"):
        fail(made, at=made.now, kind=Kind.SUCCESSFUL_AUTH, account=account, password=True)
    fail(made, at=made.now + SECOND, account="103")
    known = made.explain(ONE, made.now)
    assert set(known.trusted) == {"101", "102"}
    assert known.factor == pytest.approx(7, abs=0.01)
    (standing,) = known.standings
    assert standing.needed == 35
    assert (standing.next.scope, standing.next.alarm) == (None, AlarmKind.BROKEN_PHONE)  # one account, at its pace
    assert set(known.failing) == {"103"}
    fail(made, at=made.now + SECOND, account="104")
    coming = only(made).next
    assert (coming.scope, coming.alarm, coming.missing) == (Scope.SLOW, AlarmKind.TRUSTED_SOURCE, 33)


def test_one_of_many_that_guess_at_an_account_needs_fewer():
    made = engine(rule(threshold=5, window=5 * MINUTE, across=Across(3, 2)))
    for number in range(3):
        fail(made, source=parse_host(f"203.0.113.{number + 1}"), at=made.now, account="101")
    fail(made, at=made.now, account="101")
    coming = only(made).next
    assert (coming.crowd, coming.missing, coming.scope) == (True, 1, Scope.SIP)


def test_what_observes_says_so():
    made = engine(rule(threshold=2), mode=Mode.OBSERVE)
    fail(made, at=NOW)
    assert only(made).observes


def test_who_is_banned_already_has_nothing_to_fear_from_the_same_rule():
    made = engine(rule("one", threshold=3), rule("two", threshold=5))
    fail(made, 3, at=NOW)
    assert made.ledger.get(ONE).rule == "one"
    assert [standing.next for standing in made.explain(ONE, made.now).standings] == [None]


def test_a_network_that_a_rule_takes_for_one_source_is_told_of():
    made = engine(rule(threshold=5, prefix={4: 24, 6: 48}))
    fail(made, 2, at=NOW)
    assert only(made).source == parse_source("198.51.100.0/24")
    (standing,) = made.explain(parse_source("198.51.100.0/24"), made.now).standings
    assert standing.offences == 2
    assert made.explain(parse_source("198.51.0.0/16"), made.now).standings == []


@settings(max_examples=60, deadline=None)
@given(
    before=st.integers(1, 4), proven=st.booleans(), accounts=st.integers(0, 2), strikes=st.integers(0, 2),
    threshold=st.integers(5, 9),
)  # fmt: skip
def test_what_is_told_comes_true(before, proven, accounts, strikes, threshold):
    """Whatever the past, exactly as many more as are told bring exactly the ban that is told."""
    given_rule = rule(threshold=threshold, window=HOUR, ban=(Duration(10 * MINUTE), HOUR, DAY))
    made = engine(given_rule)
    transport = Transport.TCP if proven else Transport.UDP
    for _ in range(strikes):
        fail(made, threshold, at=made.now + SECOND, transport=transport)
        made.tick(made.ledger.get(ONE).until)
    for number in range(accounts):
        fail(made, at=made.now, kind=Kind.SUCCESSFUL_AUTH, account=f"phone-{number}", password=True)
    fail(made, before, at=made.now + SECOND, transport=transport, every=1, account="guessed")
    coming = only(made).next
    made.take_changes()
    fail(made, coming.missing - 1, at=made.now + 1, transport=transport, every=1, account="guessed")
    assert [change for change in made.take_changes() if change.op is Op.ADD] == []
    fail(made, at=made.now + 1, transport=transport, account="guessed")
    bans = [change.ban for change in made.take_changes() if change.op is Op.ADD]
    if coming.scope is None:
        assert bans == []
    else:
        (ban,) = bans
        assert (ban.scope, ban.evidence, ban.strike) == (coming.scope, coming.evidence, coming.strike)
        assert ban.until - ban.since == coming.length
