"""Inputs made of others: cut, doubled, spliced, with numbers and tokens that parsers trip over. One seed, one input."""

from __future__ import annotations

from random import Random

TOKENS = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"\xff", b"\xc3", b"\x1b[2J", b": ", b'"', b"'", b",", b"{", b"[", b"]", b"}", b"&a", b"*a",
    b"Event: ", b"Response: Success", b"AccountID: x", b"RemoteAddress: IPV4/UDP/198.51.100.7/5060", b'SecurityEvent="',
    b"NOTICE[1] chan_sip.c: ", b"-1", b"0", b"9" * 40, b"1e999", b"NaN", b"null", b"\xe2\x80\xa8", b"::", b"/0", b"/33",
    b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\x14\0\0\0", b"#include", b"%2F", b"%", b"--", b"!!python/object:", b"<<: ",
]  # fmt: skip
LONGEST = 100_000


def mutate(seeds, number):
    """Make the input of a number."""
    chance = Random(number)
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 2, 4, 12))):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((1, 1, 4, 30, 400)))
        match chance.randrange(8):
            case 0:
                data[start:end] = b""
            case 1:
                data[start:start] = chance.choice(TOKENS)
            case 2 if start < len(data):
                data[start] ^= 1 << chance.randrange(8)
            case 3:
                data[start:start] = bytes(data[start:end]) * chance.choice((1, 2, 50))
            case 4:
                other = chance.choice(seeds)
                at = chance.randrange(len(other) + 1)
                data[start:end] = other[at : at + chance.choice((4, 60, 800))]
            case 5:
                data[start:end] = chance.randbytes(chance.choice((1, 4, 20)))
            case 6:
                del data[end:]
            case _:
                data[start:start] = chance.choice(TOKENS) * chance.choice((2, 100, 3_000))
        del data[LONGEST:]
    return bytes(data)
