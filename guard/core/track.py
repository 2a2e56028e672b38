"""One rule and its offences: it tells how much a source has against it, and on what evidence.

Proven offences are counted a second time, apart: only they make a ban proven. So whoever forges datagrams in a
phone's name cannot turn that phone's own single mistake over TCP into a proven ban of it.

Answers that differ are guesses, and nobody can tell a phone's burst from them, so a burst is a ration: the first 16
answers of one session weigh as one. It is the first session of that source and account inside the window to show
several; every answer in another one counts, so whoever takes new sessions gains nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guard.core.event import Kind, Service
from guard.core.generations import Generations
from guard.core.rule import Mode
from guard.core.trust import MOST
from guard.core.units import SECOND, Duration, Instant
from guard.core.window import Window

if TYPE_CHECKING:
    from guard.core.address import Source
    from guard.core.attempt import Attempt
    from guard.core.rule import Rule

RATION = 16
"""Answers of one session that weigh as one; baresip was seen to send 15 in 10 ms."""
BURST_LASTS = Duration(32 * SECOND)
"""What a burst takes at the most, each of its datagrams sent again for as long as SIP does."""
GUESSES = frozenset({Kind.CHALLENGE_RESPONSE_FAILED, Kind.INVALID_PASSWORD})

ACCOUNTS_LIMIT = 65_536
STAMPS_LIMIT = 64


class Weighed(NamedTuple):
    """What a source has against it inside the window: in all, and as far as it is proven."""

    total: int
    proven: int


class Account:
    """What one source did to one account: the session whose burst is a ration, and what was counted."""

    __slots__ = ("session", "since", "stamps")

    def __init__(self) -> None:
        self.session: str | None = None
        self.since = Instant(0)
        self.stamps: tuple[tuple[Instant, int, bool], ...] = ()


class Track:
    """The offences of all sources under one rule, in a window each. `mode` is the daemon's."""

    __slots__ = ("_accounts", "_all", "_past", "_proven", "observes", "rule")

    def __init__(self, rule: Rule, mode: Mode) -> None:
        self.rule = rule
        self.observes = Mode.OBSERVE in (rule.mode, mode)
        # What waits for the limit on unproven bans, or is trusted, may go up to ten times the threshold.
        self._all = Window(rule.window, MOST * rule.threshold)
        self._proven = self._all if rule.proven_only else Window(rule.window, MOST * rule.threshold)
        self._past = Window(rule.window, rule.threshold)
        self._accounts: Generations[tuple[Source, str], Account] = Generations(ACCOUNTS_LIMIT)

    def count(self, attempt: Attempt, source: Source, now: Instant) -> Weighed | None:
        """Count an attempt against a source; None if it belongs to what was counted before."""
        rule, at, proven = self.rule, attempt.at, attempt.proven
        if not rule.weights.keys().isdisjoint(attempt.before):
            return None
        weight = rule.weights[attempt.kind]
        if rule.distinct or attempt.kind in GUESSES:
            account = self._account(source, attempt.account)
            if rule.distinct:
                self._take_back(source, account)
            elif self._is_rationed(account, attempt):
                return None
            account.stamps = (*account.stamps[-STAMPS_LIMIT + 1 :], (at, weight, proven))
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
        held = self._accounts.pop((source, account))
        if held is not None:
            self._take_back(source, held)

    def forget(self, source: Source) -> None:
        """Drop a source's offences, because they have led to a ban."""
        self._all.forget(source)
        self._proven.forget(source)

    @property
    def evicted(self) -> int:
        """Sources forgotten although they could still count, because a table was full."""
        return self._all.evicted + (self._proven.evicted if self._proven is not self._all else 0)

    def _account(self, source: Source, name: str) -> Account:
        key = (source, name)
        account = self._accounts.touch(key)
        if account is None:
            account = Account()
            self._accounts.put(key, account)
        return account

    def _is_rationed(self, account: Account, attempt: Attempt) -> bool:
        """Tell whether this answer belongs to the one burst that weighs as one."""
        if attempt.number == 1 or attempt.event.service is Service.AMI:
            return False
        session = attempt.event.session[:256]
        if account.session is None or attempt.at - account.since >= self.rule.window:
            account.session, account.since = session, attempt.began
        return account.session == session and attempt.number <= RATION and attempt.at - attempt.began <= BURST_LASTS

    def _take_back(self, source: Source, account: Account) -> None:
        for at, weight, proven in account.stamps:
            self._all.take_off(source, at, weight)
            if proven and self._proven is not self._all:
                self._proven.take_off(source, at, weight)
        account.stamps = ()
