"""Histograms: each value is in exactly one bucket, and a run of values is counted as they would be one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from guard.core.histogram import Histogram

BOUNDS = (10, 20, 50)


def of(*values):
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.add(value)
    return histogram


def test_a_bound_belongs_to_its_bucket_and_what_is_larger_than_all_to_the_last():
    assert of(0, 10).counts == [2, 0, 0, 0]
    assert of(11, 20).counts == [0, 2, 0, 0]
    assert of(50, 51, 10**30).counts == [0, 0, 1, 2]
    assert (len(of(1, 2, 60)), of(1, 2, 60).total) == (3, 63)


def test_a_run_inside_one_bucket_is_one_step_and_one_across_buckets_is_refused():
    histogram = of()
    assert histogram.add_run(12, 18, 4)
    assert (histogram.counts, histogram.total) == ([0, 4, 0, 0], 60)
    assert not histogram.add_run(8, 12, 2)
    assert (histogram.counts, histogram.total) == ([0, 4, 0, 0], 60)


@given(st.lists(st.integers(0, 80), min_size=1))
def test_a_run_has_the_counts_of_its_values(values):
    values.sort()
    alone, run = of(*values), of()
    if run.add_run(values[0], values[-1], len(values)):
        assert run.counts == alone.counts
    else:
        assert sum(bool(count) for count in alone.counts) > 1
