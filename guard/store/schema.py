"""The tables, their versions, and how a file of an earlier version becomes one of this.

`user_version` is the version of what stands in the file. A later version that only adds tables, or columns with a
default, says so by `meta.readable_by`, the lowest version that may go on with the file: so one version down works, and
what the later one added stays there untouched (docs/decisions/0017).
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from guard.errors import StoreUnreadable

if TYPE_CHECKING:
    from pathlib import Path

_BAN = """
    rule TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL, scope TEXT NOT NULL, evidence TEXT NOT NULL,
    strike INTEGER NOT NULL, offences INTEGER NOT NULL, events INTEGER NOT NULL, reason TEXT NOT NULL,
    origin TEXT NOT NULL, cause TEXT NOT NULL
"""

STEPS = (
    f"""
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    INSERT INTO meta VALUES ('readable_by', 1);
    CREATE TABLE ban (source BLOB PRIMARY KEY, {_BAN}) STRICT, WITHOUT ROWID;
    CREATE TABLE strike (
        source BLOB, evidence TEXT, count INTEGER NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (source, evidence)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE history (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, what TEXT NOT NULL, source BLOB NOT NULL, {_BAN},
        trail TEXT NOT NULL
    ) STRICT;
    CREATE INDEX history_of_source ON history (source);
    """,  # noqa: S608 - text of ours
    """
    CREATE TABLE trust (site BLOB, account TEXT, at INTEGER NOT NULL, PRIMARY KEY (site, account))
        STRICT, WITHOUT ROWID;
    CREATE TABLE port (port INTEGER PRIMARY KEY, web INTEGER NOT NULL) STRICT;
    CREATE TABLE permit (source BLOB PRIMARY KEY, until INTEGER, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE note (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE memory (number INTEGER PRIMARY KEY, row TEXT NOT NULL) STRICT;
    """,
)
"""What makes each version out of the one before; the first makes version 1 out of an empty file."""
VERSION = len(STEPS)

BUSY_SECONDS = 5.0
"""How long to wait for somebody who looks into the file with sqlite3."""
PAGE_CACHE = 2_048
"""KiB of pages that are kept in memory."""
VALUE_LIMIT = 1 << 20
"""Bytes of one value; ours are far smaller."""
WAL_LIMIT = 16 << 20
"""Bytes that the write-ahead log is cut back to."""


def connect(path: Path, *, alone: bool = False) -> sqlite3.Connection:
    """Open a file that exists, bring it to this version, and return the connection; its transactions are explicit.

    With `alone` nobody else may look into it meanwhile, and a full disk is no hindrance (sqlite.org/wal.html, section
    8). StoreUnreadable if it is no state of ours, damaged, or of a version that this one must not write to.
    sqlite3.Error if the disk refuses.
    """
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        if alone:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        version = _version(connection)  # before anything is written: a file that is not ours stays as it is
        _prepare(connection, is_new=version == 0)
        if version < VERSION:
            _bring_up(connection, version)
    except BaseException as error:
        connection.close()
        # A UnicodeError: SQLite quotes a broken schema in its message, and Python cannot read that.
        if isinstance(error, UnicodeError) or (isinstance(error, sqlite3.DatabaseError) and is_damage(error)):
            raise StoreUnreadable("damaged", f"{path} is damaged ({error})") from None
        raise
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether an error says that the file itself is wrong, and trying again is of no use."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def is_busy(error: Exception) -> bool:
    """Tell whether somebody else holds the file, and nothing is wrong with it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _version(connection: sqlite3.Connection) -> int:
    """Return which version the file has, 0 if it is empty; StoreUnreadable if this one must not go on with it."""
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_LIMIT)
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if version == 0 and tables:
        raise StoreUnreadable("foreign", "it has tables, but no version of ours")
    if version and "meta" not in tables:
        raise StoreUnreadable("foreign", "it has a version, but not our tables")
    if version > VERSION:
        found = connection.execute("SELECT value FROM meta WHERE key = 'readable_by'").fetchone()
        if found is None or found[0] > VERSION:
            raise StoreUnreadable(
                "newer", f"it was written by a newer astguard (version {version}, this one reads up to {VERSION})"
            )
    return version


def _prepare(connection: sqlite3.Connection, *, is_new: bool) -> None:
    if is_new:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns, in WAL mode too
    connection.execute(f"PRAGMA cache_size = -{PAGE_CACHE}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")


def _bring_up(connection: sqlite3.Connection, version: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in "".join(STEPS[version:]).split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
