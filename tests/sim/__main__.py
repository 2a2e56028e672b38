"""script/sim: plays seeds, and one of them again, with everything that happens in it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.sim.world import STEPS_OF_A_SEED, Failure, play


def one(seed, steps):
    """Play a seed; return what it has seen, or the text of its failure."""
    try:
        return seed, play(seed, steps=steps).seen, None
    except Failure as failure:
        return seed, Counter(), str(failure)


def again(seed, last, steps):
    """Play one seed and show what happens, or its last step alone."""
    lines = []
    wanted = None if last is None else f" step {last} "
    try:
        play(seed, steps=steps, echo=lines.append)
        said = f"seed {seed}: every law holds, {steps} steps"
    except Failure as failure:
        said = str(failure)
    if wanted is not None:
        first = next((number for number, line in enumerate(lines) if wanted in line), len(lines) - 40)
        end = next((number for number, line in enumerate(lines) if f" step {last + 1} " in line), len(lines))
        lines = lines[max(0, first) : end]
    print(*lines, said, sep="\n")
    return 0 if "every law" in said else 1


def until_failure(first, count, steps):
    """Play seeds one by one until one fails."""
    for seed in range(first, first + count):
        _, _, failure = one(seed, steps)
        if failure:
            print(failure)
            return 1
    print(f"{count} seeds from {first}, no failure")
    return 0


def many(first, count, jobs, steps):
    """Play seeds side by side; tell how it goes once in a while, and in the end what was seen."""
    began = told = time.monotonic()
    seen, failures = Counter(), []
    with ProcessPoolExecutor(jobs) as pool:
        for done, (_, cases, failure) in enumerate(
            pool.map(one, range(first, first + count), [steps] * count, chunksize=5), 1
        ):
            seen.update(cases)
            if failure:
                failures.append(failure)
                print(failure, flush=True)
            if time.monotonic() - told > 20:
                told = time.monotonic()
                print(f"{done} of {count} seeds, {len(failures)} failures, {told - began:.0f} s", flush=True)
    for case, number in sorted(seen.items()):
        print(f"{number:>9}  {case}")
    print(
        f"{count} seeds from {first}, {count * steps} steps, {len(failures)} failures, {time.monotonic() - began:.0f} s"
    )
    return 1 if failures else 0


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="script/sim", description="Play the whole guard under drawn faults.")
    parser.add_argument("seed", nargs="?", type=int, help="play this seed, and show what happens")
    parser.add_argument("--step", type=int, help="of that, show this step alone")
    parser.add_argument("--seeds", type=int, default=30, help="play so many (10000: the nightly run)")
    parser.add_argument("--first", type=int, default=1, help="the first of them")
    parser.add_argument("--steps", type=int, default=STEPS_OF_A_SEED, help="steps of a seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes side by side")
    parser.add_argument("--until-failure", action="store_true", help="stop at the first failure")
    asked = parser.parse_args()
    if asked.until_failure:
        return until_failure(asked.first, asked.seeds, asked.steps)
    if asked.seed is not None:
        return again(asked.seed, asked.step, asked.steps)
    return many(asked.first, asked.seeds, asked.jobs, asked.steps)


if __name__ == "__main__":
    sys.exit(main())
