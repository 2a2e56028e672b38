"""Histogram: how many values fell into each of a few fixed buckets. It is as large after a year as at the start."""

from __future__ import annotations

from bisect import bisect_left


class Histogram:
    """Counts of whole values, in the unit that its bounds are in.

    `bounds` are the upper ends of the buckets, included, and ascend; one more bucket takes what is larger than all.
    `counts` has one count for each bucket, `total` is the sum of all values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        assert bounds, "a histogram without bounds is a counter"
        assert list(bounds) == sorted(set(bounds)), "the bounds ascend"
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0

    def __len__(self) -> int:
        """Return how many values were added."""
        return sum(self.counts)

    def add(self, value: int) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add_run(self, first: int, last: int, times: int) -> bool:
        """Count so many values that lie between two, if one bucket has them all; tell whether it has.

        They enter the total as the mean of the two. A flood's values come in runs, and this is one step for each.
        """
        bucket = bisect_left(self.bounds, first)
        if bucket != bisect_left(self.bounds, last):
            return False
        self.counts[bucket] += times
        self.total += (first + last) * times // 2
        return True
