"""The trail of a source: its last events that were judged, so that a ban can tell what led to it.

Kept for each site, as few as show what it did, and bounded in all; who is shut out or allowed leaves none. Cheap,
because every event that is judged comes by here: a slice of its fields and one look-up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import SITE_LENGTH, covers, site
from guard.core.event import Kind, Service, Transport
from guard.core.generations import Generations
from guard.core.outcome import Outcome
from guard.core.units import Wall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from guard.core.address import Source
    from guard.core.event import SecurityEvent
    from guard.core.plain import Reader, Row, Value
    from guard.core.tally import Table

TRAIL_LIMIT = 16
"""Events of one source: a whole burst of a phone."""
TRACES_LIMIT = 32_768
"""Events of all sources: some 300 bytes each, 10 MB; their texts are cut to 255 characters, so 50 MB at the worst."""


class Trace(NamedTuple):
    """What is kept of an event, and what came of it. Its texts are the sender's and hostile."""

    at: Wall
    kind: Kind
    service: Service
    account: str
    session: str
    source: Source
    transport: Transport
    local_port: int
    outcome: Outcome


_KEPT = len(Trace._fields) - 1
assert _KEPT == 8, "the first fields of a SecurityEvent, in its order"


class Trails:
    """The trails of all sites; the longest untouched are forgotten first."""

    def __init__(self, limit: int = TRACES_LIMIT) -> None:
        self._sites: Generations[Source, list[tuple[object, ...]]] = Generations(limit, len)

    @property
    def forgotten(self) -> int:
        """How many trails were forgotten because the table was full."""
        return self._sites.forgotten

    @property
    def table(self) -> Table:
        """How full the table is."""
        return self._sites.table("trails")

    def add(self, site: Source, event: SecurityEvent, outcome: Outcome) -> None:
        """Note an event of a site."""
        trail = self._sites.touch(site)
        kept = (*event[:_KEPT], outcome)
        if trail is None:
            self._sites.put(site, [kept])
        elif len(trail) < TRAIL_LIMIT:
            trail.append(kept)
            self._sites.grow(1)
        else:
            del trail[0]
            trail.append(kept)

    def look(self, source: Source) -> tuple[Trace, ...]:
        """Return the last events of a source, the oldest first; for a network this looks at all sites."""
        home = site(source) if source[1] >= SITE_LENGTH[source[0]] else None
        trails = [self._sites.get(home) or ()] if home else [t for s, t in self._sites.items() if covers(source, s)]
        return tuple(sorted(trace for trail in trails for trace in _made(trail) if covers(source, trace.source)))

    def take(self, source: Source) -> tuple[Trace, ...]:
        """Return the last events of a source, the oldest first, and forget them.

        For a network this looks at all sites: ask for one that has just been banned.
        """
        if source[1] >= SITE_LENGTH[source[0]]:
            home = site(source)
            if home == source:
                return _made(self._sites.pop(source) or ())
            trail = _made(self._sites.get(home) or ())
        else:
            homes = [home for home, _ in self._sites.items() if covers(source, home)]
            trail = tuple(trace for home in homes for trace in _made(self._sites.pop(home) or ()))
        return tuple(sorted(trace for trace in trail if covers(source, trace.source))[-TRAIL_LIMIT:])

    def dump(self) -> Iterator[Row]:
        """Give all trails, the longest untouched half first."""
        for home, trail in self._sites.items():
            yield home, tuple(trail)

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back the trail of a site."""
        home, trail = row
        self._sites.put(read.source(home), [_read(trace, read) for trace in read.many(trail, TRAIL_LIMIT)])


def _read(value: Value, read: Reader) -> Trace:
    at, kind, service, account, session, source, transport, port, outcome = read.many(value, _KEPT + 1)
    return Trace(
        Wall(read.whole(at)), Kind(read.text(kind)), Service(read.text(service)), read.text(account),
        read.text(session), read.source(source), Transport(read.text(transport)), read.whole(port),
        Outcome(read.text(outcome)),
    )  # fmt: skip


def _made(traces: Iterable[tuple[object, ...]]) -> tuple[Trace, ...]:
    return tuple(map(Trace._make, traces))
