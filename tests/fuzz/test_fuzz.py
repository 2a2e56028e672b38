"""Every parser lets nothing out but its own errors, holds its limits, and takes time in proportion to what it reads.

The short form of script/fuzz: what the corpus has, and some hundreds of drawn inputs for each parser, the same each time.
"""

from __future__ import annotations

import time

import pytest

from tests.conftest import FULL
from tests.fuzz.mutate import TOKENS, mutate
from tests.fuzz.targets import BANNER, TARGETS, run, seeds

INPUTS = 20_000 if FULL else 300
SIZE = 30_000 if FULL else 10_000
"""Bytes of an endless input; four times as much is its longer form."""
ENDLESS = [b"x", b"\r\n", b"A: b\r\n", b"[", b"{", b"a: ", b"- ", b"a:\n ", b'"', b"\\", b"1", b".", b"1h", b"\xff", b'#include "a"\n', b";--\n", b"[a](a)\n", b"\x04\0\x01\0", b"\x14\0\0\0\x02\0\0\0" + b"\0" * 12]  # fmt: skip

HEADS = {"ami": b"\x03" + BANNER, "messages-log": b"\x03", "security-log": b"\x03"}
"""All of it in one piece."""


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_read(name):
    for data in seeds(name):
        run(name, data)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_its_own_errors_comes_out(name):
    start = seeds(name)
    for number in range(INPUTS if name != "state" else INPUTS // 3):
        data = mutate(start, number)
        try:
            run(name, data)
        except Exception as error:
            raise AssertionError(f"{name}, input {number}, {data[:200]!r}") from error


def seconds(name, data):
    """Return the least of two measured times; a busy machine makes a time longer, never shorter."""
    times = []
    for _ in range(2):
        started = time.process_time()
        run(name, data)
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.parametrize("name", TARGETS)
def test_time_grows_with_the_length_and_no_faster(name):
    """Four times the length takes four times as long, 16 times if it grows with the square; 20 ms are for noise."""
    for token in [*ENDLESS, *TOKENS]:
        head = HEADS.get(name, b"")
        short = token * (SIZE // len(token))
        took, longer = seconds(name, head + short), seconds(name, head + short * 4)
        assert longer < 9 * took + 0.02, f"{token!r}: {took:.4f} s, {longer:.4f} s for four times as much"
