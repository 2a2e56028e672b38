"""Answers who attacks most of late: counts while events come, sums when somebody looks, a piece at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guard.core.address import show
from guard.core.ban import Op
from guard.core.lately import Lately
from guard.core.text import printable
from guard.core.units import SECOND, Duration, Instant
from guard.wire.describe import ACCOUNT_LIMIT, left, show_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guard.core.address import Source
    from guard.core.alarm import Alarm
    from guard.core.ban import Change
    from guard.core.event import SecurityEvent
    from guard.core.lately import Heavy
    from guard.core.outcome import Outcome
    from guard.core.tally import Table
    from guard.daemon.enforcer import Enforcer

FRESH = Duration(2 * SECOND)
"""An answer serves everybody who asks within this time: full tables take 90 ms to sum, in pieces of 1 ms."""


class Heaviest:
    """Implements guard.daemon.recorder.Listener, and one call of the control API."""

    def __init__(self, enforcer: Enforcer) -> None:
        self._enforcer = enforcer
        self._lately = Lately(enforcer.now())
        self._one = asyncio.Lock()  # at a time
        self._summed: tuple[Instant, int, dict[Source, Heavy], dict[str, Heavy]] | None = None

    @property
    def table(self) -> Table:
        """How full the table of counts is."""
        return self._lately.table

    def weighed(self, events: Sequence[SecurityEvent], outcomes: Sequence[Outcome]) -> None:
        """Count attempts."""
        self._lately.add(events, outcomes, self._enforcer.now())

    def changed(self, change: Change, *, stored: bool) -> None:
        """Bans are in the ledger and the tally already."""

    def alarmed(self, alarm: Alarm) -> None:
        """Alarms are no business of this."""

    async def top(self, rows: int) -> dict[str, object]:
        """Tell the heaviest sources and accounts of late, `rows` each, and what rules have banned since the start."""
        sources, accounts = await self._sum(rows)
        now, wall = self._enforcer.now(), self._enforcer.wall()
        span = max(now - self._lately.since, SECOND)
        return {
            "since": show_time(wall - span),
            "seconds": span // SECOND,
            "sources": [
                {"source": show(source), "attempts": heavy.attempts, "accounts": heavy.others, "ban": self._ban(source)}
                for source, heavy in sources.items()
            ],
            "accounts": [
                {"account": printable(account, ACCOUNT_LIMIT), "attempts": heavy.attempts, "sources": heavy.others}
                for account, heavy in accounts.items()
            ],
            "rules": self._rules(rows),
        }

    async def _sum(self, rows: int) -> tuple[dict[Source, Heavy], dict[str, Heavy]]:
        """Sum up, unless that was done just now; what is read meanwhile comes in between."""
        async with self._one:
            summed, now = self._summed, self._enforcer.now()
            if summed is None or now - summed[0] >= FRESH or summed[1] < rows:
                for piece in self._lately.heaviest(rows):
                    if piece is None:
                        await asyncio.sleep(0)
                    else:
                        summed = self._summed = (now, rows, *piece)
            assert summed is not None, "the last piece is the sum"
        _, _, sources, accounts = summed
        return dict(list(sources.items())[:rows]), dict(list(accounts.items())[:rows])

    def _ban(self, source: Source) -> dict[str, object] | None:
        ban = self._enforcer.engine.ledger.covering(source)
        if ban is None:
            return None
        return {"rule": ban.rule, "scope": str(ban.scope), "left_seconds": left(ban, self._enforcer.now()) // SECOND}

    def _rules(self, rows: int) -> list[dict[str, object]]:
        rules: dict[str, dict[str, int]] = {}
        for (op, rule, _), count in self._enforcer.engine.tally.bans.items():
            made = rules.setdefault(rule, {"bans": 0, "observed": 0})
            made["bans" if op is Op.ADD else "observed"] += count
        heavy = sorted(rules.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        return [{"rule": rule, **made} for rule, made in heavy[:rows]]
