"""The wall clock jumps while the guard runs, as when a PBX without a battery finds its time server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.asterisk.lab import assert_banned, assert_free

FEW = 4
GUESSES = 2000


@pytest.fixture
def clock(tmp_path):
    """Give the environment of a guard whose clock this test sets, and what sets it; Asterisk's own stays right."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    assert library, "no libfaketime; script/test installs it"
    stamp = tmp_path / "clock"
    stamp.write_text("+0\n")
    environment = {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1",
    }  # fmt: skip
    return environment, lambda offset: stamp.write_text(f"{offset}\n")


@pytest.mark.parametrize("step", ["+3h", "-3h"])
def test_the_clock_steps_in_the_middle_of_an_attack(lab, clock, step):
    """Only the guard's: what Asterisk stamps seems hours old, or of the future, which is harder than a step of both."""
    environment, set_clock = clock
    with lab.astguard(environment=environment) as guard:
        assert lab.attacker.guess("101", FEW) == FEW
        set_clock(step)
        assert lab.attacker.guess("101", GUESSES) < GUESSES
        ban = assert_banned(guard, lab.attacker, by="guessing")
        assert 500 < ban["left_seconds"] <= 600
        assert_free(guard, lab.phone)


@pytest.mark.parametrize("step", ["+3h", "-3h"])
def test_the_clock_steps_while_somebody_is_banned(lab, clock, step):
    """The ban lasts as long as it was to last, in the list and in the kernel."""
    environment, set_clock = clock
    with lab.astguard(environment=environment) as guard:
        lab.attacker.guess("101", GUESSES)
        set_clock(step)
        lab.stranger(12).guess("101", GUESSES)
        assert_banned(guard, lab.stranger(12))
        assert 500 < assert_banned(guard, lab.attacker)["left_seconds"] <= 600
