"""What is taken back comes from a file: whatever stands there, the engine goes on, and its laws hold."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.address import packed, parse_source
from guard.core.ban import Ban
from guard.core.engine import Engine
from guard.core.event import Kind, Transport
from guard.core.memory import Former
from guard.core.rule import Evidence, Mode, Scope
from guard.core.units import DAY, HOUR, MINUTE, SECOND, Duration, Instant
from tests.events import event, rule

NOW = 1_000 * HOUR
ONE, TWO, NET = (parse_source(text) for text in ("198.51.100.1", "198.51.100.2", "198.51.100.0/24"))


def ban(source=ONE, *, left=HOUR, **fields):
    return Ban(source=source, rule="guessing", since=Instant(NOW - HOUR), until=Instant(NOW + left), **fields)


def busy(**options):
    """An engine that knows something of everything."""
    engine = Engine([rule(), rule("watched", mode=Mode.OBSERVE, threshold=1)], **options)
    for number in range(6):
        for kind in (Kind.INVALID_ACCOUNT_ID, Kind.CHALLENGE_SENT, Kind.CHALLENGE_RESPONSE_FAILED):
            host = f"203.0.113.{number % 4}"
            engine.handle([event(host, kind, at=NOW, account=str(number), session=str(number % 2))], NOW, NOW)
    engine.handle([event("192.0.2.7", Kind.SUCCESSFUL_AUTH, Transport.TCP, at=NOW, password=True)], NOW, NOW)
    return engine


def dumped(engine, now=NOW):
    return json.loads(json.dumps(list(engine.memory.dump(now)), default=bytes.hex))


def test_bans_that_may_not_be_made_any_more_have_no_place():
    engine = Engine([], allow=[TWO])
    special = parse_source("127.0.0.0/8")
    left = engine.memory.restore_bans([ban(), ban(TWO), ban(special), ban(NET)])
    assert {one.source for one in left} == {TWO, special, NET}  # somebody inside the network is allowed
    assert [one.source for one in engine.ledger] == [ONE]


@pytest.mark.parametrize(
    ("wide", "narrow", "kept"),
    [(Scope.ALL, Scope.SIP, {NET}), (Scope.SIP, Scope.SIP, {NET}), (Scope.SIP, Scope.ALL, {NET, ONE})],
)
def test_bans_that_overlap_are_not_both_taken_back(wide, narrow, kept):
    engine = Engine([])
    engine.memory.restore_bans([ban(scope=narrow), ban(NET, scope=wide)])
    assert {one.source for one in engine.ledger} == kept


def test_no_more_bans_are_taken_back_than_a_set_holds():
    engine = Engine([], capacity=2)
    bans = [ban(parse_source(f"203.0.113.{number}")) for number in range(4)]
    assert engine.memory.restore_bans(bans) == bans[2:]
    assert engine.ledger.refused == 2


def test_a_ban_that_was_taken_back_ends_on_time_and_can_be_lifted():
    engine = Engine([])
    engine.memory.restore_bans([ban(), ban(TWO, left=2 * HOUR)])
    assert engine.deadline == NOW + HOUR
    engine.tick(Instant(NOW + HOUR))
    assert [(change.op, change.ban.source) for change in engine.take_changes()] == [("expire", ONE)]
    assert engine.unban(TWO, Instant(NOW + HOUR))


def test_a_full_set_of_unproven_bans_taken_back_still_makes_room():
    engine = Engine([rule(threshold=1, prefix={4: 32, 6: 64})], capacity=2)
    unproven = {"evidence": Evidence.UNPROVEN, "scope": Scope.SIP}
    engine.memory.restore_bans([ban(**unproven), ban(TWO, left=2 * HOUR, **unproven)])
    engine.handle([event("203.0.113.9", at=NOW)], NOW, NOW)
    assert {one.source for one in engine.ledger} == {TWO, parse_source("203.0.113.9")}


def test_former_bans_of_the_future_do_not_hold_back_the_ladder():
    """The clock was a year ahead: a source would never climb, because its last ban seems not to have ended."""
    engine = Engine([rule(threshold=1)])
    engine.memory.restore_formers([Former(ONE, Evidence.UNPROVEN, 2, Instant(NOW + 365 * DAY))], Instant(NOW))
    engine.handle([event("198.51.100.1", at=NOW)], NOW, NOW)
    assert next(iter(engine.ledger)).strike == 3


def test_former_bans_of_who_is_still_banned_end_with_the_ban():
    engine = Engine([])
    engine.memory.restore_bans([ban()])
    engine.memory.restore_formers([Former(ONE, Evidence.PROVEN, 2, Instant(NOW + 365 * DAY))], Instant(NOW))
    assert engine.memory.former(ban()).end == NOW + HOUR


def test_windows_of_another_rule_of_the_same_name_are_not_taken_back():
    rows = dumped(busy())
    changed = Engine([rule(weights={Kind.INVALID_ACCOUNT_ID: 1})])
    assert changed.memory.restore(rows, Duration(0), Instant(NOW)) == 0
    assert not list(changed._judge._tracks._all[0]._all.dump())
    same = Engine([rule(threshold=9)])
    same.memory.restore(rows, Duration(0), Instant(NOW))
    assert list(same._judge._tracks._all[0]._all.dump())


def test_what_is_too_old_for_its_window_counts_nothing():
    engine = Engine([rule()])
    engine.handle([event(at=NOW), event(at=NOW)], NOW, NOW)
    rows = dumped(engine)
    for elapsed, outcome in ((59 * SECOND, "banned"), (MINUTE, "counted")):
        later = Engine([rule()])
        later.memory.restore(rows, Duration(elapsed), Instant(5))
        (came,) = later.handle([event(at=NOW + elapsed)], Instant(5), NOW + elapsed)
        assert came == outcome


def test_a_broken_phone_is_told_of_once_a_day_whatever_restarts():
    engine = Engine([])
    engine.muted(1, Instant(NOW))
    assert engine.take_alarms()
    later = Engine([])
    later.memory.restore(dumped(engine), Duration(HOUR), Instant(9))
    later.muted(1, Instant(10))
    assert not later.take_alarms()


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=300)
    | st.sampled_from([ONE.hex(), "all", "open"]),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=20,
)
ROWS = dumped(busy())


@given(st.lists(st.tuples(st.integers(0, len(ROWS) - 1), st.lists(st.integers(0, 8), max_size=4), junk), max_size=12))
def test_rows_that_cannot_be_right_are_left_out_and_the_engine_goes_on(changes):
    """Values anywhere in genuine rows are exchanged for others."""
    rows = json.loads(json.dumps(ROWS))
    for number, path, value in changes:
        place = rows[number]
        for step in path:
            if not isinstance(place, list) or step >= len(place):
                break
            if step == path[-1] or not isinstance(place[step], list):
                place[step] = value
                break
            place = place[step]
    engine = Engine([rule(), rule("watched", mode=Mode.OBSERVE, threshold=1)])
    refused = engine.memory.restore(rows, Duration(0), Instant(NOW))
    assert refused <= len(changes)
    for number in range(4):
        engine.handle([event(f"203.0.113.{number}", at=NOW)] * 3, Instant(NOW), NOW)
    now = NOW
    for _ in range(200):
        if engine.deadline is None:
            break
        now = max(now + 1, engine.deadline)
        engine.tick(Instant(now))
    list(engine.memory.dump(Instant(now)))
    engine.take_alarms()


@pytest.mark.parametrize(
    "row", [[0, ONE.hex(), []], [3, ONE.hex(), [NOW]], [-1, ONE.hex(), [NOW]], [True, ONE.hex(), [NOW]]]
)
def test_a_window_without_offences_or_in_no_table_is_left_out(row):
    """A source without a single offence made the next one of it a crash."""
    engine = Engine([rule()])
    fingerprint = rule().fingerprint
    rows = [["track", "guessing", "rule", fingerprint], ["track", "guessing", "window", "all", *row]]
    assert engine.memory.restore(rows, Duration(0), Instant(NOW)) == 1
    (came,) = engine.handle([event("198.51.100.1", at=NOW, transport=Transport.TCP)], Instant(NOW), NOW)
    assert came == "counted"


@given(junk)
def test_anything_at_all_may_stand_in_the_file(value):
    engine = Engine([rule()])
    engine.memory.restore(value if isinstance(value, list) else [value], Duration(0), Instant(NOW))
    engine.handle([event(at=NOW)], Instant(NOW), NOW)


@pytest.mark.parametrize(
    "wrong", ["", "04", "0421c6336401", "0418c6336401", "0480c6336401", "0520c6336401", "0620c6336401"]
)
def test_packed_bytes_are_checked(wrong):
    with pytest.raises(ValueError, match="no packed network"):
        packed(bytes.fromhex(wrong))


def test_a_ban_that_was_taken_back_is_a_strike():
    engine = Engine([rule(threshold=1)])
    engine.memory.restore_bans([ban(strike=2, evidence=Evidence.UNPROVEN, scope=Scope.SIP)])
    later = Instant(NOW + HOUR + 1)
    engine.handle([event("198.51.100.1", at=later)], later, later)
    assert next(iter(engine.ledger)).strike == 3
