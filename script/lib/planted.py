"""Plants each bug of the lists in a copy of the tree, and tells what catches it: a seed, or a test."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TREE = Path(__file__).parents[2]
sys.path.insert(0, str(TREE))

from tests.property.test_planted_bugs import PLANTED  # noqa: E402
from tests.sim.planted import SHELL  # noqa: E402

SEEDS = 30


def plant(folder: Path, file: str, right: str, wrong: str) -> None:
    """Copy the tree and change one line in the copy; ValueError if the line has moved."""
    for name in ("guard", "tests", "rules"):
        shutil.copytree(TREE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "asterisk", "deb"))
    # The folder guard/asterisk bears the name of a group of tests that is left out.
    shutil.copytree(TREE / "guard/asterisk", folder / "guard/asterisk", dirs_exist_ok=True)
    shutil.copy(TREE / "pyproject.toml", folder)
    source = folder / "guard" / file
    text = source.read_text()
    if text.count(right) != 1:
        raise ValueError("the line to change has moved: plant it anew")
    source.write_text(text.replace(right, wrong).replace("import bisect_right", "import bisect_left, bisect_right"))


def catch(bug: tuple[str, str, str, str, str], seeds: int) -> tuple[str, float]:
    """Say what catches a bug; nothing if nobody does."""
    _, file, right, wrong, tests = bug
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="astguard-planted-") as scratch:
        folder = Path(scratch)
        try:
            plant(folder, file, right, wrong)
        except ValueError as error:
            return f"not planted: {error}", 0.0
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        found = by_seed(folder, environment, seeds) or by_test(folder, environment, tests)
    return found, time.monotonic() - began


def by_seed(folder: Path, environment: dict[str, str], seeds: int) -> str:
    """Play seeds until one fails."""
    command = [sys.executable, "-m", "tests.sim", "--until-failure", "--jobs", "1", "--seeds", str(seeds)]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
    except subprocess.TimeoutExpired:
        return "sim: a seed does not end"
    failure = re.search(r"^seed \d+, step \d+ .*", done.stdout, re.MULTILINE)
    if failure is None:
        return "" if done.returncode == 0 else f"sim: {(done.stderr.strip().splitlines() or ['?'])[-1][:150]}"
    lines = done.stdout[failure.start() :].split("\nsee it again")[0].splitlines()
    return f"sim: {lines[0][:130]}" + (f" ... {lines[-1][:90]}" if len(lines) > 1 else "")


def by_test(folder: Path, environment: dict[str, str], tests: str) -> str:
    """Run the tests named beside the bug until one fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
        )
    except subprocess.TimeoutExpired:
        return "a test that does not end"
    failed = re.search(r"^(?:FAILED|ERROR) (\S+(?: \S+\])?)", done.stdout, re.MULTILINE)
    return failed[1] if failed else ""


def main() -> int:
    """Read the command line, plant, and tell."""
    parser = argparse.ArgumentParser(
        prog="script/planted", description="Show that planted bugs are caught, and by what."
    )
    parser.add_argument("word", nargs="*", help="only the bugs in whose name or file one of these words stands")
    parser.add_argument("--all", action="store_true", help="the older list too, of the core above all")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds of the simulation that each bug has to outlive")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="bugs side by side")
    asked = parser.parse_args()
    bugs = [*SHELL, *(PLANTED if asked.all else [])]
    bugs = [bug for bug in bugs if not asked.word or any(word in f"{bug[0]} {bug[1]}" for word in asked.word)]
    if found := by_seed(TREE, dict(os.environ), asked.seeds):
        print(f"nothing is planted: the tree itself fails, {found}")
        return 1
    uncaught, by_sim = [], 0
    with ThreadPoolExecutor(asked.jobs) as pool:
        for bug, (found, seconds) in zip(bugs, pool.map(lambda bug: catch(bug, asked.seeds), bugs), strict=True):
            missed = not found or found.startswith("not planted")
            by_sim += found.startswith("sim:")
            uncaught += [bug[0]] if missed else []
            print(
                f"{'MISSED' if missed else 'caught'}  {bug[1]:<24} {bug[0]}\n        {found} ({seconds:.0f} s)",
                flush=True,
            )
    modules = len({bug[1] for bug in bugs})
    print(f"{len(bugs)} bugs in {modules} modules: {by_sim} caught by the simulation, "
          f"{len(bugs) - by_sim - len(uncaught)} by other tests, {len(uncaught)} missed")  # fmt: skip
    return 1 if uncaught else 0


if __name__ == "__main__":
    sys.exit(main())
