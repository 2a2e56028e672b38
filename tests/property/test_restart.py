"""A restart changes nothing: an engine that is given another one's memory judges as that one would have gone on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.core.engine import Engine
from guard.core.units import MINUTE, Duration, Instant
from tests.property.streams import RULES, START, World, streams

EARLIER = -(START // MINUTE - 1) * MINUTE
"""After a reboot the monotonic clock begins anew: what was before has a negative instant."""


class Restarting(World):
    """A world whose engine is another one, now and then, with another clock."""

    def __post_init__(self):
        super().__post_init__()
        self.past = []
        self.trusted = {}
        self.rows = Counter()

    @property
    def all_outcomes(self):
        return self.past + self.outcomes

    def restart(self, shift=0):
        old = self.engine
        rows = json.loads(json.dumps(list(old.memory.dump(self.now)), default=bytes.hex))
        self.rows.update("/".join(str(part) for part in row[:1] + row[2:3] * (row[0] == "track")) for row in rows)
        self.trusted.update(old.memory.take_trusted())
        then, self.now = self.now, self.now + shift
        self.shift += shift
        new = self.engine = Engine(RULES, allow=list(old.allow), capacity=self.capacity)
        memory = new.memory
        memory.restore_ports(old.memory.learnt_ports().items())
        bans = [replace(ban, since=Instant(ban.since + shift), until=Instant(ban.until + shift)) for ban in old.ledger]
        assert memory.restore_bans(bans) == [], "a ban has no place"
        memory.restore_formers((former._replace(end=former.end + shift) for former in old.memory.formers()), self.now)
        trusted = sorted((at, site, account) for (site, account), at in self.trusted.items())
        self.trusted = {(site, account): at + shift for at, site, account in trusted}
        memory.restore_trusted((site, account, at + shift) for at, site, account in trusted)
        assert memory.restore(rows, Duration(0), self.now) == 0
        new.tick(self.now)
        self._hand_over_answers(old, new)
        for ban in bans:
            confirmed = old.ledger.confirmed(ban.source)
            if confirmed is not None:
                new.confirm([ban.source], confirmed + shift)
        self.past += self.outcomes
        self.outcomes = []
        self.kernel = {source: (scope, until + shift) for source, (scope, until) in self.kernel.items()}
        self.promised = {source: until + shift for source, until in self.promised.items()}
        assert then + shift == self.now

    def _hand_over_answers(self, old, new):
        """Their hashes are of one process; another counts a repeat over a restart as one answer more."""
        before = {site: sender.sessions for site, sender in old._judge._attempts._senders.items()}
        for site, sender in new._judge._attempts._senders.items():
            for key, session in sender.sessions.items():
                if key in before.get(site, {}):
                    session._answers = before[site][key]._answers


def seen(world):
    """What a driver sees, in the clock of the first life."""
    kernel = {source: (scope, until - world.shift) for source, (scope, until) in world.kernel.items()}
    strikes = {ban.source: (ban.strike, ban.offences, ban.events, ban.rule) for ban in world.engine.ledger}
    deadline = world.engine.deadline
    return kernel, strikes, None if deadline is None else deadline - world.shift


def compare(stream, every, shift):
    allow, steps = stream
    plain, restarted = World(allow), Restarting(allow)
    for number, action in enumerate(steps):
        plain.take(action)
        restarted.take(action)
        if number % every == 0:
            restarted.restart(shift if not restarted.shift else 0)
        assert seen(plain) == seen(restarted)
        assert plain.outcomes == restarted.all_outcomes
    plain.end()
    restarted.end()
    return restarted


@given(streams, st.integers(1, 7))
def test_a_restart_changes_nothing(stream, every):
    compare(stream, every, 0)


@given(streams, st.integers(1, 7))
def test_nor_does_a_reboot(stream, every):
    compare(stream, every, EARLIER)


def test_these_restarts_are_interesting():
    """Every kind of row comes up; a property about an empty memory shows nothing."""
    rows = Counter()

    @settings(max_examples=100, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(streams)
    def survey(stream):
        rows.update(compare(stream, 3, 0).rows)

    survey()
    assert {
        "now", "host", "observed", "former", "attempt", "failing", "target", "alarm", "trail", "limit",
        "track/rule", "track/window", "track/stamps", "track/bursts",
    } <= set(rows)  # fmt: skip
