"""What people read: text of strangers, tables, times."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.cli.table import (
    align,
    as_text,
    fill,
    fill_raw,
    flatten,
    left,
    local_time,
    short_source,
    short_time,
    source,
    span,
    text,
)
from guard.core.text import LIMIT, printable


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("1001", "1001"),
        ("Jörg Müller 電話", "Jörg Müller 電話"),
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("a\r\nEvent: SuccessfulAuth", r"a\r\nEvent: SuccessfulAuth"),
        ("\u202e7.001.15.891", r"\u202e7.001.15.891"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("line\u2028end", r"line\u2028end"),
        ("\u3164", r"\u3164"),
        ("\u00a0", r"\xa0"),
        ("\x9b31m", r"\x9b31m"),
        ("half \udcff", r"half \udcff"),
        (r"PBX\1001", r"PBX\1001"),
        ("", ""),
    ],
)
def test_text_of_a_stranger_is_shown_as_its_escapes(hostile, shown):
    assert printable(hostile) == shown


def test_long_text_is_cut_and_says_so():
    assert printable("x" * LIMIT) == "x" * LIMIT
    assert printable("x" * (LIMIT + 1)) == "x" * (LIMIT - 1) + "…"
    assert printable("x" * 65_000, 10) == "xxxxxxxxx…"


def test_a_cut_never_falls_into_an_escape():
    assert printable("ab\x1bcd", 6) == "ab…"
    assert printable("ab\x1bcd", 7) == r"ab\x1b…"
    assert printable("ab\x1bcd", 8) == r"ab\x1bcd"


@given(st.text(), st.integers(1, 40))
def test_whatever_comes_in_what_is_shown_is_printable_and_short(hostile, limit):
    shown = printable(hostile, limit)
    assert shown.isprintable()
    assert len(shown) <= limit


@given(st.text())
def test_text_that_was_made_printable_stays_as_it_is(hostile):
    assert printable(printable(hostile)) == printable(hostile)


def test_columns_line_up_and_lines_end_without_blanks():
    assert align([["A", "BB", "C"], ["aaa", "b", ""]]) == ["A    BB  C", "aaa  b"]


def test_a_table_without_items_is_its_header_and_without_a_header_nothing():
    columns = (("SOURCE", source()), ("LEFT", left("left_seconds")))
    assert fill(columns, [], header=True) == ["SOURCE  LEFT"]
    assert fill(columns, [], header=False) == []


def test_a_value_that_is_missing_is_a_dash():
    columns = (("RULE", text("rule")), ("STRIKE", text("strike")))
    assert fill(columns, [{"strike": 0}, {"rule": ""}], header=False) == ["-  0", "-  -"]


def test_a_raw_line_has_as_many_values_as_there_are_columns_whatever_they_hold():
    columns = (("SOURCE", source()), ("WHO", text("who")), ("LEFT", left("left_seconds")))
    items = [{"source": "198.51.100.7/32", "who": "a\tb\n\x1b[2J\u202e", "left_seconds": 0}, {}]
    assert list(fill_raw(columns, items, header=True)) == [
        "SOURCE\tWHO\tLEFT", "198.51.100.7/32\ta\\tb\\n\\x1b[2J\\u202e\t0", "-\t-\t-",
    ]  # fmt: skip


def test_a_value_of_parts_is_a_line_for_each():
    value = {"link": {"state": "up", "ok": True}, "ports": [5060, 5061], "none": None, "x\t": "\x1b", "empty": []}
    assert list(flatten(value)) == [
        "link.state\tup", "link.ok\ttrue", "ports.0\t5060", "ports.1\t5061", "none\t-", "x\\t\t\\x1b", "empty\t-",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "short"),
    [
        ("198.51.100.7/32", "198.51.100.7"),
        ("198.51.100.0/24", "198.51.100.0/24"),
        ("2001:db8::7/128", "2001:db8::7"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
def test_a_single_host_goes_without_its_prefix_length(shown, short):
    assert short_source(shown) == short


@pytest.mark.parametrize(
    ("value", "shown"), [(2892, "48m12s"), (0, "0s"), (59.9, "59s"), (None, ""), ("soon", "soon"), (-1, "-1")]
)
def test_seconds_are_shown_as_a_duration(value, shown):
    assert span(value) == shown


@pytest.mark.parametrize(
    ("iso", "shown"),
    [
        ("2026-05-01T12:02:11Z", "2026-05-01 14:02:11"),
        ("2026-05-01T12:02:11.123+00:00", "2026-05-01 14:02:11"),
        ("2026-05-01T12:02:11", "2026-05-01 14:02:11"),
        ("yesterday", "yesterday"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ("", ""),
    ],
)
def test_times_are_shown_on_the_clock_of_this_machine(monkeypatch, iso, shown):
    monkeypatch.setenv("TZ", "XYZ-2")
    time.tzset()
    try:
        assert local_time(iso) == shown
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("iso", "shown"),
    [
        ("2026-05-01T12:02:11Z", "14:02:11"),
        ("2026-04-30T12:02:11Z", "2026-04-30 14:02"),
        ("yesterday", "yesterday"),
        ("", ""),
    ],
)
def test_a_time_of_today_goes_without_its_date(monkeypatch, iso, shown):
    monkeypatch.setenv("TZ", "XYZ-2")
    time.tzset()
    try:
        assert short_time(iso, "2026-05-01") == shown
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_list_is_shown_on_one_line():
    assert as_text(["10m", "1h", "\n"]) == r"10m 1h \n"
