"""The bans of the past, read from the file beside the daemon that writes it."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import overlap
from guard.store.records import What
from guard.store.rows import BAN_COLUMNS, as_source
from guard.store.schema import BUSY_SECONDS, VALUE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from guard.core.address import Source
    from guard.core.units import Wall

PAUSE_EVERY = 500
"""Rows between two chances for other threads: whoever reads all of the history shall not hold up the guard."""


class Past(NamedTuple):
    """A ban that was made. `ended` is how and `ended_at` when it ended; None as long as it has not."""

    source: Source
    rule: str
    since: int
    until: int
    scope: str
    evidence: str
    strike: int
    offences: int
    events: int
    reason: str
    origin: str
    ended: str | None
    ended_at: int | None


def read_history(path: Path, wall: Wall) -> Iterator[Past]:
    """Give all bans that are remembered, the newest first; sqlite3.Error on trouble.

    A row that cannot be right is left out.
    """
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    ends: dict[object, tuple[str, int]] = {}  # of a source, the next thing that happened to it
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_LIMIT)
        query = f"SELECT at, what, {BAN_COLUMNS} FROM history ORDER BY id DESC"  # noqa: S608 - names of ours
        for number, (at, what, *ban) in enumerate(connection.execute(query), 1):
            if number % PAUSE_EVERY == 0:
                time.sleep(0)
            source = ban[0]
            if what != What.BAN.value:
                ends[source] = what, at
                continue
            end = ends.get(source)
            ends[source] = What.REPLACE.value, at  # of an earlier one, unless its time was over before
            try:
                yield _past(ban, end, wall)
            except ValueError:
                continue
    finally:
        connection.close()


def _past(ban: list[object], end: tuple[str, int] | None, wall: Wall) -> Past:
    match ban:
        case [
            source, str() as rule, int() as since, int() as until, str() as scope, str() as evidence, int() as strike,
            int() as offences, int() as events, str() as reason, str() as origin, _,
        ]:  # fmt: skip
            if end[1] > until if end else until <= wall:
                end = What.EXPIRE.value, until
            ended, ended_at = end or (None, None)
            return Past(
                as_source(source), rule, since, until, scope, evidence, strike, offences, events, reason, origin,
                ended, ended_at,
            )  # fmt: skip
    raise ValueError("its values are none")


def touches(past: Past, source: Source) -> bool:
    """Tell whether a ban shares an address with a source."""
    return overlap(past.source, source)
