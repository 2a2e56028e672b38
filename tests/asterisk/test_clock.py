"""The wall clock jumps while the guard runs, as when a PBX without a battery finds its time server."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from tests.asterisk.lab import assert_banned, assert_free

FEW = 4
GUESSES = 2000


@pytest.fixture
def clock(lab):
    """Give what sets the clock, and who goes by it: the environment of the guard, and that of Asterisk in its own tree."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)  # both have threads
    assert library, "no libfaketime; script/test installs it"
    shutil.copy(library, lab.folder)
    stamp = lab.folder / "clock"
    stamp.write_text("+0\n")

    def going_by(folder: Path | str) -> dict[str, str]:
        return {
            "LD_PRELOAD": f"{folder}/{library.name}", "FAKETIME_TIMESTAMP_FILE": f"{folder}/{stamp.name}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1",
        }  # fmt: skip

    yield lambda offset: stamp.write_text(f"{offset}\n"), going_by(lab.folder), going_by("/lab")
    stamp.unlink()


@contextlib.contextmanager
def stepping(lab, clock, whose):
    """Run astguard, and Asterisk too, by a clock that the test sets; `whose` clock it is that steps."""
    set_clock, guards, asterisks = clock
    with contextlib.ExitStack() as stack:
        if "asterisk" in whose:
            words = [f"{name}={value}" for name, value in asterisks.items()]
            stack.enter_context(lab.asterisk.with_environment(*words))
        guard = stack.enter_context(lab.astguard(environment=guards if "guard" in whose else None))
        yield guard, set_clock


# Debian 12's libfaketime wants a newer C library than that of the tree of Asterisk 16.
WHOSE = pytest.mark.parametrize(
    "whose",
    [
        "guard",  # what Asterisk stamps seems hours old, or of the future
        pytest.param("asterisk", marks=[pytest.mark.only("22"), pytest.mark.long]),  # the same, from the other side
        pytest.param("guard and asterisk", marks=pytest.mark.only("22")),  # the whole machine's clock
    ],
)
STEP = pytest.mark.parametrize("step", ["+3h", "-3h"])


@WHOSE
@STEP
def test_the_clock_steps_in_the_middle_of_an_attack(lab, clock, step, whose):
    with stepping(lab, clock, whose) as (guard, set_clock):
        assert lab.attacker.guess("101", FEW) == FEW
        set_clock(step)
        assert lab.attacker.guess("101", GUESSES) < GUESSES
        ban = assert_banned(guard, lab.attacker, by="guessing")
        assert 500 < ban["left_seconds"] <= 600
        assert_free(guard, lab.phone)


@WHOSE
@STEP
def test_the_clock_steps_while_somebody_is_banned(lab, clock, step, whose):
    """The ban lasts as long as it was to last, in the list and in the kernel."""
    with stepping(lab, clock, whose) as (guard, set_clock):
        lab.attacker.guess("101", GUESSES)
        set_clock(step)
        lab.stranger(12).guess("101", GUESSES)
        assert_banned(guard, lab.stranger(12))
        assert 500 < assert_banned(guard, lab.attacker)["left_seconds"] <= 600
