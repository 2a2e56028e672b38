"""Who fails at which account, and how fast: what tells a broken phone from an attacker, and a lucky one from a phone.

A phone with an old password fails at one account, at a phone's pace: up to 15 answers in a burst, a burst or a few a
minute. Whoever fails at several accounts, or faster, is no phone. A success after more failures than a burst is a
password that may have been guessed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.generations import Generations
from guard.core.units import HOUR, MINUTE, NEVER, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guard.core.address import Source
    from guard.core.plain import Reader, Row, Value
    from guard.core.tally import Table

PHONE_PACE = 96
"""Answers of one account in a minute that are still a phone's: six bursts of 16. Beyond, it is an attacker."""
BURST = 16
"""The most answers of one account that a success explains as a typo: baresip was seen to send 15."""
TRIES = 6
"""Sessions with a wrong answer before a success that are no person any more who tries his passwords."""
MEMORY = HOUR

SITES_LIMIT = 65_536
ACCOUNTS_LIMIT = 8
"""Accounts of one site that are told apart: more are many."""
NAME_LIMIT = 80


class Failures:
    """How one site has failed at one account. `pace` is the larger count of the last two minutes of the clock."""

    __slots__ = ("_before", "_minute", "_now", "answers", "last", "pace", "session", "sessions")

    def __init__(self) -> None:
        self.answers = 0
        self.sessions = 0
        self.session = ""
        self.pace = 0
        self.last = NEVER
        self._minute = NEVER // MINUTE
        self._now = 0
        self._before = 0

    def add(self, session: str, at: Instant) -> None:
        """Count one answer."""
        if at - self.last >= MEMORY:
            self.answers = self.sessions = self.pace = 0
        self.answers += 1
        if session != self.session or self.sessions == 0:
            self.session = session
            self.sessions += 1
        minute = at // MINUTE
        if minute > self._minute:
            self._before = self._now if minute == self._minute + 1 else 0
            self._minute, self._now = minute, 0
            self.pace = self._before  # of the two last minutes
        self._now += 1
        self.pace = max(self.pace, self._now)
        self.last = max(self.last, at)

    def dump(self) -> Row:
        """Give all values; the minute by its beginning."""
        began = self._minute * MINUTE
        return self.answers, self.sessions, self.session, self.pace, self.last, began, self._now, self._before

    @classmethod
    def restored(cls, values: Sequence[Value], read: Reader) -> Failures:
        """Make it of the values of an earlier life."""
        answers, sessions, session, pace, last, began, now, before = values
        made = cls()
        made.answers, made.sessions, made.session = read.whole(answers), read.whole(sessions), read.text(session)
        made.pace, made.last, made._minute = read.whole(pace), read.instant(last), read.instant(began) // MINUTE
        made._now, made._before = read.whole(now), read.whole(before)
        return made


class Failing:
    """The failures of all sites, by account."""

    def __init__(self, limit: int = SITES_LIMIT) -> None:
        self._sites: Generations[Source, dict[str, Failures]] = Generations(limit, _size)

    @property
    def forgotten(self) -> int:
        """How many sites were forgotten because the table was full."""
        return self._sites.forgotten

    @property
    def table(self) -> Table:
        """How full the table is."""
        return self._sites.table("failing_sites")

    def add(self, site: Source, account: str, session: str, at: Instant) -> None:
        """Count a wrong answer, or a request for an account that is not there."""
        accounts = self._sites.touch(site)
        if accounts is None:
            accounts = {}
            self._sites.put(site, accounts)
        account = account[:NAME_LIMIT]
        failures = accounts.get(account)
        if failures is None:
            if len(accounts) >= ACCOUNTS_LIMIT:
                del accounts[min(accounts, key=lambda name: accounts[name].last)]
            else:
                self._sites.grow(1)
            failures = accounts[account] = Failures()
        failures.add(session, at)

    def accounts(self, site: Source, now: Instant, span: Duration) -> dict[str, Failures]:
        """Return at which accounts a site has failed within `span`."""
        accounts = self._sites.get(site) or {}
        return {account: failures for account, failures in accounts.items() if now - failures.last < span}

    def dump(self) -> Iterator[Row]:
        """Give all failures."""
        for site, accounts in self._sites.items():
            for account, failures in accounts.items():
                yield site, account, *failures.dump()

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back the failures of a site at an account."""
        site, account, *values = row
        home = read.source(site)
        accounts = self._sites.touch(home)
        if accounts is None:
            accounts = {}
            self._sites.put(home, accounts)
        if len(accounts) < ACCOUNTS_LIMIT and account not in accounts:
            accounts[read.text(account)] = Failures.restored(values, read)
            self._sites.grow(1)

    def succeed(self, site: Source, account: str, now: Instant) -> int:
        """Forget an account's failures because of a success; return how many there were if too many, else 0."""
        accounts = self._sites.get(site)
        failures = accounts.pop(account[:NAME_LIMIT], None) if accounts else None
        if failures is None or now - failures.last >= MEMORY:
            return 0
        return failures.answers if failures.answers > BURST or failures.sessions >= TRIES else 0


def _size(accounts: dict[str, Failures]) -> int:
    return 1 + len(accounts)
