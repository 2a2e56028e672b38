"""Which bans of the past are asked for: a query of the control API, and back.

    GET /v1/history?source=198.51.100.0%2F24&rule=NAME&since=TIME&until=TIME&limit=N

Each key at most once, each may be left out. A source means every ban that shares an address with it. Times are as the
API writes them (`2026-05-01T14:02:11.000Z`): from `since` on and before `until` a ban has begun.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from guard.core.address import Source, parse_source, show
from guard.core.text import printable
from guard.core.units import Wall
from guard.wire.describe import show_time
from guard.wire.query import read_query, write_query

USUAL_LIMIT = 100
LIMIT = 10_000
"""Bans of one answer, 4 MB."""
_RULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Wanted(NamedTuple):
    """The bans that are asked for; an empty source or rule and a time of None restrict nothing."""

    source: Source = Source(b"")
    rule: str = ""
    since: Wall | None = None
    until: Wall | None = None
    limit: int = USUAL_LIMIT


def read_wanted(query: str) -> Wanted:
    """Read a query, without its question mark; ValueError says what is wrong with it."""
    values = read_query(query, Wanted._fields)
    return Wanted(
        source=parse_source(values["source"]) if "source" in values else Source(b""),
        rule=check_rule(values.get("rule", "")),
        since=_time(values.get("since")),
        until=_time(values.get("until")),
        limit=_limit(values.get("limit", str(USUAL_LIMIT))),
    )


def show_wanted(wanted: Wanted) -> str:
    """Write a query with its question mark."""
    times = {key: "" if at is None else show_time(at) for key, at in (("since", wanted.since), ("until", wanted.until))}
    source = show(wanted.source) if wanted.source else ""
    return write_query({"source": source, "rule": wanted.rule, **times, "limit": str(wanted.limit)})


def check_rule(name: str) -> str:
    """Return a rule's name, or nothing; ValueError if it can be none."""
    if name and not _RULE.fullmatch(name):
        raise ValueError(f"'{printable(name, 40)}' is no name of a rule; 'astguard rules list' has all")
    return name


def _time(text: str | None) -> Wall | None:
    if text is None:
        return None
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"'{printable(text, 40)}' is no time like 2026-05-01T14:02:11.000Z") from None
    return Wall(int(moment.timestamp() * 1000) * 1_000_000)


def _limit(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) <= LIMIT:
        raise ValueError(f"'{printable(text, 40)}' is no limit from 1 to {LIMIT}")
    return int(text)
