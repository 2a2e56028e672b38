"""Puts a group of records into the file, in one transaction.

Of several records of one source only the last decides what stands in a table, the history has them all. What was
pushed out by the limits of the tables is counted by the caller, who sees the rows go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guard.core.units import DAY, Duration, Wall
from guard.store.records import (
    Allowed,
    Banned,
    Disallowed,
    Ended,
    Learnt,
    Memory,
    Note,
    Rewrite,
    Strikes,
    Trusted,
    What,
)
from guard.store.rows import BAN_COLUMNS, LATEST, Row, ban_row, text, trail_text

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from guard.core.address import Source
    from guard.store.records import Record

HISTORY_LIMIT = 100_000
"""Rows of the history, some 600 bytes each and 3 kB at the most."""
HISTORY_LASTS = Duration(90 * DAY)
STRIKES_LAST = Duration(400 * DAY)
"""Longer than any rule remembers a ban."""
STRIKES_LIMIT = 400_000
"""Sources with former bans, some 50 bytes each: what both ladders of the core hold."""
TRUST_LASTS = DAY
"""As long as the core trusts an account after its last success (core/trust.py)."""
TRUST_LIMIT = 131_072
TRIM = 10_000
"""Rows of the history that one tidying takes away at the most, so that no commit waits long for it."""
VACUUM = 256
"""Empty pages given back to the disk at one tidying."""

_BAN_MARKS = ", ".join("?" * 12)
_PUT_BAN = f"INSERT OR REPLACE INTO ban ({BAN_COLUMNS}) VALUES ({_BAN_MARKS})"  # noqa: S608 - names of ours
_PUT_HISTORY = f"INSERT INTO history (at, what, {BAN_COLUMNS}, trail) VALUES (?, ?, {_BAN_MARKS}, ?)"  # noqa: S608 - names of ours
# Columns are named: a later version may have added some.
_PUT_STRIKES = "INSERT OR REPLACE INTO strike (source, evidence, count, until) VALUES (?, ?, ?, ?)"
_PUT_PERMIT = "INSERT OR REPLACE INTO permit (source, until, at) VALUES (?, ?, ?)"
_PUT_PORT = "INSERT OR REPLACE INTO port (port, web) VALUES (?, ?)"
_PUT_TRUST = "INSERT OR REPLACE INTO trust (site, account, at) VALUES (?, ?, ?)"
_PUT_NOTE = "INSERT OR REPLACE INTO note (key, value) VALUES (?, ?)"


class _Fold(NamedTuple):
    """What a run of records comes to."""

    bans: dict[Source, Banned | None]
    history: list[Row]
    strikes: dict[tuple[Source, str], Strikes]
    others: list[Record]


def write(connection: sqlite3.Connection, records: Iterable[Record]) -> None:
    """Write records in one transaction that is on the disk when this returns; sqlite3.Error if nothing was written."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        run: list[Record] = []
        for record in records:
            if isinstance(record, Rewrite):  # what came before it is in it
                _write_history(connection, run)
                run = []
                _rewrite(connection, record)
            else:
                run.append(record)
        _write(connection, run)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def tidy(connection: sqlite3.Connection, wall: Wall) -> int:
    """Keep the file bounded: drop what is too old, and what is too much; return how many rows were too much."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        (newest,) = connection.execute("SELECT coalesce(max(id), 0) FROM history").fetchone()
        oldest = f"id IN (SELECT id FROM history ORDER BY id LIMIT {TRIM})"  # noqa: S608 - a number of ours
        connection.execute(f"DELETE FROM history WHERE {oldest} AND at < ?", (wall - HISTORY_LASTS,))  # noqa: S608
        early = _delete(connection, f"history WHERE {oldest} AND id <= ?", newest - HISTORY_LIMIT)
        connection.execute("DELETE FROM strike WHERE until < ?", (wall - STRIKES_LAST,))
        connection.execute("DELETE FROM trust WHERE at < ?", (wall - TRUST_LASTS,))
        connection.execute("DELETE FROM permit WHERE until < ?", (wall,))
        for table, time, limit in (("strike", "until", STRIKES_LIMIT), ("trust", "at", TRUST_LIMIT)):
            query = f"SELECT {time} FROM {table} ORDER BY {time} DESC LIMIT 1 OFFSET ?"  # noqa: S608 - names of ours
            last = connection.execute(query, (limit,))
            if row := last.fetchone():
                early += _delete(connection, f"{table} WHERE {time} <= ?", row[0])
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute(f"PRAGMA incremental_vacuum({VACUUM})").fetchall()
    return early


def _delete(connection: sqlite3.Connection, which: str, value: int) -> int:
    return connection.execute(f"DELETE FROM {which}", (value,)).rowcount  # noqa: S608 - no text but ours


def _fold(records: Iterable[Record]) -> _Fold:
    fold = _Fold({}, [], {}, [])
    for record in records:
        if isinstance(record, Banned):
            ban, row = record.ban, ban_row(record.ban, record.shift)
            fold.bans[ban.source] = record
            fold.history.append((row[2], What.BAN.value, *row, trail_text(record.trail)))
            strikes: Strikes | None = record.strikes
        elif isinstance(record, Ended):
            fold.bans[record.ban.source] = None
            fold.history.append((record.at, record.what.value, *ban_row(record.ban, record.shift), "[]"))
            strikes = record.strikes
        else:
            fold.others.append(record)
            continue
        if strikes is not None:
            fold.strikes[strikes.source, strikes.evidence.value] = strikes
    return fold


def _write_history(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    connection.executemany(_PUT_HISTORY, _fold(records).history)


def _write(connection: sqlite3.Connection, records: Sequence[Record]) -> None:
    fold = _fold(records)
    gone = [(source,) for source, banned in fold.bans.items() if banned is None]
    if gone:
        connection.executemany("DELETE FROM ban WHERE source = ?", gone)
    put = [ban_row(banned.ban, banned.shift) for banned in fold.bans.values() if banned is not None]
    if put:
        connection.executemany(_PUT_BAN, put)
    if fold.history:
        connection.executemany(_PUT_HISTORY, fold.history)
    if fold.strikes:
        _write_strikes(connection, fold.strikes.values())
    for record in fold.others:
        _write_other(connection, record)


def _write_strikes(connection: sqlite3.Connection, strikes: Iterable[Strikes]) -> None:
    connection.executemany(
        _PUT_STRIKES,
        ((one.source, one.evidence.value, one.times, min(one.until, LATEST)) for one in strikes if one.times),
    )
    connection.executemany(
        "DELETE FROM strike WHERE source = ? AND evidence = ?",
        [(one.source, one.evidence.value) for one in strikes if not one.times],
    )


def _write_other(connection: sqlite3.Connection, record: Record) -> None:
    match record:
        case Allowed(source, until, at):
            connection.execute(_PUT_PERMIT, (source, until, at))
        case Disallowed(source):
            connection.execute("DELETE FROM permit WHERE source = ?", (source,))
        case Learnt(port, web):
            connection.execute(_PUT_PORT, (port, int(web)))
        case Trusted(site, account, at):
            connection.execute(_PUT_TRUST, (site, text(account), at))
        case Note(key, None):
            connection.execute("DELETE FROM note WHERE key = ?", (key,))
        case Note(key, value):
            connection.execute(_PUT_NOTE, (key, value))
        case Memory(rows, strikes):
            connection.execute("DELETE FROM memory")
            connection.executemany("INSERT INTO memory (row) VALUES (?)", ((row,) for row in rows))
            _write_strikes(connection, strikes)


def _rewrite(connection: sqlite3.Connection, whole: Rewrite) -> None:
    for table in ("ban", "strike", "permit", "port", "note"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names of ours
    connection.executemany(_PUT_BAN, (ban_row(ban, whole.shift) for ban in whole.bans))
    shift = whole.shift
    _write_strikes(connection, [Strikes(who, kind, n, Wall(end + shift)) for who, kind, n, end in whole.formers])
    connection.executemany(_PUT_PERMIT, whole.permits.values())
    connection.executemany(_PUT_PORT, ((port, int(web)) for port, web in whole.ports))
    connection.executemany(_PUT_NOTE, whole.notes.items())
