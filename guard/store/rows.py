"""Bans and their trails as rows, and back. What comes back is checked: a row that cannot be right is a ValueError."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from guard.core.address import Source, packed, show
from guard.core.ban import Ban
from guard.core.rule import Evidence, Scope
from guard.core.units import Instant, Wall

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guard.core.trail import Trace

BAN_COLUMNS = "source, rule, since, until, scope, evidence, strike, offences, events, reason, origin, cause"
LATEST = (1 << 63) - 1
"""The last instant that a file can hold: in the year 2262."""

_HOST = b"\x04\x20"
_SCOPES = {scope.value: scope for scope in Scope}
EVIDENCE = {evidence.value: evidence for evidence in Evidence}

TEXTS_LIMIT = 4_096

Row = tuple[object, ...]


def ban_row(ban: Ban, shift: int) -> Row:
    """Write a ban in the order of BAN_COLUMNS; `shift` makes its instants the wall clock's."""
    return (
        ban.source, text(ban.rule), ban.since + shift, min(ban.until + shift, LATEST), ban.scope.value,
        ban.evidence.value, ban.strike, ban.offences, ban.events, text(ban.reason), ban.origin, ban.by,
    )  # fmt: skip


class BanReader:
    """Reads rows of BAN_COLUMNS; what many bans have in common is kept once, a million of them fit in memory."""

    def __init__(self, wall: Wall, now: Instant) -> None:
        self._wall = wall
        self._now = now
        self._texts: dict[str, str] = {}

    def read(self, row: Row) -> Ban:
        """Make a ban that ends, at the latest, its own length from now; ValueError if the row is wrong.

        Whatever the clock says: if it went back, the ban would have begun in the future. One that is over has an
        `until` that is not later than now.
        """
        source, rule, since, until, scope, evidence, strike, offences, events, reason, origin, cause = row
        if not (type(since) is int and type(until) is int and since <= until):
            raise ValueError("its times are none")
        if type(strike) is not int or type(offences) is not int or type(events) is not int:
            raise ValueError("its counts are none")
        length = until - since
        ends = self._now + min(until - self._wall, length)
        return Ban(
            source=as_source(source), rule=self._once(rule), since=Instant(ends - length), until=Instant(ends),
            scope=_SCOPES[scope], evidence=EVIDENCE[evidence], strike=strike, offences=offences,  # type: ignore[index]
            events=events, reason=self._once(reason), origin=self._once(origin), by=self._once(cause),
        )  # fmt: skip

    def _once(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("a text is none")  # noqa: TRY004
        if len(self._texts) >= TEXTS_LIMIT:  # a reason given by hand may be another each time
            self._texts.clear()
        return self._texts.setdefault(value, value)


def as_source(value: object) -> Source:
    """Check that packed bytes are a network; ValueError if not."""
    if not isinstance(value, bytes):
        raise ValueError("its source is none")  # noqa: TRY004
    if len(value) == 6 and value.startswith(_HOST):  # nearly all: a start reads a million
        return Source(value)
    return packed(value)


def text(value: str) -> str:
    """Make a text fit for a file: halves of characters cannot be written as UTF-8."""
    return value.encode(errors="backslashreplace").decode()


def trail_text(trail: Iterable[Trace]) -> str:
    """Write a trail as JSON; hostile text is data in it, and ASCII."""
    return json.dumps(
        [
            {
                "at": trace.at, "kind": trace.kind, "service": trace.service, "account": trace.account,
                "session": trace.session, "source": show(trace.source), "transport": trace.transport,
                "port": trace.local_port, "outcome": trace.outcome,
            }
            for trace in trail
        ],
        separators=(",", ":"),
    )  # fmt: skip
