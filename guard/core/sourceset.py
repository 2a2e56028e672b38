"""Who is never banned: a set of networks that answers in a few dict look-ups, however many there are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from guard.core.address import covers, widen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guard.core.address import Source


class SourceSet:
    """Sources indexed by prefix length: the question "is this inside one of them?" costs one look-up a length.

    `version` counts changes.
    """

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self.version = 0
        self._sources: set[Source] = set()
        self._lengths: Counter[tuple[int, int]] = Counter()
        for source in sources:
            self.add(source)

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, source: Source) -> bool:
        return source in self._sources

    def __iter__(self) -> Iterator[Source]:
        return iter(sorted(self._sources))

    def add(self, source: Source) -> None:
        """Take in a source; one that is there already changes nothing."""
        if source not in self._sources:
            self.version += 1
            self._sources.add(source)
            self._lengths[source[0], source[1]] += 1

    def discard(self, source: Source) -> None:
        """Take out a source, if it is there."""
        if source in self._sources:
            self.version += 1
            self._sources.remove(source)
            self._lengths[source[0], source[1]] -= 1
            if not self._lengths[source[0], source[1]]:
                del self._lengths[source[0], source[1]]

    def around(self, source: Source) -> Source | None:
        """Return the narrowest member that covers `source`, or None."""
        family, have = source[0], source[1]
        for member_family, length in sorted(self._lengths, reverse=True):
            if member_family == family and length <= have:
                network = widen(source, length)
                if network in self._sources:
                    return network
        return None

    def inside(self, source: Source) -> Iterator[Source]:
        """Yield the members that lie inside `source`, itself included."""
        if any(family == source[0] and length > source[1] for family, length in self._lengths):
            yield from (member for member in self._sources if covers(source, member))
        elif source in self._sources:
            yield source

    def touches(self, source: Source) -> bool:
        """Tell whether any address of `source` belongs to a member."""
        return self.around(source) is not None or next(self.inside(source), None) is not None
