"""Reading hostile streams takes time in proportion to their length: four times as long, about four times the time."""

from __future__ import annotations

import time

import pytest

from guard.wire.ami import AmiClient
from guard.wire.amievent import BlockReader, EventReader
from guard.wire.securitylog import SecurityLogReader
from tests.blocks import failure, log, own_login, row_of

SYSTEM = "SystemName: pbx\r\n"
HOSTILE = {
    "headers": lambda n: failure() + "\r\nA: b" * n,
    "headers of no event": lambda n: "Event: Foo" + "\r\nA: b" * n + "\r\nbroken",
    "headers of a reply": lambda n: "Response: Success" + "\r\nA: b" * n + "\r\nbroken",
    "headers without a space": lambda n: "Event: Foo" + "\r\nA:" * n + "\r\nbroken",
    "colons": lambda n: "Event: Foo\r\nA" + ":" * n + "\r\nbroken",
    "a name without end": lambda n: "Event: " + "F" * n,
    "one long name": lambda n: "Event: Foo\r\n" + "A" * n,
    "carriage returns": lambda n: failure("\r" * n) + "\r\nX: 1",
    "carriage returns of no event": lambda n: "Event: Foo\r\nA: " + "\r" * n + "\r\nbroken",
    "line feeds": lambda n: failure("\n" * n) + "\r\nX: 1",
    "AccountID": lambda n: failure("x\r\nAccountID: y" * n),
    "SessionID": lambda n: failure(SessionID="x\r\nSessionID: y" * n),
    "RemoteAddress": lambda n: failure(SessionID="x\r\nRemoteAddress: IPV4/UDP/8.8.8.8/5" * n),
    "SystemName": lambda n: failure(framing="SystemName: x\r\n" * n),
    "EventTV": lambda n: failure(framing="SystemName: x\r\nEventTV: y\r\n" * n),
    "digits": lambda n: failure().replace("/5060", "/" + "5" * n),
    "an address": lambda n: failure(RemoteAddress="IPV6/UDP/" + "2001:" * n + "/5060"),
    "ExpectedResponse": lambda n: "ExpectedResponse: " * n,
    "a long value": lambda n: failure("x" * n),
}


def cost(read, size):
    """Return the least of a few measured times; a busy machine makes a time longer, never shorter."""
    times = []
    for _ in range(3):
        started = time.process_time()
        read(size)
        times.append(time.process_time() - started)
    return min(times)


def assert_linear(read, size):
    """A quadratic reader takes 16 times as long, and 3 ms are for fresh memory: a page fault each 4 KiB."""
    assert cost(read, 4 * size) < 8 * cost(read, size) + 0.003


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("waiting", [False, True], ids=["judged", "waiting"])
def test_a_hostile_block(name, waiting):
    make = HOSTILE[name]

    def read(size):
        block = make(size)
        reader = EventReader("astguard")
        if not waiting:
            reader.read([own_login()])
        reader.read([block])

    assert_linear(read, 20_000)


@pytest.mark.parametrize("piece", [1, 1_000])
def test_a_long_block_in_small_pieces(piece):
    def read(size):
        reader = BlockReader()
        for _ in range(size // piece):
            reader.feed(b"x" * piece)

    assert_linear(read, 30_000 if piece == 1 else 20_000_000)


def test_many_small_blocks():
    assert_linear(lambda size: EventReader("astguard").read(BlockReader().feed(b"\r\n\r\n" * size)), 20_000)


def test_a_hostile_reply():
    def read(size):
        client = AmiClient("astguard", "secret", "token")
        client.receive(b"Asterisk Call Manager/11.0.0\r\n")
        client.receive(b"Response: x" + b"\r\nActionID: y" * size + b"\r\n\r\n")

    assert_linear(read, 5_000)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: log(row_of("ChallengeResponseFailed")) + ',A="b"' * n,
        lambda n: log(row_of("ChallengeResponseFailed")).replace("101", 'x",AccountID="y' * n),
        lambda n: '"' * n,
        lambda n: "[" * n,
    ],
)
def test_a_hostile_line_of_the_log(make):
    prefix = "[2026-11-22 13:36:17] SECURITY[4711] res_security_log.c: "

    def read(size):
        reader = SecurityLogReader()
        for _ in range(20):
            reader._read((prefix + make(size)).encode())

    assert_linear(read, 5_000)
