"""Run the groups of tests one by one, each in its own pytest with its own time, and end with one table."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

TREE = Path(__file__).parents[2]
CACHE = Path(os.environ["ASTGUARD_CACHE"])
STATIC = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "types": ["mypy"],
}


@dataclass(frozen=True)
class Group:
    """One folder under tests/: with which libraries it runs, what it needs, and when it counts as hung."""

    name: str
    libraries: tuple[str, ...] = ("newest", "floor")
    needs_root: bool = False
    minutes: int = 5
    asterisks: tuple[str, ...] = ("",)  # the versions it runs against, side by side
    short_with_floor: tuple[str, ...] = ("",)  # the files that the short form runs with the oldest libraries


GROUPS = (
    Group("static", libraries=("newest",)),
    Group("unit"),
    Group("arch", libraries=("newest",)),
    Group("property", minutes=10),
    Group("replay"),
    Group("sim", minutes=10),
    Group("fuzz", minutes=10),
    Group("daemon", minutes=10),
    Group("kernel", needs_root=True, minutes=10),
    Group(
        "asterisk",
        needs_root=True,
        minutes=20,
        asterisks=("22", "16"),
        short_with_floor=("test_lab.py", "test_stories.py"),
    ),
    Group("deb", libraries=("newest",), needs_root=True, minutes=20),
)


@dataclass
class Row:
    """A line of the table: one group with one set of libraries."""

    group: Group
    libraries: str
    asterisk: str = ""
    count: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)  # of what was skipped
    note: str = ""  # instead of counts, or why they are not the whole truth
    wanted_but_not_run: bool = False

    @property
    def name(self) -> str:
        """Name the group, and the version of Asterisk it ran against."""
        return f"{self.group.name} {self.asterisk}".strip()

    @property
    def failed(self) -> bool:
        """Tell whether this row alone makes the whole run a failure."""
        return self.count["failed"] > 0 or self.wanted_but_not_run

    def fail(self, why: str) -> None:
        """Count something that went wrong outside any test."""
        self.count["failed"] += 1
        self.note = why

    def cannot_run(self, why: str) -> None:
        """Note that no test ran though somebody wanted them."""
        self.wanted_but_not_run = True
        self.note = why


def main() -> int:
    """Run what was asked for, show the table, and tell 0 only when everything asked for ran and passed."""
    parser = argparse.ArgumentParser(prog="script/test", description="Run the tests of astguard.")
    parser.add_argument("--full", action="store_true", help="run the long forms too")
    parser.add_argument("group", nargs="*", metavar="GROUP", help="run only these: " + " ".join(g.name for g in GROUPS))
    wanted = parser.parse_args()
    unknown = set(wanted.group) - {group.name for group in GROUPS}
    if unknown:
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    os.environ.setdefault("ASTGUARD_REQUIRE", "kernel,asterisk,daemon,deb")  # a skip in these is a failure
    if wanted.full:
        os.environ["ASTGUARD_FULL"] = "1"

    rows = []
    for libraries in ("newest", "floor"):
        for group in GROUPS:
            if libraries not in group.libraries:
                continue
            made = [Row(group, libraries, version) for version in group.asterisks]
            rows += made
            if wanted.group and group.name not in wanted.group:
                for row in made:
                    row.note = "not asked for"
            elif group.needs_root and os.geteuid() != 0:
                for row in made:
                    row.cannot_run("needs root")
            else:
                with ThreadPoolExecutor() as side_by_side:
                    list(side_by_side.map(lambda row: run(row, full=wanted.full), made))
    return show(rows, full=wanted.full)


def run(row: Row, *, full: bool) -> None:
    """Run one group and note its time."""
    print(f"\n== {row.name}, {row.libraries} libraries", flush=True)
    started = time.monotonic()
    if row.group.name == "static":
        run_static(row)
    else:
        run_pytest(row, full=full)
    row.seconds = time.monotonic() - started
    print(f"== {row.name}: {row.seconds:.1f} s", flush=True)


def run_static(row: Row) -> None:
    """Run the linter, the formatter's check and the type checker."""
    for name, (tool, *arguments) in STATIC.items():
        print(f"{name}:", flush=True)
        done = subprocess.run([CACHE / "venv-newest/bin" / tool, *arguments], cwd=TREE, check=False)
        row.count["failed" if done.returncode else "passed"] += 1


def run_pytest(row: Row, *, full: bool) -> None:
    """Run one folder in a pytest of its own; what it counts comes from its JUnit report."""
    python = CACHE / f"venv-{row.libraries}/bin/python"
    folder = TREE / "tests" / row.group.name
    if not python.exists():
        row.cannot_run("its Python environment could not be made")
        return
    if not any(folder.glob("**/test_*.py")):
        row.note = "empty"
        return
    with tempfile.TemporaryDirectory(prefix="astguard-") as scratch:
        report = Path(scratch) / "report.xml"
        options = ["-q", "--no-header", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=240"]
        files = [folder / name for name in row.group.short_with_floor] if row.libraries == "floor" else [folder]
        command = [python, "-m", "pytest", *([folder] if full else files), *options, f"--junitxml={report}"]
        said = Path(scratch) / "said" if row.asterisk else None
        code = call(command, said, row.asterisk, limit=row.group.minutes * 60 * (6 if full else 1))
        if said:
            print(said.read_text(errors="replace"), flush=True)
        if report.exists():
            read(report, row)
        if code is None:
            row.fail(f"cut off after {row.group.minutes} minutes")
        elif code == 5:  # pytest's word for no tests collected
            row.note = "empty"
        elif code and not row.count["failed"]:
            row.fail(f"pytest ended with exit code {code}")


def call(command: list[str | Path], said: Path | None, asterisk: str, limit: float) -> int | None:
    """Run a command; one that hangs is interrupted, so that it can tidy up, and None is told.

    What those say who run side by side is kept in a file each.
    """
    environment = {**os.environ, **({"ASTGUARD_ASTERISK": asterisk} if asterisk else {})}
    with (
        said.open("wb") if said else contextlib.nullcontext() as output,
        subprocess.Popen(command, cwd=TREE, env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
            return None


def read(report: Path, row: Row) -> None:
    """Count the tests of a JUnit report, and keep the reasons of those skipped."""
    for case in ET.parse(report).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            row.count["failed"] += 1
        elif skipped is not None:
            row.count["skipped"] += 1
            row.reasons[skipped.get("message", "no reason given")] += 1
        else:
            row.count["passed"] += 1


def show(rows: list[Row], *, full: bool) -> int:
    """Print the table, what did not run and why, and the sum as the last line."""
    print(f"\n{'group':<11} {'libraries':<10} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    for row in rows:
        numbers = [row.count[what] for what in ("passed", "failed", "skipped")]
        line = "{:>7} {:>7} {:>8}".format(*numbers) if any(numbers) else f"{'-':>7} {'-':>7} {'-':>8}"
        print(f"{row.name:<11} {row.libraries:<10} {line} {row.seconds:>8.1f}  {row.note}".rstrip())
    print("\nDid not run:", *sorted(left_out(rows, full=full)) or ["nothing is left out"], sep="\n  ", end="\n\n")
    if any(row.note == "needs root" for row in rows):
        print("Some groups make network namespaces, and only root may: run script/test as root.")
    failed = [f"{row.name} ({row.libraries})" for row in rows if row.failed]
    print(f"Failed: {', '.join(failed)}" if failed else "Nothing failed.")
    total = sum((row.count for row in rows), Counter())
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if failed else 0


def left_out(rows: list[Row], *, full: bool) -> set[str]:
    """Say what did not run, and why: whole groups by reason, skipped tests, and the long forms."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if not row.count.total():
            reasons.setdefault(row.note, []).append(f"{row.name} ({row.libraries})")
    said = {f"{reason}: {', '.join(names)}" for reason, names in reasons.items()}
    for row in rows:
        where = f"{row.name} ({row.libraries})"
        said |= {f"skipped in {where}, {n} test{'s' * (n > 1)}: {why}" for why, n in row.reasons.items()}
    return said if full else said | {"the long forms: script/test --full"}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("script/test: interrupted")
