"""This host's own addresses: which they are, and what happens while the kernel does not say."""

from __future__ import annotations

import asyncio

import pytest

from guard.core.address import parse_host
from guard.sensors.ownaddresses import own_addresses, watch_own


def test_own_addresses_hold_no_loopback():
    found = asyncio.run(own_addresses())
    assert parse_host("127.0.0.1") not in found
    assert parse_host("::1") not in found


def test_own_addresses_are_read_again_after_the_kernel_once_refused(monkeypatch, caplog):
    ours = frozenset({parse_host("192.0.2.1")})
    answers = [OSError("no buffer space"), OSError("no buffer space"), ours, asyncio.CancelledError()]
    told = []

    async def own():
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr("guard.sensors.ownaddresses.own_addresses", own)
    monkeypatch.setattr("guard.sensors.ownaddresses.REFRESH", 0)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch_own(told.append))
    assert told == [ours]
    assert [record.getMessage() for record in caplog.records] == [
        "this host's own addresses cannot be read (no buffer space); the last ones stay allowed"
    ]
