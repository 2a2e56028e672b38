"""The times of log lines: every form, New Year, the hour that comes twice, and a zone learnt from AMI."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.units import HOUR, MILLISECOND, MINUTE, SECOND, Wall
from guard.wire.logtime import LESSONS, LogClock

BERLIN = ZoneInfo("Europe/Berlin")


def wall(*when, zone=UTC, milli=0):
    return Wall(int(datetime(*when, tzinfo=zone).timestamp()) * SECOND + milli * MILLISECOND)


NOON = wall(2026, 11, 22, 13, 41, 14)


@pytest.mark.parametrize(
    ("text", "milli"),
    [
        (b"2026-11-22 13:41:14.347", 347), (b"2026-11-22 13:41:14", 999), (b"2026-11-22 13:41:14.3", 399),
        (b"2026-11-22 13:41:14.34", 349), (b"2026-11-22T13:41:14.347+0000", 347), (b"2026-11-22 14:41:14+01:00", 999),
        (b"2026-11-22T13:41:14Z", 999), (b"2026-11-22 08:41:14.347 -0500", 347), (b"2026/11/22 13:41:14", 999),
        (b"Nov 22 13:41:14", 999), (b"Nov 22 13:41:14.347", 347), (b"Sun Nov 22 13:41:14 2026", 999),
    ],
)  # fmt: skip
def test_each_form_is_read(text, milli):
    clock = LogClock(UTC, written=wall(2026, 11, 30))
    assert clock.read(text) == NOON + milli * MILLISECOND


def test_a_fraction_finer_than_a_millisecond_is_kept():
    assert LogClock(UTC).read(b"2026-11-22T13:41:14.347261Z") == NOON + 347_261_000


@pytest.mark.parametrize(
    "text", [b"", b"yesterday", b"2026-13-22 13:41:14", b"2026-02-30 13:41:14", b"2026-11-22 25:41:14", b"Nuv 22 1:2:3",
             b"2026-11-22 13:41:14.0000000000", b"Nov 22 13:41:14"],
)  # fmt: skip
def test_what_is_no_time_is_none(text):
    assert LogClock(UTC).read(text) is None  # the last one has no year, and nothing tells it


def test_a_form_that_is_not_known_is_now_while_the_log_is_being_written():
    assert LogClock(UTC, now=NOON).read(b"22. Nov, a quarter to two") == NOON


@pytest.mark.parametrize(
    ("text", "written", "year"),
    [
        (b"Dec 31 23:59:59", (2027, 1, 1, 0, 0, 1), 2026), (b"Jan  1 00:00:01", (2027, 1, 1, 0, 0, 1), 2027),
        (b"Jan  1 00:00:01", (2026, 12, 31, 23, 59, 59), 2027), (b"Mar  1 12:00:00", (2026, 12, 31), 2026),
        (b"Feb 29 12:00:00", (2027, 3, 1), 2024),
    ],
)  # fmt: skip
def test_a_time_without_a_year_is_the_latest_that_is_not_to_come(text, written, year):
    read = LogClock(UTC, written=wall(*written)).read(text)
    assert read is not None
    assert datetime.fromtimestamp(read // SECOND, UTC).year == year


def test_a_log_goes_on_over_new_year():
    clock = LogClock(UTC)
    times = []
    for text, now in ((b"Dec 31 23:59:59", wall(2026, 12, 31, 23, 59, 59)), (b"Jan  1 00:00:00", wall(2027, 1, 1))):
        clock.now = now
        times.append(clock.read(text))
    assert times[1] - times[0] == SECOND


def test_local_times_are_those_of_the_zone_in_summer_and_winter():
    clock = LogClock(BERLIN)
    assert clock.read(b"2026-07-01 12:00:00.000") == wall(2026, 7, 1, 10)
    assert clock.read(b"2026-12-01 12:00:00.000") == wall(2026, 12, 1, 11)


def test_the_hour_that_comes_twice_goes_on_from_the_line_before():
    """Clocks in Berlin go from 03:00 back to 02:00 on 25 October 2026, at 01:00 UTC."""
    clock = LogClock(BERLIN)
    lines = [b"01:59:59", b"02:30:00", b"02:59:59", b"02:00:00", b"02:30:00", b"03:00:00"]
    found = [clock.read(b"2026-10-25 " + text + b".000") for text in lines]
    start = wall(2026, 10, 25)
    assert found == sorted(found)
    assert [(at - start) // MINUTE for at in found] == [-1, 30, 59, 60, 90, 120]


def test_the_hour_that_comes_twice_is_the_one_of_now():
    clock = LogClock(BERLIN, now=wall(2026, 10, 25, 1, 30))
    assert clock.read(b"2026-10-25 02:30:00.000") == wall(2026, 10, 25, 1, 30)


def test_lines_a_little_out_of_order_stay_where_they_are():
    clock = LogClock(BERLIN)
    first, second = clock.read(b"2026-10-25 02:30:01.000"), clock.read(b"2026-10-25 02:29:59.500")
    assert 0 < first - second < 2 * SECOND


def learnt(clock, text, event, times=LESSONS):
    for _ in range(times):
        clock.learn(clock.read(text), event)
    return clock.read(text)


@pytest.mark.parametrize("minutes", [-5 * 60, 0, 5 * 60 + 30, 13 * 60 + 45])
def test_a_zone_is_learnt_from_lines_that_ami_saw_too(minutes):
    clock = LogClock(BERLIN)
    text = (datetime(2026, 11, 22, 13, 41, 14, tzinfo=UTC) + timedelta(minutes=minutes)).strftime("%F %T").encode()
    assert learnt(clock, text, NOON + 997 * MILLISECOND) == NOON + 999 * MILLISECOND
    assert clock.zone == timezone(timedelta(minutes=minutes))


def test_a_zone_that_is_right_stays_with_its_summer_time():
    clock = LogClock(BERLIN)
    learnt(clock, b"2026-11-22 14:41:14.000", NOON)
    assert clock.zone is BERLIN


def test_one_chance_teaches_nothing():
    clock = LogClock(UTC)
    learnt(clock, b"2026-11-22 14:41:14.000", NOON, LESSONS - 1)
    learnt(clock, b"2026-11-22 13:41:14.000", NOON, 1)
    learnt(clock, b"2026-11-22 14:41:14.000", NOON, 1)
    assert clock.zone is UTC


@pytest.mark.parametrize("apart", [7 * MINUTE, 20 * HOUR, HOUR + 6 * SECOND])
def test_what_no_zone_explains_teaches_nothing(apart):
    clock = LogClock(UTC)
    learnt(clock, b"2026-11-22 13:41:14.000", Wall(NOON - apart))
    assert clock.zone is UTC


def test_a_log_that_names_its_zone_needs_no_lesson():
    clock = LogClock(UTC)
    learnt(clock, b"2026-11-22T13:41:14.000Z", Wall(NOON - HOUR))
    assert (clock.zone, clock.local) == (UTC, False)


@given(st.binary(max_size=40) | st.from_regex(rb"[A-Z][a-z]{2} [0-9 ]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}", fullmatch=True))
def test_no_text_is_an_exception(text):
    LogClock(BERLIN, written=NOON).read(text)


@given(st.integers(631_152_000, 2_840_140_800), st.sampled_from([UTC, BERLIN]))
def test_what_is_written_is_read(second, zone):
    at, local = second * SECOND, datetime.fromtimestamp(second, zone)
    clock = LogClock(zone, now=Wall(at))
    assert clock.read(local.strftime("%Y-%m-%d %H:%M:%S.000").encode()) == at
    assert clock.read(local.strftime("%b %e %H:%M:%S.000").encode()) == at
