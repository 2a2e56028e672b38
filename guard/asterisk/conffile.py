"""Asterisk's configuration files as text, read as its main/config.c reads them.

`;` begins a comment, `;--` one of many lines that ends with `--;` and may hold others, but `;---` is an ordinary one.
`#include` and `#tryinclude` name further files, in which the section goes on. `#exec` runs a program whose output is
read: here it never runs, and what it would say is unknown, which `notes` tells.

    [name](!)       a template: nobody but those who name it sees it
    [name](a,b)     begins with all that a and b hold
    [name](+)       goes on with the first section of that name
    name = value    `=>` is the same, `+=` adds

What Asterisk answers by refusing the file as a whole is `broken`: then nothing in it is in force.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from guard.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    Finder = Callable[[str], Sequence[tuple[Path, str | None]]]

INCLUDE_DEPTH = 10
"""Files in files, as many as Asterisk follows (MAX_INCLUDE_LEVEL)."""
LINE_LIMIT = 8_191
"""Bytes of a line; Asterisk leaves out a longer one."""
FILES_LIMIT = 1_000
SIZE_LIMIT = 16_777_216
ENTRIES_LIMIT = 400_000
"""Files, characters and values of one configuration that are read, inherited values too. pjsip.conf of 10,000 phones
has 3 MB and 200,000 values. What is beyond is told in `notes`."""

_SECTION = re.compile(r"\[([^]]*)\](?:\(([^)]*)\)?)?.*")
_TRUE = {"yes", "true", "y", "t", "1", "on"}  # ast_true()


class Entry(NamedTuple):
    """A value, and where it stands: `/etc/asterisk/manager.conf:12`."""

    name: str
    value: str
    place: str


@dataclass
class Section:
    """A section with its values in order, those that it inherits first."""

    name: str
    place: str
    template: bool = False
    entries: list[Entry] = field(default_factory=list)

    def find(self, name: str) -> Entry | None:
        """Return the last value of this name: the one that is in force."""
        return next((entry for entry in reversed(self.entries) if entry.name.lower() == name), None)

    def get(self, name: str, otherwise: str = "") -> str:
        """Return the last value of this name as text."""
        entry = self.find(name)
        return otherwise if entry is None else entry.value

    def all(self, *names: str) -> Iterator[Entry]:
        """Give every value of these names in order."""
        return (entry for entry in self.entries if entry.name.lower() in names)


@dataclass
class Conf:
    """One configuration: a file, and all that it includes.

    `files` are all that were read, `includes` the names in them, and who named them.
    """

    path: Path
    sections: list[Section] = field(default_factory=list)
    includes: list[tuple[str, Path]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    broken: str = ""
    exists: bool = False
    open_comment: bool = False

    def section(self, name: str) -> Section:
        """Return the first section of this name that is no template, else an empty one."""
        found = (part for part in self.named() if part.name.lower() == name)
        return next(found, Section(name, str(self.path)))

    def named(self) -> Iterator[Section]:
        """Give all sections that are no templates."""
        return (part for part in self.sections if not part.template)


def is_true(text: str) -> bool:
    """Tell whether Asterisk takes a word for yes."""
    return text.strip().lower() in _TRUE


def read_conf(path: Path, find: Finder) -> Conf:
    """Read a configuration; `find` gives the files of a name with their texts, None for one that cannot be read."""
    conf = Conf(path)
    _Reader(conf, find).follow(str(path), 0, optional=True)
    return conf


def lines_of(text: str) -> tuple[list[str], bool]:
    """Return the lines without comments and blanks around them; True if a comment of many lines is still open."""
    depth, lines = 0, []
    for line in text.split("\n"):
        kept, depth = _uncomment(line, depth) if len(line) <= LINE_LIMIT else ("", depth)
        lines.append(kept.strip())
    return lines, depth > 0


def _uncomment(line: str, depth: int) -> tuple[str, int]:
    """Take the comments out of a line that begins inside of `depth` of them."""
    kept, at = "", 0
    while (found := line.find(";", at)) >= 0:
        if not depth and found and line[found - 1] == "\\":
            kept += line[at : found - 1] + ";"
            at = found + 1
        elif line.startswith(";--", found) and not line.startswith(";---", found):
            kept += "" if depth else line[at:found]
            depth, at = depth + 1, found + 3
        elif depth and line[at:found].endswith("--"):
            depth, at = depth - 1, found + 1
        elif depth:
            at = found + 1
        else:
            return kept + line[at:found], 0
    return kept + ("" if depth else line[at:]), depth


class _Reader:
    def __init__(self, conf: Conf, find: Finder) -> None:
        self._conf = conf
        self._find = find
        self._size = self._entries = 0
        self._section: Section | None = None
        self._named: dict[str, Section] = {}
        self._bases: dict[str, Section] = {}

    def follow(self, name: str, depth: int, *, optional: bool) -> bool:
        """Read the files of a name; False if there is none."""
        found = self._find(name)
        for path, text in found:
            if self._conf.broken:
                break
            self._conf.files.append(path)
            self._size += len(text or "")
            if text is None:
                self._conf.notes.append(f"{path}: cannot be read")
            elif depth > INCLUDE_DEPTH or len(self._conf.files) > FILES_LIMIT:
                self._break(str(path), "there are too many files in files")
            elif self._size > SIZE_LIMIT:
                self._leave_out(f"more than {SIZE_LIMIT:,} characters")
            else:
                self._conf.exists = True
                self._read(path, text, depth)
        return bool(found) or optional

    def _read(self, path: Path, text: str, depth: int) -> None:
        lines, still_open = lines_of(text)
        self._conf.open_comment |= still_open and depth == 0
        for number, line in enumerate(lines, 1):
            if not line or self._conf.broken:
                continue
            place = f"{path}:{number}"
            if line[0] == "[":
                self._begin(line, place)
            elif line[0] == "#":
                self._direct(line, path, place, depth)
            else:
                self._add(line, place)

    def _begin(self, line: str, place: str) -> None:
        match = _SECTION.fullmatch(line)
        if match is None:
            self._break(place, f"a section without ']': {line!r}")
            return
        name, words = match[1].strip(), [word.strip() for word in (match[2] or "").split(",") if word.strip()]
        if any(word.startswith("+") for word in words):
            self._section = self._named.get(name.lower())
            if self._section is None:
                self._break(place, f"it goes on with a section [{name}] that is not there")
            return
        self._section = Section(name, place, template="!" in words)
        for word in words:
            base = self._bases.get(word.lower())
            if base is not None:
                for entry in base.entries:
                    self._take(self._section, entry)
            elif word != "!":
                self._break(place, f"it names a template [{word}] that is not there")
        self._conf.sections.append(self._section)
        for names in (self._bases, *([] if self._section.template else [self._named])):
            names.setdefault(name.lower(), self._section)

    def _direct(self, line: str, path: Path, place: str, depth: int) -> None:
        word, _, name = line[1:].replace("\t", " ").strip().partition(" ")
        word, name = word.lower(), name.strip()
        for opening, closing in ('""', "<>"):
            if name.startswith(opening) and closing in name[1:]:
                name = name[1:].partition(closing)[0]
        if word in ("include", "tryinclude") and name:
            self._conf.includes.append((name, path))
            if not self.follow(name, depth + 1, optional=word == "tryinclude"):
                self._break(place, f"it includes {name!r}, and there is no such file")
        elif word == "exec":
            self._conf.notes.append(f"{place}: the output of a program is part of it (#exec); that is not looked at")

    def _add(self, line: str, place: str) -> None:
        name, equals, value = line.partition("=")
        if not equals:
            return  # Asterisk warns, and reads on
        if self._section is None:
            self._break(place, "a value stands before any section")
        else:
            self._take(self._section, Entry(name.removesuffix("+").strip(), value.removeprefix(">").strip(), place))

    def _take(self, section: Section, entry: Entry) -> None:
        if self._entries < ENTRIES_LIMIT:
            self._entries += 1
            section.entries.append(entry)
        else:
            self._leave_out(f"more than {ENTRIES_LIMIT:,} values")

    def _leave_out(self, what: str) -> None:
        note = f"{self._conf.path}: {what}; the rest is not looked at"
        self._conf.notes += [] if note in self._conf.notes else [note]

    def _break(self, place: str, why: str) -> None:
        self._conf.broken = f"{place}: {printable(why)}; Asterisk refuses the whole file"


def split_list(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Give the values of lists one by one: `a, b` are two."""
    for entry in entries:
        for piece in entry.value.split(","):
            if piece.strip():
                yield entry._replace(value=piece.strip())
