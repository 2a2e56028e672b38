"""Who is allowed, and on whose word: the configuration, a name in it, this host's own address, or a command."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from guard.core.address import show_short
from guard.errors import ControlError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guard.core.address import Source

COMMAND = "command"
OWN = "own address"


class Permits:
    """Every allowed source with its origins. A source is allowed as long as one origin is left."""

    def __init__(self) -> None:
        self._origins: defaultdict[Source, set[str]] = defaultdict(set)

    def __iter__(self) -> Iterator[tuple[Source, str]]:
        for source in sorted(self._origins):
            yield source, ", ".join(sorted(self._origins[source]))

    def origin(self, source: Source) -> str:
        """Return the origins of exactly this source, or nothing."""
        return ", ".join(sorted(self._origins.get(source, ())))

    def add(self, source: Source, origin: str) -> bool:
        """Allow a source; True if it was not allowed before."""
        new = source not in self._origins
        self._origins[source].add(origin)
        return new

    def replace(self, origin: str, sources: Iterable[Source]) -> tuple[set[Source], set[Source]]:
        """Let an origin stand for these sources and no others; return who came in and who went out."""
        wanted = set(sources)
        gone = {source for source, origins in self._origins.items() if origin in origins and source not in wanted}
        added = {source for source in wanted if self.add(source, origin)}
        return added, {source for source in gone if self._drop(source, origin)}

    def remove(self, source: Source) -> None:
        """Take back what a command allowed. NotFound if nobody allowed it; ControlError if somebody else did."""
        origins = self._origins.get(source)
        if not origins:
            raise NotFound(f"{show_short(source)} is not on the allowlist; 'astguard allow list' shows what is")
        if origins != {COMMAND}:
            origins.discard(COMMAND)
            raise ControlError(
                f"{show_short(source)} stays allowed by {self.origin(source)}; what a file allows, "
                "change there, then restart"
            )
        del self._origins[source]

    def _drop(self, source: Source, origin: str) -> bool:
        self._origins[source].discard(origin)
        if self._origins[source]:
            return False
        del self._origins[source]
        return True
