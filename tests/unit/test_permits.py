"""Who is allowed, and on whose word."""

from __future__ import annotations

import pytest

from guard.core.address import parse_source
from guard.daemon.permits import COMMAND, OWN, Permits
from guard.errors import ControlError, NotFound

HOST = parse_source("192.0.2.7")
OTHER = parse_source("192.0.2.8")


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
    permits.add(HOST, COMMAND)
    with pytest.raises(ControlError, match=r"stays allowed by /etc/astguard/astguard.yaml:7:5"):
        permits.remove(HOST)
    assert permits.origin(HOST) == "/etc/astguard/astguard.yaml:7:5"
