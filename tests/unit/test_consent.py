"""What may be said against a ban: it is refused or made shorter, never longer, and asked about once."""

from __future__ import annotations

import pytest

from guard.core.ban import Op
from guard.core.consent import Answer
from guard.core.engine import Engine
from guard.core.event import Transport
from guard.core.limit import A_MINUTE
from guard.core.outcome import Outcome
from guard.core.rule import Mode
from guard.core.units import MINUTE, SECOND, Duration
from tests.events import event, rule

LENGTH = 10 * MINUTE


class Asked:
    """Answers with a length, or as the ban is; remembers whom it was asked about."""

    def __init__(self, length=None, trouble=""):
        self.length, self.trouble, self.bans = length, trouble, []

    def __call__(self, ban):
        self.bans.append(ban)
        return Answer(Duration(ban.until - ban.since) if self.length is None else Duration(self.length), self.trouble)


def attacked(ask, *, times=3, transport=Transport.TCP, **changes):
    engine = Engine([rule(**changes)])
    engine.ask_before_bans(ask)
    outcomes = []
    for at in range(times):
        now = at * SECOND
        outcomes += engine.handle([event(transport=transport, at=now)], now, now)
    return engine, outcomes


@pytest.mark.parametrize("length", [None, LENGTH, LENGTH + 1, 100 * LENGTH])
def test_an_answer_of_the_bans_length_or_more_leaves_it(length):
    ask = Asked(length)
    engine, outcomes = attacked(ask)
    assert outcomes[-1] is Outcome.BANNED
    ((op, ban),) = engine.take_changes()
    assert (op, ban.until - ban.since, len(ask.bans)) == (Op.ADD, LENGTH, 1)
    assert (engine.tally.counts["bans.vetoed"], engine.tally.counts["bans.shortened"]) == (0, 0)


def test_a_shorter_answer_makes_the_ban_so_short():
    engine, _ = attacked(Asked(MINUTE))
    ((_, ban),) = engine.take_changes()
    assert ban.until - ban.since == MINUTE
    assert engine.tally.counts["bans.shortened"] == 1


@pytest.mark.parametrize("length", [0, -1])
def test_a_refused_ban_is_not_made_and_the_offence_counts(length):
    engine, outcomes = attacked(Asked(length))
    assert outcomes == [Outcome.COUNTED] * 3
    assert (engine.take_changes(), len(engine.ledger)) == ([], 0)
    assert engine.tally.counts["bans.vetoed"] == 1


def test_after_a_veto_a_source_is_asked_about_again_only_at_its_next_threshold():
    ask = Asked(0)
    attacked(ask, times=3 * 4 + 2)
    assert len(ask.bans) == 4


def test_a_veto_is_no_strike():
    ask = Asked(0)
    engine, _ = attacked(ask)
    ask.length = None
    for at in range(3, 6):
        engine.handle([event(transport=Transport.TCP, at=at * SECOND)], at * SECOND, at * SECOND)
    ((_, ban),) = engine.take_changes()
    assert (ban.strike, ban.until - ban.since) == (1, LENGTH)


@pytest.mark.parametrize(("length", "ops"), [(0, []), (MINUTE, [Op.OBSERVE])])
def test_what_is_only_observed_is_asked_about_too(length, ops):
    engine, _ = attacked(Asked(length), mode=Mode.OBSERVE)
    assert [change.op for change in engine.take_changes()] == ops


def test_a_ban_that_had_to_wait_is_asked_about_when_its_turn_has_come():
    engine = Engine([rule(threshold=1)])
    ask = Asked()
    engine.ask_before_bans(ask)
    for number in range(A_MINUTE + 5):
        engine.handle([event(f"198.51.100.{number}", at=0)], SECOND, SECOND)
    made = len(engine.ledger)
    assert made < A_MINUTE + 5
    ask.length = 0
    asked, vetoed = len(ask.bans), engine.tally.counts["bans.vetoed"]
    for second in range(1, 60):
        engine.tick(SECOND + second * SECOND)
    assert len(ask.bans) > asked
    assert engine.tally.counts["bans.vetoed"] - vetoed == len(ask.bans) - asked
    assert len(engine.ledger) == made


def test_a_refused_ban_takes_no_place_of_the_limit_on_unproven_ones():
    engine = Engine([rule(threshold=1)])
    engine.ask_before_bans(Asked(0))
    for number in range(200):
        engine.handle([event(f"203.0.113.{number}", at=0)], SECOND, SECOND)
    engine.ask_before_bans(None)
    engine.handle([event("198.51.100.1", at=0)], SECOND, SECOND)
    assert [ban.source for ban in engine.ledger] == [event("198.51.100.1").source]


def test_what_a_command_bans_is_asked_about_by_nobody():
    ask = Asked(0)
    engine = Engine([rule()])
    engine.ask_before_bans(ask)
    assert engine.ban(event().source, LENGTH, SECOND)
    assert ask.bans == []


def test_trouble_with_who_is_asked_becomes_an_alarm():
    engine, _ = attacked(Asked(trouble="supplement broken: off"))
    (alarm,) = engine.take_alarms()
    assert (str(alarm.kind), alarm.text) == ("supplement-off", "supplement broken: off")
