"""What happens, as the live stream tells it: which of it a client wants, and how it looks in server-sent events.

    event: ban
    data: {"kind": "ban", "at": "2026-05-01T14:02:11.000Z", "source": "198.51.100.7/32", "rule": ...}

One event of the stream is two lines and an empty one, and its data one line of JSON in ASCII, so no text of a sender
can end a line. A comment, a line that begins with a colon, says that the guard is alive.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from guard.core.address import covers, parse_source, show
from guard.core.event import SecurityEvent
from guard.core.outcome import Outcome
from guard.core.text import printable
from guard.wire.describe import ACCOUNT_LIMIT, show_time
from guard.wire.query import read_query, write_query

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guard.core.address import Source

RULE_LIMIT = 80
HELLO = b"retry: 5000\n: astguard is here\n\n"
BEAT = b": still here\n\n"


class Kind(StrEnum):
    """What happened."""

    OUTCOME = "outcome"  # an event was judged
    BAN = "ban"
    WOULD_BAN = "would_ban"  # a rule that only observes would have banned
    UNBAN = "unban"
    EXPIRE = "expire"
    ALARM = "alarm"


class News(NamedTuple):
    """One thing that happened, with what filters ask. `what` is an event that was judged, or JSON of anything else."""

    kind: Kind
    source: Source | None
    rule: str | None
    outcome: Outcome | None
    what: SecurityEvent | Mapping[str, object]


class Filter(NamedTuple):
    """What a client wants to hear: all for which each of these holds, empty means whatever.

    `source` is a network around the source; `outcomes` leaves events that were judged, and `rule` bans and alarms,
    because an event may count under several rules.
    """

    kinds: frozenset[Kind] = frozenset()
    source: Source | None = None
    rule: str = ""
    outcomes: frozenset[Outcome] = frozenset()

    def passes(self, news: News) -> bool:
        """Tell whether a client with this filter wants to hear it."""
        if self.kinds and news.kind not in self.kinds:
            return False
        if self.outcomes and news.outcome not in self.outcomes:
            return False
        if self.rule and news.rule != self.rule:
            return False
        return self.source is None or (news.source is not None and covers(self.source, news.source))


def read_filter(query: str) -> Filter:
    """Read a filter from a query; ValueError says what is wrong with it."""
    values = read_query(query, ("kind", "address", "rule", "outcome"))
    return make_filter(**values)


def make_filter(kind: str = "", address: str = "", rule: str = "", outcome: str = "") -> Filter:
    """Make a filter of words with commas between; ValueError for one that nothing could pass."""
    kinds, outcomes = _words(kind, Kind, "kind"), _words(outcome, Outcome, "outcome")
    if len(rule) > RULE_LIMIT or not rule.isprintable():
        raise ValueError(f"'{printable(rule, 40)}' is not the name of a rule")
    if rule and outcomes:
        raise ValueError("an outcome belongs to no single rule; ask for 'rule' or for 'outcome'")
    told = {Kind.OUTCOME} if outcomes else set(Kind) - {Kind.OUTCOME} if rule else set(Kind)
    if kinds and kinds.isdisjoint(told):
        what = "outcome" if outcomes else "rule"
        raise ValueError(f"of the kind {', '.join(sorted(kinds))} nothing has {what!r}; leave one of them out")
    return Filter(kinds, parse_source(address) if address else None, rule, outcomes)


def show_filter(wanted: Filter) -> str:
    """Write a filter as the query that `read_filter` reads."""
    return write_query(
        {
            "kind": ",".join(sorted(wanted.kinds)),
            "address": show(wanted.source) if wanted.source else "",
            "rule": wanted.rule,
            "outcome": ",".join(sorted(wanted.outcomes)),
        }
    )


def write_news(news: News) -> bytes:
    """Write what happened as one event of the stream."""
    what = describe_event(news.what, news.outcome) if isinstance(news.what, SecurityEvent) else news.what
    return write_event(news.kind, {"kind": str(news.kind), **what})


def write_event(name: str, value: Mapping[str, object]) -> bytes:
    """Write one event of the stream."""
    return f"event: {name}\ndata: {json.dumps(value)}\n\n".encode("ascii")


def describe_event(event: SecurityEvent, outcome: Outcome | None) -> dict[str, object]:
    """Return what the stream tells of an event that was judged; its account is made fit to be shown."""
    return {
        "at": show_time(event.at),
        "source": show(event.source),
        "outcome": None if outcome is None else str(outcome),
        "event": str(event.kind),
        "service": str(event.service),
        "account": printable(event.account, ACCOUNT_LIMIT),
        "transport": str(event.transport),
        "port": event.local_port,
        "sensor": str(event.sensor),
    }


_Word = TypeVar("_Word", Kind, Outcome)


def _words(text: str, known: type[_Word], what: str) -> frozenset[_Word]:
    words = text.split(",") if text else []
    for word in words:
        if word not in list(known):
            raise ValueError(f"'{printable(word, 40)}' is no {what}; known are {', '.join(known)}")
    return frozenset(map(known, words))
