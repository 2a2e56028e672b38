"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.units import DAY, HOUR, MINUTE, SECOND, Duration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90 * SECOND), ("10m", 10 * MINUTE), ("1h30m", 90 * MINUTE), ("2d", 2 * DAY), ("1d2h3m4s", 93784 * SECOND)],
)
def test_a_duration_is_read(text, expected):
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "0s", "0", "10", "m", "1:30", "30m1h", "1.5h", "-1h", "1 h", "1H", "１h", "1h1h", "1h\n", "9" * 30 + "s"],
)
def test_what_is_no_duration_is_named_with_the_way_to_write_it(text):
    with pytest.raises(ValueError, match="is not a duration; write it like 90s, 5m, 1h30m or 2d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(0, "0s"), (-HOUR, "0s"), (SECOND - 1, "0s"), (90 * SECOND, "1m30s"), (HOUR, "1h"), (HOUR + SECOND, "1h"),
     (49 * HOUR + MINUTE, "2d1h"), (48 * MINUTE, "48m")],
)  # fmt: skip
def test_a_duration_is_written_in_its_two_largest_units(duration, expected):
    assert format_duration(Duration(duration)) == expected


@given(st.integers(1, 99_999), st.sampled_from("dhms"))
def test_what_is_written_is_read_back(number, unit):
    duration = parse_duration(f"{number}{unit}")
    text = format_duration(duration)
    assert parse_duration(text) <= duration
    if unit != "s":
        assert parse_duration(text) > duration - (HOUR if duration >= DAY else MINUTE)
