"""Puts the measured tables into a page, between two marks, so that its figures are never typed by hand."""

from __future__ import annotations

import re

from bench.quality.report import LEGEND, SUMMARY, summary_rows, table

BEGIN, END = "<!-- figures: script/bench quality --peers --write docs/quality.md -->", "<!-- end of figures -->"
MIX = "22.10.1/mixed-20k"


def write_page(page, report, peers):
    """Replace what stands between the marks."""
    text = page.read_text()
    marked = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not marked.search(text):
        raise SystemExit(f"{page}: there is no {BEGIN} ... {END} to write between")
    page.write_text(marked.sub(lambda _: f"{BEGIN}\n\n{figures(report, peers)}\n\n{END}", text))


def figures(report, peers):
    """Set the figures in Markdown: the sums, the mix source by source, and every other recording."""
    mix = [recording for recording in report.recordings if recording.name == MIX]
    rest = [recording for recording in report.recordings if recording.name != MIX]
    names = " and ".join(f"{name} {version}" for name, version in sorted(peers.items(), reverse=True))
    parts = [f"Measured with {names}." if names else "Measured without the peers."]
    if mix:
        header = ["source", "does", "tries", *report.tools]
        parts += [
            f"## The mix\n\n`tests/corpus/{MIX}`, a minute of everything at once:",
            table(SUMMARY, summary_rows(report, mix), markdown=True),
            table(header, report.rows(mix[0]), markdown=True),
            f"{LEGEND}.",
        ]
    if rest:
        rows = list(_stories(report, rest))
        quiet = [row[0] for row in rows if not any(row[1:])]
        parts += [
            f"## The others\n\n{len(rest)} recordings, each a story of its own:",
            table(SUMMARY, summary_rows(report, rest), markdown=True),
            "How many of those who have to be stopped were (in brackets the median of their tries), and false bans:",
            table(["recording", *report.tools], [row for row in rows if any(row[1:])], markdown=True),
            f"Nobody had to be stopped, and no tool wronged anybody, in {len(quiet)} more: {', '.join(quiet)}.",
        ]
    return "\n\n".join(parts)


def _stories(report, recordings):
    for recording in recordings:
        cells = []
        for tool in report.tools:
            sums = report.summary(tool, [recording])
            stopped = sums["attackers"] - len(sums["missed"])
            text = f"{stopped} of {sums['attackers']}" if sums["attackers"] else ""
            text += f" ({sums['median']:g})" if sums["median"] is not None else ""
            wrong = f"{len(sums['false'])} FALSE" if sums["false"] else ""
            cells.append(", ".join(filter(None, (text, wrong))))
        yield [recording.name, *cells]
