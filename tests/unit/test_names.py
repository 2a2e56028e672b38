"""Names on the allowlist, whose addresses change."""

from __future__ import annotations

import asyncio
import socket

import pytest

from guard.core.address import parse_host
from guard.sensors.names import RECORDS_LIMIT, Names, own_addresses, watch_own


def refresh(monkeypatch, names, *answers):
    """Refresh once per given table of answers; return what changed each time."""
    changes = []
    watched = Names(names, lambda name, found: changes.append((name, found)))

    async def run():
        for table in answers:

            async def getaddrinfo(name, port, table=table, **_):
                if isinstance(table.get(name), Exception):
                    raise table[name]
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 0)) for text in table.get(name, ())]

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
            await watched.refresh()

    asyncio.run(run())
    return watched, changes


def hosts(*texts):
    return frozenset(map(parse_host, texts))


def test_new_addresses_of_a_name_are_told_once(monkeypatch):
    watched, changes = refresh(
        monkeypatch,
        ["office.example"],
        {"office.example": ["192.0.2.1"]},
        {"office.example": ["192.0.2.1"]},
        {"office.example": ["192.0.2.2", "2001:db8::2"]},
    )
    assert changes == [
        ("office.example", hosts("192.0.2.1")),
        ("office.example", hosts("192.0.2.2", "2001:db8::2")),
    ]
    assert watched.known["office.example"] == hosts("192.0.2.2", "2001:db8::2")


def test_own_addresses_are_read_again_after_the_kernel_once_refused(monkeypatch, caplog):
    answers = [OSError("no buffer space"), OSError("no buffer space"), hosts("192.0.2.1"), asyncio.CancelledError()]
    told = []

    async def own():
        answer = answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    monkeypatch.setattr("guard.sensors.names.own_addresses", own)
    monkeypatch.setattr("guard.sensors.names.REFRESH", 0)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch_own(told.append))
    assert told == [hosts("192.0.2.1")]
    assert [record.getMessage() for record in caplog.records] == [
        "this host's own addresses cannot be read (no buffer space); the last ones stay allowed"
    ]


def test_the_last_good_answer_stays_when_the_resolver_fails(monkeypatch):
    watched, changes = refresh(
        monkeypatch,
        ["office.example", "other.example"],
        {"office.example": ["192.0.2.1"], "other.example": ["192.0.2.9"]},
        {"office.example": socket.gaierror(-3, "Temporary failure"), "other.example": []},
    )
    assert len(changes) == 2
    assert watched.known["office.example"] == hosts("192.0.2.1")
    assert watched.failing == {"office.example", "other.example"}


def test_a_name_that_never_had_an_address_protects_nobody_and_is_said_to(monkeypatch, caplog):
    no_answer = socket.gaierror(-3, "Temporary failure in name resolution")
    answers = {"sip.example": no_answer, "office.example": []}
    watched, changes = refresh(monkeypatch, ["sip.example", "office.example"], answers, answers)
    assert changes == []
    assert watched.unknown() == ["office.example", "sip.example"]
    assert caplog.messages == [
        "allow: sip.example has no address (Temporary failure in name resolution); it protects nobody until it has one",
        "allow: office.example has no address (an empty answer); it protects nobody until it has one",
    ]


def test_a_name_that_lost_its_address_is_no_unknown_one(monkeypatch, caplog):
    answers = [{"office.example": ["192.0.2.1"]}, {"office.example": []}, {"office.example": ["192.0.2.1"]}]
    watched, _ = refresh(monkeypatch, ["office.example"], *answers[:2])
    assert watched.unknown() == []
    assert caplog.messages == ["allow: office.example has no address (an empty answer); its last ones stay allowed"]
    watched, _ = refresh(monkeypatch, ["office.example"], answers[1], answers[2])
    assert watched.unknown() == []


def test_special_addresses_and_a_flood_of_records_open_no_door(monkeypatch):
    many = [f"192.0.2.{number}" for number in range(1, 60)]
    _, changes = refresh(monkeypatch, ["a.example"], {"a.example": ["127.0.0.1", "0.0.0.0", "::1", *many]})
    ((_, found),) = changes
    assert len(found) == RECORDS_LIMIT
    assert found <= hosts(*many)


def test_own_addresses_hold_no_loopback():
    found = asyncio.run(own_addresses())
    assert parse_host("127.0.0.1") not in found
    assert parse_host("::1") not in found
