"""A table that stays bounded by forgetting what was touched longest ago, half of it at a time.

Two dicts, young and old. A touched entry moves to the young one; a turn drops the old and makes the young old. So
every operation is a dict operation, nothing is ever scanned or sorted, and what a turn drops has not been touched
since the turn before the last. Whoever turns once per time span thereby forgets what is older than the span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from guard.core.tally import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

K = TypeVar("K")
V = TypeVar("V")


class Generations(Generic[K, V]):
    """A mapping of at most `limit` entries; `put` turns by itself when the young half is full.

    With `size` the limit is for the sum of the entries' sizes, each at least 1; a value that grows in place owes the
    table a `grow`. `forgotten` counts the entries that the limit cost.
    """

    __slots__ = ("_half", "_old", "_size", "_taken", "_young", "forgotten")

    def __init__(self, limit: int, size: Callable[[V], int] | None = None) -> None:
        assert limit >= 2, "a table of two halves holds at least two entries"
        self.forgotten = 0
        self._half = limit // 2
        self._size = size
        self._taken = 0  # the sizes of the young half
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    @property
    def limit(self) -> int:
        """What it may hold: entries, or the sum of their sizes."""
        return 2 * self._half

    def table(self, name: str) -> Table:
        """Return how full it is."""
        return Table(name, len(self), self.limit, self.forgotten)

    def get(self, key: K) -> V | None:
        """Return the value without touching the entry."""
        value = self._young.get(key)
        return self._old.get(key) if value is None else value

    def touch(self, key: K) -> V | None:
        """Return the value and touch the entry. In most calls this is one look-up."""
        value = self._young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: K, value: V) -> dict[K, V] | None:
        """Set and touch an entry; returns what was forgotten to make room, if anything was."""
        dropped = None
        held = self._young.get(key)
        if held is None:
            self._old.pop(key, None)
            if len(self._young) >= self._half:
                dropped = self._forget()
        self._young[key] = value
        if self._size is not None:
            return self.grow(self._size(value) - (0 if held is None else self._size(held))) or dropped
        return dropped

    def grow(self, by: int) -> dict[K, V] | None:
        """Say that a value which has just been touched has grown in place; returns what was forgotten for it."""
        self._taken += by
        return self._forget() if self._taken > self._half else None

    def pop(self, key: K) -> V | None:
        """Remove an entry and return its value."""
        value = self._young.pop(key, None)
        if value is None:
            return self._old.pop(key, None)
        if self._size is not None:
            self._taken -= self._size(value)
        return value

    def turn(self) -> dict[K, V]:
        """Forget the old half, grow the young one old, and return what was forgotten."""
        dropped, self._old, self._young = self._old, self._young, {}
        self._taken = 0
        return dropped

    def _forget(self) -> dict[K, V]:
        dropped = self.turn()
        self.forgotten += len(dropped)
        return dropped

    def items(self) -> Iterator[tuple[K, V]]:
        """Iterate over all entries, longest untouched half first."""
        yield from self._old.items()
        yield from self._young.items()
