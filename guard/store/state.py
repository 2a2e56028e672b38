"""What a start finds in the file: read once, checked row by row, in wall clock times turned into instants."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from guard.core.trail import TRAIL_LIMIT
from guard.core.units import Duration, Instant, Wall
from guard.store.batch import STRIKES_LIMIT, TRUST_LASTS, TRUST_LIMIT
from guard.store.records import Allowed, Ended, Learnt, What
from guard.store.rows import BAN_COLUMNS, EVIDENCE, BanReader, as_source
from guard.store.schema import BUSY_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.rule import Evidence

LIFTED_LIMIT = 10_000
"""Bans lifted by hand, within their length, that are remembered so that nothing brings them back."""
PORTS_LIMIT = 64
NOTES_LIMIT = 64
MEMORY_LIMIT = 1_000_000
"""Rows of a clean stop's memory that are read back."""


@dataclass(slots=True)
class State:
    """What was kept. `over` are bans whose time has passed meanwhile, `refused` counts rows that cannot be right.

    `moved` tells that the clock went back, so that bans end later than the file says. `lifted` has the ends of bans
    that were lifted early and would still last. `strikes` are of sources whose last ban is over: those of the others
    stand in their bans.
    """

    bans: list[Ban] = field(default_factory=list)
    over: list[Ended] = field(default_factory=list)
    moved: bool = False
    strikes: list[tuple[Source, Evidence, int, Instant]] = field(default_factory=list)
    trust: list[tuple[Source, str, Instant]] = field(default_factory=list)
    ports: list[Learnt] = field(default_factory=list)
    permits: list[Allowed] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    lifted: dict[Source, Instant] = field(default_factory=dict)
    memory: list[object] = field(default_factory=list)
    refused: int = 0
    aside: Path | None = None


def load(connection: sqlite3.Connection, wall: Wall, now: Instant) -> State:
    """Read everything; `now` is the instant at which the wall clock says `wall`. sqlite3.Error if it cannot be read."""
    state = State()
    shift = now - wall

    def each(query: str, take: Callable[..., None], *values: object) -> None:
        for row in connection.execute(query, values):
            try:
                take(*row)
            except (ValueError, TypeError, KeyError, RecursionError):
                state.refused += 1

    def instant(at: object) -> Instant:
        if type(at) is not int:
            raise ValueError("a time is none")
        return Instant(min(at, wall) + shift)  # what the clock calls the future is now

    def strike(source: object, evidence: str, count: object, until: object) -> None:
        if type(count) is not int or type(until) is not int or count < 1:
            raise ValueError("its count is none")
        state.strikes.append((as_source(source), EVIDENCE[evidence], count, Instant(until + shift)))

    def trust(site: object, account: object, at: object) -> None:
        if not isinstance(account, str):
            raise ValueError("its account is none")  # noqa: TRY004
        state.trust.append((as_source(site), account, instant(at)))

    def port(number: object, web: object) -> None:
        if type(number) is not int or not 0 < number < 1 << 16:
            raise ValueError("its port is none")
        state.ports.append(Learnt(number, bool(web)))

    def permit(source: object, until: object, at: object) -> None:
        if not (until is None or type(until) is int) or type(at) is not int:
            raise ValueError("its time is none")
        state.permits.append(Allowed(as_source(source), None if until is None else Wall(until), Wall(at)))

    def note(key: object, value: object) -> None:
        state.notes[str(key)] = str(value)

    def lifted(source: object, until: object) -> None:
        if type(until) is not int:
            raise ValueError("its time is none")
        state.lifted[as_source(source)] = Instant(until + shift)

    def memory(row: str) -> None:
        state.memory.append(json.loads(row))

    _read_bans(connection, state, wall, now)
    each(
        "SELECT source, evidence, count, until FROM strike WHERE NOT EXISTS (SELECT 1 FROM ban WHERE"
        " ban.source = strike.source AND ban.evidence = strike.evidence AND ban.until = strike.until)"
        " ORDER BY until DESC LIMIT ?",
        strike, STRIKES_LIMIT,
    )  # fmt: skip
    each(
        "SELECT site, account, at FROM trust WHERE at > ? ORDER BY at DESC LIMIT ?",
        trust,
        wall - TRUST_LASTS,
        TRUST_LIMIT,
    )
    each("SELECT port, web FROM port LIMIT ?", port, PORTS_LIMIT)
    each("SELECT source, until, at FROM permit WHERE until IS NULL OR until > ?", permit, wall)
    each("SELECT key, value FROM note LIMIT ?", note, NOTES_LIMIT)
    each(
        "SELECT source, until FROM history WHERE what = ? AND until > ? ORDER BY id DESC LIMIT ?",
        lifted, What.UNBAN.value, wall, LIFTED_LIMIT,
    )  # fmt: skip
    each("SELECT row FROM memory ORDER BY number LIMIT ?", memory, MEMORY_LIMIT)
    for newest_first in (state.strikes, state.trust):
        newest_first.reverse()  # what is taken back last is forgotten last
    return state


def read_trail(path: Path, source: Source) -> list[dict[str, object]]:
    """Read the events that led to the last ban of a source; nothing if none are known. sqlite3.Error on trouble."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    try:
        query = "SELECT trail FROM history WHERE source = ? AND what = ? ORDER BY id DESC LIMIT 1"
        row = connection.execute(query, (source, What.BAN.value)).fetchone()
    finally:
        connection.close()
    try:
        found = json.loads(row[0]) if row else []
    except (ValueError, RecursionError):
        return []
    return [trace for trace in found[:TRAIL_LIMIT] if isinstance(trace, dict)] if isinstance(found, list) else []


def _read_bans(connection: sqlite3.Connection, state: State, wall: Wall, now: Instant) -> None:
    reader, shift = BanReader(wall, now), Duration(wall - now)
    for row in connection.execute(f"SELECT {BAN_COLUMNS} FROM ban"):  # noqa: S608 - names of ours
        try:
            ban = reader.read(row)
        except (ValueError, TypeError, KeyError):
            state.refused += 1
            continue
        if ban.until > now:
            state.bans.append(ban)
            state.moved = state.moved or row[2] > wall
        else:
            state.over.append(Ended(ban, shift, What.EXPIRE, Wall(ban.until + shift)))
