"""What may be missing in the kernel after others changed it, and in which order it is put back.

Who was banned or heard a minute ago attacks now, and goes first, in the transaction that makes the table. The rest
follows newest first, in pieces small enough that reading goes on between them. Everything is looked up in the ledger
when its turn comes, so that what was lifted meanwhile stays lifted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from guard.core.generations import Generations
from guard.core.units import MINUTE, SECOND, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.ledger import Ledger

PIECE = 1_000
"""Bans in one transaction of a recovery: 5 ms, in which nothing is read."""
FIRST = 5_000
"""Bans in the first transaction at most."""
LATELY = MINUTE
HEARD_LIMIT = 4_096
"""Banned hosts that were heard lately; the kernel stops nearly all of them, so few are."""

FIGHT = 3
"""So many losses within a minute are somebody who undoes what we do."""
WAIT_FIRST, WAIT_LAST = SECOND // 10, 5 * SECOND
"""How long the table then stays away, doubling with each further loss."""


class Recovery:
    """The sources whose bans may be missing. `fights` tells how often the table was lost within the last minute."""

    def __init__(self) -> None:
        self._missing: list[Source] = []  # the next one last
        self._replaced = False  # what is there may be wrong
        self._heard: Generations[Source, Instant] = Generations(HEARD_LIMIT)
        self._losses: deque[Instant] = deque(maxlen=16)

    def __len__(self) -> int:
        return len(self._missing)

    def heard(self, sources: Iterable[Source], now: Instant) -> None:
        """Note that hosts were heard that are banned."""
        for source in sources:
            self._heard.put(source, now)

    def lose_all(self, ledger: Ledger) -> None:
        """Take note that every ban may be missing."""
        self._missing, self._replaced = ledger.sources(), False

    def lose(self, sources: Iterable[Source], *, replaced: bool = False) -> None:
        """Take note that these bans may be missing, or `replaced`: in a wrong set or with a wrong end."""
        self._missing += sources
        self._replaced = self._replaced or replaced

    def forget(self) -> None:
        """Take note that nothing is missing any more."""
        self._missing, self._replaced = [], False

    def first(self, ledger: Ledger, now: Instant) -> list[Ban]:
        """Take the bans that cannot wait: the latest, and those of hosts that were heard lately."""
        found: dict[Source, Ban] = {}
        while self._missing and len(found) < FIRST:
            ban = ledger.get(self._missing[-1])
            if ban is not None and len(found) >= PIECE and now - ban.since > LATELY:
                break
            self._missing.pop()
            if ban is not None:
                found[ban.source] = ban
        for host, at in self._heard.items():
            ban = ledger.covering(host) if now - at <= LATELY else None
            if ban is not None:
                found[ban.source] = ban
        return list(found.values())

    def some(self, ledger: Ledger) -> tuple[list[Ban], bool]:
        """Take the next piece, and tell whether what is there has to be replaced."""
        taken, replaced = self._missing[-PIECE:], self._replaced
        del self._missing[-PIECE:]
        self._replaced = replaced and bool(self._missing)
        return ledger.bans_of(reversed(taken)), replaced

    def lost(self, now: Instant) -> None:
        """Count a loss of the table, or of parts of it."""
        self._losses.append(now)

    def fights(self, now: Instant) -> int:
        """Return how often the table was lost within the last minute, if that is too often; else 0."""
        lately = sum(1 for _ in self._lately(now))
        return lately if lately >= FIGHT else 0

    def wait(self, now: Instant) -> Duration:
        """Return how long to wait before the table is made again: nothing, unless somebody removes it in turn."""
        fights = self.fights(now)
        if not fights:
            return Duration(0)
        pause = min(WAIT_FIRST << (fights - FIGHT), WAIT_LAST)
        return Duration(max(self._losses[-1] + pause - now, 0))

    def _lately(self, now: Instant) -> Iterator[Instant]:
        return (at for at in self._losses if now - at <= LATELY)
