"""The limit on unproven bans: whoever forges senders shall not fill the sets, nor crowd out those who really attack.

Half of what a minute allows is given at once. Beyond that a source waits, and each second the one whose count is
highest against its threshold is banned: first come is never first served where it matters. A source ten times over
its threshold is banned outside the limit, and past a number of active bans nobody else is.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from guard.core.tally import Table
from guard.core.units import MINUTE, SECOND, Instant

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from guard.core.units import Duration

A_MINUTE = 120
"""Unproven bans in any minute, those outside the limit apart: half at once, half one a second."""
ACTIVE = 20_000
OUTSIDE = 10
"""So many times its threshold, and a source is banned whatever the limit says."""
WAITING_LIMIT = 4_096

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class UnprovenLimit(Generic[K, V]):
    """Decides who is banned now, and who waits. `V` is what the caller needs to ban later."""

    def __init__(self) -> None:
        self.forgotten = 0
        self._given: deque[Instant] = deque(maxlen=A_MINUTE // 2)
        self._ends: list[Instant] = []  # of the bans given and not yet over, a heap
        self._waiting: dict[K, tuple[float, Instant, Duration, V]] = {}
        self._least = 0.0
        self._next = Instant(0)

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def table(self) -> Table:
        """How full the table of those who wait is."""
        return Table("waiting_bans", len(self._waiting), WAITING_LIMIT, self.forgotten)

    def ask(self, key: K, over: float, span: Duration, value: V, now: Instant) -> bool:
        """Tell whether a source `over` times its threshold may be banned for `span` now; if not, it waits."""
        if over >= OUTSIDE:
            self._waiting.pop(key, None)
            return True
        given = self._given
        if not self._waiting and self._has_room(now) and (len(given) < A_MINUTE // 2 or now - given[0] >= MINUTE):
            given.append(now)
            heapq.heappush(self._ends, Instant(now + span))
            return True
        if not self._waiting:
            self._next = max(self._next, Instant(now + SECOND))
        if key in self._waiting or len(self._waiting) < WAITING_LIMIT or over > self._least:
            self._waiting[key] = (over, now, span, value)
            if len(self._waiting) > WAITING_LIMIT:
                self._forget_the_lighter_half()
        else:
            self.forgotten += 1
        return False

    def dump(self) -> Iterator[tuple[object, ...]]:
        """Give what was given, and who waits, `V` as it is."""
        yield "given", self._next, tuple(self._given), tuple(self._ends)
        for over, since, span, value in self._waiting.values():
            yield "waits", over, since, span, value

    def restore_given(self, following: Instant, given: Iterable[Instant], ends: Iterable[Instant]) -> None:
        """Take back what was given, and when the next is served."""
        self._next = following
        self._given.extend(given)
        self._ends = sorted(ends)[-ACTIVE:]

    def restore_waiting(self, key: K, over: float, since: Instant, span: Duration, value: V) -> None:
        """Take back one who waits."""
        if len(self._waiting) < WAITING_LIMIT:
            self._waiting[key] = (over, since, span, value)

    @property
    def deadline(self) -> Instant | None:
        """The instant at which the next of those who wait is banned."""
        return self._next if self._waiting else None

    def serve(self, now: Instant) -> V | None:
        """Return the one that is banned now: the heaviest, if its second has come."""
        if not self._waiting or now < self._next:
            return None
        self._next = Instant(now + SECOND)
        for key in [key for key, (_, since, _, _) in self._waiting.items() if now - since >= MINUTE]:
            del self._waiting[key]  # has not been heard for a minute
        if not self._waiting or not self._has_room(now):
            return None
        heaviest = max(self._waiting, key=lambda held: self._waiting[held][0])
        _, _, span, value = self._waiting.pop(heaviest)
        heapq.heappush(self._ends, Instant(now + span))
        return value

    def withdraw(self, is_void: Callable[[V], bool]) -> None:
        """Let those wait no longer whose ban nobody asks for any more."""
        self._waiting = {key: held for key, held in self._waiting.items() if not is_void(held[3])}

    def _has_room(self, now: Instant) -> bool:
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        return len(self._ends) < ACTIVE

    def _forget_the_lighter_half(self) -> None:
        kept = heapq.nlargest(WAITING_LIMIT // 2, self._waiting.items(), key=lambda item: item[1][0])
        self.forgotten += len(self._waiting) - len(kept)
        self._waiting = dict(kept)
        self._least = kept[-1][1][0]
