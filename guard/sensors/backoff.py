"""How long to wait before the next try."""

from __future__ import annotations


class Backoff:
    """Waits that start at `first` seconds and double up to `last`, for ever; `reset` after a success."""

    def __init__(self, first: float, last: float) -> None:
        self._first = first
        self._last = last
        self._next = first

    def next(self) -> float:
        """Return the seconds to wait now."""
        wait, self._next = self._next, min(self._next * 2, self._last)
        return wait

    def reset(self) -> None:
        """Start again at `first`."""
        self._next = self._first
