"""Puts the measured tables into a page, between two marks, so that its figures are never typed by hand."""

from __future__ import annotations

import re

from bench.race.report import figures

BEGIN, END = "<!-- figures: script/bench race --write docs/race.md -->", "<!-- end of figures -->"


def write_page(page, report, described):
    """Replace what stands between the marks."""
    text = page.read_text()
    marked = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if not marked.search(text):
        raise SystemExit(f"{page}: there is no {BEGIN} ... {END} to write between")
    parts = [described, *(f"## {heading}\n\n{table}" for heading, table in figures(report, markdown=True))]
    page.write_text(marked.sub(lambda _: "\n\n".join([BEGIN, *parts, END]), text))
