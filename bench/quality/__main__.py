"""`script/bench quality`: asks the tools, prints what they did, and exits 1 if astguard missed what it promises."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from bench.quality import astguard
from bench.quality.image import PeersError, peers_root, versions
from bench.quality.page import write_page
from bench.quality.recordings import LabelError, find
from bench.quality.report import LEGEND, SUMMARY, Report, summary_rows, table
from bench.quality.tries import tries_of


def main():
    """Do as the command line says."""
    parser = argparse.ArgumentParser(prog="script/bench quality", description=__doc__.partition(": ")[2])
    parser.add_argument("recordings", nargs="*", metavar="RECORDING", help="part of a name, or a path; all if none")
    parser.add_argument("--peers", action="store_true", help="ask fail2ban and CrowdSec too (root; cached)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this page")
    options = parser.parse_args()
    try:
        recordings = find(options.recordings)
        report, peers = measure(recordings, peers=options.peers)
    except (LabelError, PeersError, astguard.ReplayError) as error:
        sys.exit(f"script/bench quality: {error}")
    failed = show(report)
    if options.json:
        options.json.write_text(json.dumps({"versions": peers, **report.as_json()}, indent=1) + "\n")
    if options.write:
        write_page(options.write, report, peers)
    sys.exit(1 if failed else 0)


def measure(recordings, *, peers):
    """Play the recordings through the tools, saying how far it is; give the report and the peers' versions."""
    started = time.monotonic()

    def say(what):
        print(f"{time.monotonic() - started:5.1f} s  {what}", file=sys.stderr, flush=True)

    say(f"counting the tries in {len(recordings)} recordings")
    tries = {recording.name: tries_of(recording) for recording in recordings}
    say("astguard")
    answers, found = astguard.judge(recordings), {}
    if peers:
        from bench.quality import crowdsec, fail2ban  # noqa: PLC0415

        root = peers_root()
        found = versions(root)
        for name, tool in (("fail2ban", fail2ban), ("crowdsec", crowdsec)):
            say(f"{name} {found[name]}")
            answers |= tool.judge(root, recordings)
    say("done")
    return Report(recordings, tries, answers), found


def show(report):
    """Print tables, sums and what was promised; give how many promises of astguard were not kept."""
    for recording in report.recordings:
        if rows := list(report.rows(recording)):
            print(f"\n{recording.name}")
            header = ["source", "does", "tries", *report.tools]
            print(table(header, ([row[0], _short(row[1]), *row[2:]] for row in rows)))
    print(f"\n{LEGEND}")
    print(f"\n{table(SUMMARY, summary_rows(report))}\n")
    checks = report.checks(astguard.NAME)
    failures = [(name, each) for name, found in checks.items() for each in found if each.failure]
    total = sum(map(len, checks.values()))
    for name, each in failures:
        print(f"FAILED  {name}: {each.source}: {each.says}: {each.failure}")
    print(f"{total - len(failures)} of {total} expectations of astguard hold, {len(failures)} do not")
    return len(failures)


def _short(text, width=40):
    return text if len(text) <= width else text[: width - 1] + "…"


if __name__ == "__main__":
    main()
