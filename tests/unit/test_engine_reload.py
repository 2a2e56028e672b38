"""Other rules for a running engine: what stays, what starts anew."""

from __future__ import annotations

from guard.core.ban import Op
from guard.core.engine import Engine
from guard.core.event import Kind, Transport
from guard.core.limit import A_MINUTE
from guard.core.outcome import Outcome
from guard.core.rule import SIP_PORTS, Mode
from guard.core.units import HOUR, MINUTE, SECOND
from tests.events import event, rule

T = 1_000 * SECOND
COUNTED, BANNED, OBSERVED = Outcome.COUNTED, Outcome.BANNED, Outcome.OBSERVED


def feed(guard, count, *, now=T, source="198.51.100.7", **fields):
    fields = {"transport": Transport.TCP} | fields
    return [guard.handle([event(source, at=now, **fields)], now, now)[0] for _ in range(count)]


def ops(guard):
    return [change.op for change in guard.take_changes()]


def test_offences_before_the_reload_count_under_a_lower_threshold():
    guard = Engine([rule(threshold=5)])
    assert feed(guard, 2) == [COUNTED, COUNTED]
    guard.reload([rule(threshold=3)])
    assert feed(guard, 1) == [BANNED]


def test_a_threshold_that_was_passed_before_bans_at_the_next_offence_only():
    guard = Engine([rule(threshold=9)])
    feed(guard, 5)
    guard.reload([rule(threshold=3)])
    assert ops(guard) == []
    guard.tick(T + SECOND)
    assert ops(guard) == []
    assert feed(guard, 1, now=T + SECOND) == [BANNED]


def test_a_longer_window_keeps_what_the_shorter_one_had():
    guard = Engine([rule(window=MINUTE)])
    feed(guard, 2)
    guard.reload([rule(window=10 * MINUTE)])
    assert feed(guard, 1, now=T + 9 * MINUTE) == [BANNED]


def test_a_shorter_window_forgets_what_is_too_old_for_it():
    guard = Engine([rule(window=10 * MINUTE)])
    feed(guard, 2)
    guard.reload([rule(window=MINUTE)])
    assert feed(guard, 2, now=T + 2 * MINUTE) == [COUNTED, COUNTED]
    assert feed(guard, 1, now=T + 2 * MINUTE) == [BANNED]


def test_a_rule_that_counts_other_offences_starts_anew():
    guard = Engine([rule()])
    feed(guard, 2)
    guard.reload([rule(prefix={4: 24, 6: 48})])
    assert feed(guard, 2) == [COUNTED, COUNTED]
    assert feed(guard, 1) == [BANNED]


def test_a_rule_that_went_counts_nothing_and_its_bans_stay():
    guard = Engine([rule()])
    feed(guard, 3)
    guard.reload([])
    assert feed(guard, 3, source="198.51.100.8") == [Outcome.UNMATCHED] * 3
    assert [ban.rule for ban in guard.ledger] == ["guessing"]
    assert feed(guard, 1) == [Outcome.ALREADY_BANNED]


def test_other_bans_hold_from_the_next_one_on_and_strikes_are_kept():
    guard = Engine([rule(ban=(MINUTE, HOUR))])
    feed(guard, 3)
    guard.reload([rule(ban=(2 * MINUTE, 2 * HOUR))])
    (ban,) = guard.ledger
    assert ban.until - ban.since == MINUTE
    assert feed(guard, 3, now=T + 2 * MINUTE)[-1] is BANNED
    (ban,) = guard.ledger
    assert (ban.strike, ban.until - ban.since) == (2, 2 * HOUR)


def test_what_only_observed_bans_after_a_reload_to_enforce_and_the_other_way_round():
    guard = Engine([rule()], mode=Mode.OBSERVE)
    assert feed(guard, 3)[-1] is OBSERVED
    guard.reload([rule()], mode=Mode.ENFORCE)
    assert feed(guard, 3) == [COUNTED, COUNTED, BANNED]  # the observed ban has used up what came before
    guard.reload([rule()], mode=Mode.OBSERVE)
    assert feed(guard, 3, source="198.51.100.8")[-1] is OBSERVED
    assert len(guard.ledger) == 1


def test_who_waits_for_the_limit_is_not_banned_by_a_rule_that_went_or_only_observes():
    for after in ([], [rule(mode=Mode.OBSERVE)]):
        guard = Engine([rule()])
        for last in range(A_MINUTE // 2 + 5):
            feed(guard, 3, source=f"198.51.100.{last}", transport=Transport.UDP)
        assert ops(guard) == [Op.ADD] * (A_MINUTE // 2)
        assert guard.deadline == T + SECOND
        guard.reload(after)
        for second in range(1, 10):
            guard.tick(T + second * SECOND)
        assert ops(guard) == []


def test_who_waits_for_the_limit_still_waits_after_a_reload_of_the_same():
    guard = Engine([rule()])
    for last in range(A_MINUTE // 2 + 5):
        feed(guard, 3, source=f"198.51.100.{last}", transport=Transport.UDP)
    ops(guard)
    guard.reload([rule()])
    for second in range(1, 10):
        guard.tick(T + second * SECOND)
    assert ops(guard) == [Op.ADD] * 5


def test_held_attempts_survive_and_count_under_the_new_rules():
    guard = Engine([rule()])
    feed(guard, 3, kind=Kind.INVALID_ACCOUNT_ID)
    guard.reload([rule("scanning", weights={Kind.INVALID_ACCOUNT_ID: 1})])
    guard.tick(T + 4 * SECOND)
    assert [ban.rule for ban in guard.ledger] == ["scanning"]


def test_what_dropped_rules_had_forgotten_stays_counted():
    guard = Engine([rule()])
    guard._judge._tracks._all[0]._all.evicted = 7
    guard.tick(T)
    assert guard.tally.counts["window.evicted"] == 7
    guard.reload([])
    guard.tick(T)
    assert guard.tally.counts["window.evicted"] == 7


def test_other_ports_are_closed_and_learnt_ones_stay():
    guard = Engine([rule()])
    feed(guard, 1, port=5080)
    assert guard.take_ports()
    guard.reload([rule()], sip_ports=(5060, 5070))
    assert guard.sip_ports == (5060, 5070, 5080)
    assert guard.take_ports()
    guard.reload([rule()], sip_ports=(5060, 5080))
    guard.reload([rule()], sip_ports=(5060,))
    assert guard.sip_ports == (5060, 5080)
    guard.reload([rule()], sip_ports=SIP_PORTS)
    guard.take_ports()
    guard.reload([rule()], sip_ports=SIP_PORTS)
    assert not guard.take_ports()


def test_unproven_bans_are_as_long_as_the_new_configuration_lets_them():
    guard = Engine([rule(ban=(2 * HOUR,))])
    guard.reload([rule(ban=(2 * HOUR,))], unproven_max=5 * MINUTE)
    feed(guard, 3, transport=Transport.UDP)
    (ban,) = guard.ledger
    assert ban.until - ban.since == 5 * MINUTE
