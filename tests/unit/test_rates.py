"""Rates: what happened in a second, since the start and lately."""

from __future__ import annotations

from guard.core.tally import Tally
from guard.core.units import MINUTE, SECOND
from guard.daemon.rates import NOTES, Rates


def test_lately_is_the_last_minute_and_the_rest_is_in_the_average():
    tally = Tally()
    rates = Rates(tally.counts, 0)
    assert rates.tell(0)["lately"] == {"events": 0, "attempts": 0, "bans": 0}
    tally.add("events", 600)
    for number in range(1, 61):
        rates.note(number * 10 * SECOND)
    tally.add("events", 120)
    tally.add("attempts.opened", 6)
    told = rates.tell(10 * MINUTE)
    assert told["since_start"] == {"events": 1.2, "attempts": 0.01, "bans": 0}
    assert told["lately"] == {"events": 2.0, "attempts": 0.1, "bans": 0}
    assert told["lately_seconds"] == (NOTES - 1) * 10


def test_soon_after_a_start_lately_is_what_there_is():
    tally = Tally()
    rates = Rates(tally.counts, 0)
    tally.add("bans.added", 4)
    assert rates.tell(2 * SECOND) == {
        "since_start": {"events": 0, "attempts": 0, "bans": 2.0},
        "lately": {"events": 0, "attempts": 0, "bans": 2.0},
        "lately_seconds": 2,
    }
