"""Where a command writes: what was asked for to stdout, what is said about it to stderr.

What a program reads is as stable as the API: JSON, or raw, which is a line an item and tabs between its values. Of
what is no list, raw has a line a value: its name, a tab, the value.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from guard.cli.table import fill, fill_raw, flatten
from guard.core.text import printable

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence

    from guard.cli.table import Column

NOTE_LIMIT = 1_000
LINE = 79
BOLD, RED, GREEN, YELLOW = "1", "31", "32", "33"


class Output:
    """Prints in the form that was asked for: a table for people, JSON or raw lines `for_programs`."""

    def __init__(self, options: Namespace) -> None:
        self.for_programs: bool = options.output != "table"
        self.raw: bool = options.output == "raw"
        self._header: bool = options.header

    def data(self, value: object) -> None:
        """Print a value for programs; a list of JSON has one item a line."""
        if self.raw:
            for line in flatten(value) if value else ():
                print(line)
        elif isinstance(value, list) and value:
            print("[\n  " + ",\n  ".join(map(_dumps, value)) + "\n]")
        else:
            print(_dumps(value))

    def list(self, columns: Sequence[Column], items: Sequence[Mapping[str, object]], empty: str) -> None:
        """Print a list; `empty` is said if it is."""
        if not items:
            note(empty)
        if self.raw:
            for line in fill_raw(columns, items, header=self._header):
                print(line)
            return
        if self.for_programs:
            self.data(items)
            return
        for number, line in enumerate(fill(columns, items, header=self._header)):
            print(paint(line, BOLD) if self._header and number == 0 else line)

    def one(self, columns: Sequence[Column], item: Mapping[str, object]) -> None:
        """Print one thing with all its values, a line each."""
        if self.for_programs:
            self.data(item)
            return
        width = max(len(title) for title, _ in columns)
        for title, read in columns:
            head = paint(title.ljust(width), BOLD)
            for line in _lines(read(item) or "-", LINE - width - 2):
                print(f"{head}  {line}")
                head = " " * width

    def done(self, answer: object, sentence: str) -> None:
        """Print what was done: the daemon's answer for programs, or a sentence; say so if a reboot would undo it."""
        if isinstance(answer, dict) and answer.get("stored") is False:
            note("this is not on the disk, so a reboot ends it; 'astguard status' says why")
        if self.for_programs:
            self.data(answer)
        else:
            print(sentence)


def _lines(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    from textwrap import wrap

    return wrap(text, width, break_on_hyphens=False)


def _dumps(value: object) -> str:
    """Write JSON that may be shown as it is: ASCII without control characters, of which json leaves DEL."""
    return json.dumps(value).replace("\x7f", "\\u007f")


def note(text: str) -> None:
    """Say one line on stderr, whatever the text holds."""
    print(f"astguard: {printable(text, NOTE_LIMIT)}", file=sys.stderr)


def paint(text: str, colour: str) -> str:
    """Colour a text, on a terminal alone and not against the reader's wish (NO_COLOR)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()
    return text if plain else f"\x1b[{colour}m{text}\x1b[0m"
