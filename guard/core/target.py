"""Accounts under attack: how many sources have guessed at each of late.

Many sources that take turns at one account stay below every threshold of their own. Only guesses at a password count,
those of sites where the account is trusted do not: the phone itself may have the wrong one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.generations import Generations
from guard.core.units import HOUR, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guard.core.address import Source
    from guard.core.plain import Reader, Row, Value
    from guard.core.tally import Table

SPAN = HOUR
MANY = 10
"""Sources that guess at one account within an hour: an alarm."""

ACCOUNTS_LIMIT = 16_384
SOURCES_LIMIT = 64
"""Sources remembered of one account; more than a rule can ask about."""


class Targets:
    """The sources that guessed at each account, and when last."""

    def __init__(self) -> None:
        self._accounts: Generations[str, dict[Source, Instant]] = Generations(ACCOUNTS_LIMIT, _size)

    @property
    def forgotten(self) -> int:
        """How many accounts were forgotten because the table was full."""
        return self._accounts.forgotten

    @property
    def table(self) -> Table:
        """How full the table is."""
        return self._accounts.table("attacked_accounts")

    def add(self, account: str, site: Source, at: Instant) -> None:
        """Note a guess."""
        sources = self._accounts.touch(account)
        if sources is None:
            self._accounts.put(account, {site: at})
            return
        before = sources.pop(site, None)
        if before is None and len(sources) >= SOURCES_LIMIT:
            del sources[next(iter(sources))]
        elif before is None:
            self._accounts.grow(1)
        sources[site] = at if before is None else max(at, before)

    def dump(self) -> Iterator[Row]:
        """Give who guessed at which account."""
        for account, sources in self._accounts.items():
            yield account, tuple(sources.items())

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back who guessed at an account."""
        account, sources = row
        found = {read.source(site): read.instant(at) for site, at in read.rows(sources, 2, SOURCES_LIMIT)}
        self._accounts.put(read.text(account), found)

    def sources(self, account: str, now: Instant, span: Duration = SPAN) -> int:
        """Return how many sources have guessed at an account within `span`, up to 64."""
        sources = self._accounts.get(account) or {}
        return sum(now - at < span for at in sources.values()) if len(sources) > 1 else len(sources)


def _size(sources: dict[Source, Instant]) -> int:
    return 1 + len(sources)
