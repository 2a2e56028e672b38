"""What the store is told, one record for each thing that became true. All times are the wall clock's."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.rule import Evidence
    from guard.core.trail import Trace
    from guard.core.units import Duration, Instant, Wall


class What(StrEnum):
    """What a row of the history tells."""

    BAN = "ban"
    UNBAN = "unban"  # lifted early
    REPLACE = "replace"  # a wider or stronger ban took its place
    EXPIRE = "expire"


class Strikes(NamedTuple):
    """The former bans of a source on one kind of evidence; none, if `times` is 0. `until` is when the last one ends."""

    source: Source
    evidence: Evidence
    times: int
    until: Wall


class Banned(NamedTuple):
    """A ban that is in the kernel. `shift` is what its instants lack to the wall clock's time."""

    ban: Ban
    shift: Duration
    strikes: Strikes
    trail: tuple[Trace, ...] = ()


class Ended(NamedTuple):
    """A ban that is no more, and why, at the wall clock's `at`."""

    ban: Ban
    shift: Duration
    what: What
    at: Wall
    strikes: Strikes | None = None


class Allowed(NamedTuple):
    """A source that a command has allowed, until then or for good."""

    source: Source
    until: Wall | None
    at: Wall


class Disallowed(NamedTuple):
    """A source that a command allowed, and allows no more."""

    source: Source


class Learnt(NamedTuple):
    """A port at which Asterisk was heard; `web` if over WebSockets alone."""

    port: int
    web: bool


class Trusted(NamedTuple):
    """The last success of an account at a site."""

    site: Source
    account: str
    at: Wall


class Note(NamedTuple):
    """A word to be kept under a key; None takes it away."""

    key: str
    value: str | None


class Rewrite(NamedTuple):
    """All that is true now, in place of what could not be written; `shift` is that of all instants.

    `formers` are the former bans of all sources: how many, and when the last one ends. The thread that writes turns
    them into Strikes: there may be 400,000, and whoever gives them judges events.
    """

    bans: Sequence[Ban]
    shift: Duration
    formers: Sequence[tuple[Source, Evidence, int, Instant]]
    permits: Mapping[Source, Allowed]
    ports: Sequence[Learnt]
    notes: Mapping[str, str]


class Memory(NamedTuple):
    """What a clean stop leaves: the core's rows as text, and the strikes of all sources."""

    rows: Sequence[str]
    strikes: Sequence[Strikes]


Record = Banned | Ended | Allowed | Disallowed | Learnt | Trusted | Note | Rewrite | Memory
