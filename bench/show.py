"""How measured figures look: as a table in the terminal, and in a page between two marks, never typed by hand."""

from __future__ import annotations

import re
from statistics import median

from bench.quality.report import table

HEADS = ["", "measured", "must", "aim", "", "beside it, in the same run"]
END = "<!-- end of figures -->"


def begin(name):
    return f"<!-- figures: script/bench {name} -->"


def number(value, unit=""):
    """Write a figure with three digits that count."""
    if value is None:
        return ""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 3
    return f"{value:,.{digits}f}" + (f" {unit}" if unit else "")


def rows(figures):
    """Give a line for each figure."""
    for one in figures:
        beside = [f"{name} {number(median(one.beside[name]))}: {number(one.times(name))} x" for name in one.beside]
        said = "; ".join([*beside, *filter(None, [one.note])])
        yield [one.what, number(one.value, one.unit), number(one.must), number(one.aim), one.judged, said]


def shown(figures, *, markdown=False):
    return table(HEADS, rows(figures), markdown=markdown)


def write_page(page, measured, described):
    """Put each bench's table between its marks; those of other benches stay as they are."""
    text = page.read_text()
    for name, figures in measured.items():
        marked = re.compile(f"{re.escape(begin(name))}.*?{re.escape(END)}", re.DOTALL)
        if not marked.search(text):
            raise SystemExit(f"{page}: there is no {begin(name)} ... {END} to write between")
        inside = "\n\n".join([begin(name), described(name), shown(figures, markdown=True), END])
        text = marked.sub(lambda _, inside=inside: inside, text)
    page.write_text(text)
