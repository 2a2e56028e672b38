"""`script/bench race`: runs the rounds, prints the tables, and says which of astguard's targets held."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.quality.image import PeersError
from bench.race.astguard import Astguard
from bench.race.course import one_round
from bench.race.image import guards_root, versions
from bench.race.nobody import Nobody
from bench.race.page import write_page
from bench.race.picture import picture
from bench.race.plan import TOOLS, attacks
from bench.race.report import Report, figures
from tests.asterisk.image import ImageError, asterisk_root, asterisk_version
from tests.netns import reason_not_to_run

SHORT_TOOLS = (Nobody.name, Astguard.name)
PICTURE = "pictures/race.svg"


def main():
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="script/bench race", description=__doc__.partition(": ")[2])
    parser.add_argument("--short", action="store_true", help="one short round, without the peers (below 90 s)")
    parser.add_argument("--repeats", type=int, metavar="N", help="rounds of every tool, interleaved (5; short: 1)")
    parser.add_argument("--series", type=int, metavar="N", help="more attacks on astguard in each round (20; short: 3)")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, metavar="TOOL", help=f"some of: {', '.join(TOOLS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="known", help="measure nothing, show such a FILE")
    parser.add_argument("--write", type=Path, metavar="PAGE", help=f"put the tables into this page, and draw {PICTURE}")
    options = parser.parse_args()
    try:
        race = json.loads(options.known.read_text()) if options.known else measure(options)
    except (PeersError, ImageError) as error:
        sys.exit(f"script/bench race: {error}")
    report = Report(race["runs"])
    print(described(race))
    for heading, table in figures(report, markdown=False):
        print(f"\n{heading}\n\n{table}")
    if options.json:
        options.json.write_text(_one_run_a_line(race))
    if options.write:
        write_page(options.write, report, described(race))
        drawn = options.write.parent / PICTURE
        drawn.parent.mkdir(exist_ok=True)
        drawn.write_text(picture(report))


def measure(options):
    """Run all rounds, saying how far it is; give everything that was measured."""
    reason = reason_not_to_run("nft", "setpriv", "svcrack")
    if reason:
        sys.exit(f"script/bench race: {reason}")
    repeats = options.repeats or (1 if options.short else 5)
    series = options.series if options.series is not None else (3 if options.short else 20)
    tools = [TOOLS[name] for name in options.tools or (SHORT_TOOLS if options.short else TOOLS)]
    root = guards_root() if any(tool.name not in SHORT_TOOLS for tool in tools) else None
    found = {"asterisk": asterisk_version(asterisk_root()), **(versions(root) if root else {})}
    started, runs = time.monotonic(), []
    for number in range(1, repeats + 1):
        for tool in tools:
            for attack, figures_of in one_round(tool, root, attacks(tool.name, short=options.short, series=series)):
                runs.append({"tool": tool.name, "attack": attack.name, "round": number, **figures_of})
                passed = time.monotonic() - started
                print(f"{passed:6.0f} s  round {number}: {tool.name}: {attack.name}", file=sys.stderr, flush=True)
    return {
        "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "machine": _machine(), "busy": _busy(), "repeats": repeats,
        "versions": found, "runs": runs,
    }  # fmt: skip


def described(race):
    """Say in one paragraph what was measured where."""
    named = ", ".join(f"{name} {version}" for name, version in race["versions"].items() if name != "asterisk")
    return (
        f"{race['versions']['asterisk']}{', ' + named if named else ''}; {race['machine']}; {race['at']}, "
        f"rounds: {race['repeats']}, load of the machine in the quarter of an hour before the end: {race['busy']}."
    )


def _one_run_a_line(race):
    """Write it as JSON that a person can compare line by line."""
    runs = ",\n".join(json.dumps(_rounded(run)) for run in race["runs"])
    head = json.dumps({key: value for key, value in race.items() if key != "runs"}, indent=1)
    return f'{head.removesuffix("}").rstrip()},\n "runs": [\n{runs}\n]}}\n'


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def _machine():
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(": ")[2] for line in info if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}"


def _busy():
    return round(os.getloadavg()[2], 1)


if __name__ == "__main__":
    main()
