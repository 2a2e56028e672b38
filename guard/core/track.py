"""One rule and its offences: it tells how much a source has against it, and on what evidence.

Proven offences are counted a second time, apart: only they make a ban proven. So whoever forges datagrams in a
phone's name cannot turn that phone's own single mistake over TCP into a proven ban of it.

Answers that differ are guesses, and nobody can tell a phone's burst from them, so a burst is a ration: the first 16
answers of one session weigh as one. It is the first session of that source and account inside the window to show
several; every answer in another one counts, so whoever takes new sessions gains nothing. Nor does whoever takes new
accounts: two have a ration, more only if they are trusted, and one session is one account's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guard.core.event import Kind, Sensor, Service
from guard.core.generations import Generations
from guard.core.plain import cut
from guard.core.rule import Mode
from guard.core.tally import Table, as_one
from guard.core.trust import MOST
from guard.core.units import SECOND, Duration, Instant
from guard.core.window import Window

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from guard.core.address import Source
    from guard.core.plain import Reader, Row, Value
    from guard.core.rule import Rule
    from guard.core.sender import Attempt

RATION = 16
"""Answers of one session that weigh as one; baresip was seen to send 15 in 10 ms."""
RATIONS = 2
"""Bursts of one source, inside the window, that weigh as one each; one more for each account that is trusted there."""
BURST_LASTS = Duration(32 * SECOND)
"""What a burst takes at the most, each of its datagrams sent again for as long as SIP does."""
GUESSES = frozenset({Kind.CHALLENGE_RESPONSE_FAILED, Kind.INVALID_PASSWORD})

ACCOUNTS_LIMIT = 65_536
STAMPS_LIMIT = 64


class Weighed(NamedTuple):
    """What a source has against it inside the window: in all, and as far as it is proven."""

    total: int
    proven: int


class Held(NamedTuple):
    """The offences of a source inside the window: when each was, and how many of them are proven."""

    stamps: tuple[int, ...]
    proven: int


class Burst(NamedTuple):
    """A session whose first answers for an account weigh as one, from the instant `since`."""

    account: str
    session: str
    since: Instant


Stamps = tuple[tuple[Instant, int, bool], ...]
"""What was counted against a source for one account: instants, weights, and whether they were proven."""


class Track:
    """The offences of all sources under one rule, in a window each. `mode` is the daemon's."""

    __slots__ = ("_all", "_bursts", "_past", "_proven", "_stamps", "observes", "rule")

    def __init__(self, rule: Rule, mode: Mode) -> None:
        self.rule = rule
        self.observes = Mode.OBSERVE in (rule.mode, mode)
        # What waits for the limit on unproven bans, or is trusted, may go up to ten times the threshold.
        self._all = Window(rule.window, MOST * rule.threshold)
        self._proven = self._all if rule.proven_only else Window(rule.window, MOST * rule.threshold)
        self._past = Window(rule.window, rule.threshold)
        self._stamps: Generations[tuple[Source, str], Stamps] = Generations(ACCOUNTS_LIMIT)
        self._bursts: Generations[Source, tuple[Burst, ...]] = Generations(ACCOUNTS_LIMIT)

    def follow(self, rule: Rule, mode: Mode) -> bool:
        """Go on under a rule that has changed, with what was counted; False if it counts other offences than before."""
        if not rule.counts_as(self.rule):
            return False
        if (rule.window, rule.threshold) != (self.rule.window, self.rule.threshold):
            for window in (self._all, self._proven):
                window.reshape(rule.window, MOST * rule.threshold)
            self._past.reshape(rule.window, rule.threshold)
        self.rule = rule
        self.observes = Mode.OBSERVE in (rule.mode, mode)
        return True

    def count(self, attempt: Attempt, source: Source, trusted: Container[str], now: Instant) -> Weighed | None:
        """Count an attempt against a source; None if it belongs to what was counted before.

        `trusted` are the accounts that have authenticated from there lately.
        """
        rule, at, proven = self.rule, attempt.at, attempt.proven
        if not rule.weights.keys().isdisjoint(attempt.before):
            return None
        weight = rule.weights[attempt.kind]
        if rule.distinct or attempt.kind in GUESSES:
            key = (source, attempt.account)
            stamps = self._stamps.get(key) or ()
            if rule.distinct:
                self._take_back(source, stamps)
                stamps = ()
            elif self._is_rationed(source, attempt, trusted):
                return None
            # A line of `messages` names the user of From, which may be anybody: no success takes its guesses off.
            if rule.distinct or attempt.event.sensor is not Sensor.MESSAGES:
                self._stamps.put(key, (*stamps[-STAMPS_LIMIT + 1 :], (at, weight, proven)))
        total = sure = self._all.add(source, at, weight, now, proven=proven)
        if self._proven is not self._all:
            sure = self._proven.add(source, at, weight, now, proven=True) if proven else 0
        return Weighed(total, sure)

    def count_past(self, attempt: Attempt, source: Source) -> bool:
        """Count an attempt whose window has passed, in its own time; tell whether the threshold was reached then."""
        weight = self.rule.weights[attempt.kind]
        total = self._past.add(source, attempt.at, weight, attempt.at, proven=attempt.proven)
        if total < self.rule.threshold:
            return False
        self._past.forget(source)
        return True

    def succeed(self, source: Source, account: str) -> None:
        """Take an account's failures off a source, because it has authenticated; nobody else's."""
        self._take_back(source, self._stamps.pop((source, account)) or ())

    def look(self, source: Source, now: Instant) -> Held:
        """Return what is counted against a source, without touching it."""
        stamps = self._all.look(source, now)
        return Held(stamps, len(stamps if self._proven is self._all else self._proven.look(source, now)))

    def dump(self) -> Iterator[Row]:
        """Give all that is counted under this rule."""
        yield "rule", self.rule.fingerprint
        for name, window in self._windows():
            yield from cut(window.dump(), "window", name)
        for (source, account), stamps in self._stamps.items():
            yield "stamps", source, account, stamps
        for source, bursts in self._bursts.items():
            yield "bursts", source, bursts

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back a row; the one with the rule's fingerprint has come before, and is not among them."""
        match row:
            case ["window", name, *offences]:
                dict(self._windows())[read.text(name)].restore(offences, read)
            case ["stamps", source, account, stamps]:
                found = read.rows(stamps, 3, STAMPS_LIMIT)
                counted = tuple((read.instant(at), read.whole(weight), bool(proven)) for at, weight, proven in found)
                self._stamps.put((read.source(source), read.text(account)), counted)
            case ["bursts", source, bursts]:
                found = read.rows(bursts, 3, ACCOUNTS_LIMIT)
                made = (Burst(read.text(account), read.text(key), read.instant(since)) for account, key, since in found)
                self._bursts.put(read.source(source), tuple(made))
            case _:
                raise ValueError("an unknown row of a rule")

    def _windows(self) -> Iterator[tuple[str, Window]]:
        yield "all", self._all
        if self._proven is not self._all:
            yield "proven", self._proven
        yield "past", self._past

    def forget(self, source: Source) -> None:
        """Drop a source's offences, because they have led to a ban."""
        self._all.forget(source)
        self._proven.forget(source)

    @property
    def evicted(self) -> int:
        """Sources forgotten although they could still count, because a table was full."""
        return self._all.evicted + (self._proven.evicted if self._proven is not self._all else 0)

    @property
    def forgotten(self) -> int:
        """Accounts and bursts forgotten because a table was full: they are counted from nought again."""
        return self._stamps.forgotten + self._bursts.forgotten

    def tables(self) -> tuple[Table, ...]:
        """Tell how full each table of this rule is."""
        windows = {id(window): window.table for window in (self._all, self._proven, self._past)}
        stamps, bursts = self._stamps.table("rule_accounts"), self._bursts.table("rule_bursts")
        return as_one("windows", windows.values()), stamps, bursts

    def _is_rationed(self, source: Source, attempt: Attempt, trusted: Container[str]) -> bool:
        """Tell whether this answer belongs to a burst that weighs as one."""
        if attempt.number == 1 or attempt.event.service is Service.AMI:
            return False
        at, account, session = attempt.at, attempt.account, attempt.event.session
        bursts = self._bursts.touch(source) or ()
        if bursts and at - bursts[0].since >= self.rule.window:
            bursts = tuple(burst for burst in bursts if at - burst.since < self.rule.window)
        own = next((burst for burst in bursts if burst.account == account), None)
        if own is None:
            if any(burst.session == session for burst in bursts):
                return False
            if account not in trusted and sum(burst.account not in trusted for burst in bursts) >= RATIONS:
                return False
            own = Burst(account, session, attempt.began)
            self._bursts.put(source, (*bursts, own))
        return own.session == session and attempt.number <= RATION and at - attempt.began <= BURST_LASTS

    def _take_back(self, source: Source, stamps: Stamps) -> None:
        for at, weight, proven in stamps:
            self._all.take_off(source, at, weight)
            if proven and self._proven is not self._all:
                self._proven.take_off(source, at, weight)
