"""Who is allowed, and on whose word."""

from __future__ import annotations

import pytest

from guard.core.address import parse_source
from guard.core.units import Instant
from guard.daemon import permits as module
from guard.daemon.permits import COMMAND, OWN, Permits
from guard.errors import ControlError, NotFound

HOST, OTHER, THIRD, FOURTH = (parse_source(f"192.0.2.{last}") for last in (7, 8, 9, 10))


def test_a_source_is_allowed_as_long_as_one_origin_is_left():
    permits = Permits()
    assert permits.add(HOST, OWN)
    assert not permits.add(HOST, COMMAND)
    assert permits.origin(HOST) == "command, own address"
    assert permits.replace(OWN, []) == (set(), set())
    assert permits.origin(HOST) == "command"
    permits.remove(HOST)
    assert list(permits) == []


def test_an_origin_may_change_its_mind():
    permits = Permits()
    assert permits.replace("name", [HOST]) == ({HOST}, set())
    assert permits.replace("name", [HOST, OTHER]) == ({OTHER}, set())
    assert permits.replace("name", [OTHER]) == (set(), {HOST})
    assert [source for source, _ in permits] == [OTHER]


def test_what_nobody_allowed_is_not_found():
    with pytest.raises(NotFound, match=r"192\.0\.2\.7 is not on the allowlist"):
        Permits().remove(HOST)


def test_what_a_file_allows_is_named_with_file_and_line_and_stays():
    permits = Permits()
    permits.add(HOST, "/etc/astguard/astguard.yaml:7:5")
    permits.allow(HOST, Instant(5))
    for _ in range(2):
        with pytest.raises(ControlError, match=r"7 stays allowed by /etc/astguard/astguard.yaml:7:5; .*change there"):
            permits.remove(HOST)
        assert permits.origin(HOST) == "/etc/astguard/astguard.yaml:7:5"
        assert permits.deadline is None


def test_what_a_command_allows_for_a_time_ends_on_time():
    permits = Permits()
    assert permits.allow(HOST, Instant(10))
    assert permits.allow(OTHER, None)
    assert (permits.until(HOST), permits.until(OTHER), permits.deadline) == (10, None, 10)
    assert permits.expire(Instant(9)) == (set(), set())
    assert permits.expire(Instant(10)) == ({HOST}, {HOST})
    assert list(permits) == [(OTHER, COMMAND)]
    assert permits.deadline is None


def test_the_last_command_says_how_long():
    permits = Permits()
    for until in (Instant(10), Instant(5), None):
        permits.allow(HOST, until)
        assert permits.until(HOST) == permits.deadline == until
    assert permits.expire(Instant(99)) == (set(), set())


def test_who_is_allowed_by_a_file_too_does_not_end_with_the_command():
    permits = Permits()
    permits.add(HOST, "astguard.yaml:7:5")
    assert not permits.allow(HOST, Instant(10))
    assert permits.until(HOST) is None
    assert permits.expire(Instant(10)) == ({HOST}, set())
    assert permits.origin(HOST) == "astguard.yaml:7:5"


def test_another_configuration_takes_the_place_of_the_old_one_and_of_nothing_else():
    permits = Permits()
    permits.configure([(HOST, "a.yaml:1:1"), (OTHER, "a.yaml:2:1")])
    permits.allow(OTHER, Instant(10))
    permits.replace(OWN, [THIRD])
    assert permits.configure([(HOST, "a.yaml:9:1"), (FOURTH, "a.yaml:3:1 (sip.example)")]) == ({FOURTH}, set())
    assert list(permits) == [
        (HOST, "a.yaml:9:1"), (OTHER, COMMAND), (THIRD, OWN), (FOURTH, "a.yaml:3:1 (sip.example)"),
    ]  # fmt: skip
    assert permits.configure([]) == (set(), {HOST, FOURTH})
    assert permits.until(OTHER) == 10


def test_commands_may_allow_many_but_not_any_number(monkeypatch):
    monkeypatch.setattr(module, "COMMANDS_LIMIT", 2)
    permits = Permits()
    for source in (HOST, OTHER, HOST):
        permits.allow(source, None)
    with pytest.raises(ControlError, match="2 sources are allowed by command, which is all there is room for; write"):
        permits.allow(THIRD, None)
    permits.remove(HOST)
    assert permits.allow(THIRD, None)
