"""Measure and print: `script/bench NAME ... [--quick] [--json FILE] [--write PAGE]`, or `all`.

Each bench is a module whose measure() gives figures; what it measures and how is told in its first lines. Nothing here
judges but the targets: a `must` that is missed is said so, and only `--strict` makes it an error.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench import machine, show
from bench.figure import Figure, Line, figure, line
from bench.pictures import draw_all
from tests.netns import reason_not_to_run, sweep

NAMES = (
    "throughput", "stages", "headline", "latency", "bans", "restore", "heal", "memory", "cpu", "cli", "start", "packet",
    "innocent", "log", "growth",
)  # fmt: skip
PICTURES = Path(__file__).parents[1] / "docs/pictures"


def main():
    """Read the arguments, measure, and write what was asked for."""
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"all, or some of: {' '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="the short form, about ten minutes for all")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="keep the figures, beside those of other benches there"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put tables and pictures into the documentation")
    parser.add_argument(
        "--from", type=Path, metavar="FILE", dest="kept", help="measure nothing, take figures kept before"
    )
    parser.add_argument("--strict", action="store_true", help="fail if a target is missed")
    options = parser.parse_args()
    names = NAMES if options.names == ["all"] else options.names
    if unknown := set(names) - set(NAMES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    if options.kept:
        found = {name: kept for name, kept in json.loads(options.kept.read_text()).items() if name in names}
    else:
        found = {name: run(name, quick=options.quick) for name in names}
    if options.json:
        before = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps(before | found, indent=1) + "\n")
    if options.write:
        write(options.write, found)
    missed = [one.what.strip() for kept in found.values() for one in figures(kept) if one.held is False]
    print("\nevery target is held" if not missed else f"\n{len(missed)} targets missed: {'; '.join(missed)}")
    return 1 if missed and options.strict else 0


def run(name, *, quick):
    """Run one bench, print its table, and return what is kept of it."""
    bench = importlib.import_module(f"bench.{name}")
    reason = reason_not_to_run("nft", *getattr(bench, "NEEDS", ()))
    if reason:
        sys.exit(f"{name}: not measured, {reason}")
    sweep()
    started = time.monotonic()
    found = list(bench.measure(quick=quick))
    kept = {
        "machine": machine.described(),
        "taken": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "quick": quick,
        "seconds": round(time.monotonic() - started),
        "figures": [one.as_json() for one in found if isinstance(one, Figure)],
        "lines": [one.as_json() for one in found if isinstance(one, Line)],
    }
    print(f"\n{name}: {bench.__doc__.splitlines()[0]}\n  {described(kept)}\n")
    print(show.shown(figures(kept)), flush=True)
    return kept


def figures(kept):
    return [figure(dict(one)) for one in kept["figures"]]


def described(kept):
    """Say on what and when it was measured."""
    form = "the quick form, " if kept["quick"] else ""
    return f"{kept['machine']}; {form}{kept['taken']} UTC, {kept['seconds']} s"


def write(page, found):
    """Put tables into the page, and pictures beside it."""
    show.write_page(
        page, {name: figures(kept) for name, kept in found.items()}, lambda name: described(found[name]) + "."
    )
    draw_all(PICTURES, {name: (figures(kept), [line(one) for one in kept["lines"]]) for name, kept in found.items()})


if __name__ == "__main__":
    sys.exit(main())
