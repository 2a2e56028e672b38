"""Who is allowed, and on whose word: the configuration, a name in it, this host's own address, or a command.

What a command allowed may have an end. All else is allowed for as long as whoever said so says so.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from guard.core.address import show_short
from guard.errors import ControlError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guard.core.address import Source
    from guard.core.units import Instant

COMMAND = "command"
OWN = "own address"
COMMANDS_LIMIT = 10_000
"""Sources that commands may have allowed at once; a list of that size belongs in the configuration."""


class Permits:
    """Every allowed source with its origins. A source is allowed as long as one origin is left."""

    def __init__(self) -> None:
        self._origins: defaultdict[Source, set[str]] = defaultdict(set)
        self._commands: dict[Source, Instant | None] = {}  # what commands have allowed, and until when

    def __iter__(self) -> Iterator[tuple[Source, str]]:
        for source in sorted(self._origins):
            yield source, ", ".join(sorted(self._origins[source]))

    def origin(self, source: Source) -> str:
        """Return the origins of exactly this source, or nothing."""
        return ", ".join(sorted(self._origins.get(source, ())))

    def until(self, source: Source) -> Instant | None:
        """Return when exactly this source will no longer be allowed; None if nobody can say, or it is not."""
        return self._commands.get(source) if self._origins.get(source) == {COMMAND} else None

    @property
    def deadline(self) -> Instant | None:
        """The instant at which the next entry by command ends."""
        return min((until for until in self._commands.values() if until is not None), default=None)

    def add(self, source: Source, origin: str) -> bool:
        """Allow a source; True if it was not allowed before."""
        new = source not in self._origins
        self._origins[source].add(origin)
        return new

    def allow(self, source: Source, until: Instant | None) -> bool:
        """Allow a source by command, until then or for good, whatever a command said before; True if it was not yet.

        ControlError if commands have allowed too many.
        """
        if source not in self._commands and len(self._commands) >= COMMANDS_LIMIT:
            raise ControlError(
                f"{len(self._commands)} sources are allowed by command, which is all there is room for; write networks "
                "into 'allow' in astguard.yaml, then 'astguard reload'"
            )
        self._commands[source] = until
        return self.add(source, COMMAND)

    def replace(self, origin: str, sources: Iterable[Source]) -> tuple[set[Source], set[Source]]:
        """Let an origin stand for these sources and no others; return who came in and who went out."""
        wanted = set(sources)
        gone = {source for source, origins in self._origins.items() if origin in origins and source not in wanted}
        added = {source for source in wanted if self.add(source, origin)}
        return added, {source for source in gone if self._drop(source, origin)}

    def configure(self, entries: Iterable[tuple[Source, str]]) -> tuple[set[Source], set[Source]]:
        """Let the configuration say this, places and all, and nothing else; return who came in and who went out."""
        before = set(self._origins)
        for source, origins in list(self._origins.items()):
            origins &= {COMMAND, OWN}
            if not origins:
                del self._origins[source]
        for source, origin in entries:
            self.add(source, origin)
        return self._origins.keys() - before, before - self._origins.keys()

    def remove(self, source: Source) -> None:
        """Take back what a command allowed. NotFound if nobody allows it; ControlError if somebody else does too."""
        if source not in self._origins:
            raise NotFound(f"{show_short(source)} is not on the allowlist; 'astguard allow list' shows what is")
        self._commands.pop(source, None)
        if not self._drop(source, COMMAND):
            raise ControlError(
                f"{show_short(source)} stays allowed by {self.origin(source)}; what a file allows, "
                "change there, then 'astguard reload'"
            )

    def expire(self, now: Instant) -> tuple[set[Source], set[Source]]:
        """End the entries by command whose time is over; return whose they were, and who went out with that."""
        over = {source for source, until in self._commands.items() if until is not None and until <= now}
        for source in over:
            del self._commands[source]
        return over, {source for source in over if self._drop(source, COMMAND)}

    def _drop(self, source: Source, origin: str) -> bool:
        self._origins[source].discard(origin)
        if self._origins[source]:
            return False
        del self._origins[source]
        return True
