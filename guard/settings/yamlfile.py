"""YAML without surprises: every scalar is text until the schema types it, and every value knows its place.

Plain YAML 1.1 reads `1:30` as 90, `no` as False, `010` as 8, and keeps the last of two equal keys. Here nothing is
guessed: anchors, aliases, tags and directives are mistakes, and so are a repeated key and a second document.

The tree is built from `yaml.parse` events, not from `yaml.compose` nodes: events tell a written tag from a guessed
one, and the C loader's `compose` recurses on the C stack, where 60,000 opening brackets are a segmentation fault.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from guard.settings.mistakes import Mistakes, Place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from yaml._yaml import Mark as CMark

MAX_BYTES = 256 * 1024  # an allowlist of some 8,000 networks; stock rule files are under 1 KiB
MAX_DEPTH = 8  # the schemas need six

# Control characters other than tab and line ends; of the rest, what YAML 1.1 itself does not allow.
_UNREADABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text as written; `empty` tells a key without a value from the text ""."""

    place: Place
    text: str
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys with the place of each, in the order of the file; keys differ."""

    place: Place
    pairs: dict[str, tuple[Place, Node]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unusable:
    """What stands in for a value that was reported already; readers pass over it in silence."""

    place: Place


Node = Scalar | Items | Mapping | Unusable


def read(path: Path, mistakes: Mistakes, missing: str = "no such file") -> Node | None:
    """Read a file; None if it is empty, holds only comments, or is no YAML at all, which is then a mistake.

    `missing` is what to say if there is no such file.
    """
    try:
        data = read_bytes(path, MAX_BYTES)
    except FileNotFoundError:
        mistakes.add(Place(str(path)), missing)
        return None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        mistakes.add(Place(str(path)), f"cannot be read: {reason}")
        return None
    return parse(data, str(path), mistakes)


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a regular file, or /dev/null, of at most `limit` bytes; OSError or ValueError if it is none."""
    # O_NONBLOCK: opening a pipe must not wait for its writer.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - a descriptor
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode) and not path.samefile(os.devnull):
            raise ValueError("not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"larger than {limit} bytes")
    return data


def parse(data: bytes, file: str, mistakes: Mistakes) -> Node | None:
    """Read the bytes of one document; None as for `read`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before, byte = error.object[: error.start].decode(), error.object[error.start]
        mistakes.add(_place_after(before, file), f"byte 0x{byte:02x} is not UTF-8 text")
        return None
    if match := _UNREADABLE.search(text):
        mistakes.add(_place_after(text[: match.start()], file), f"character {match[0]!a} is not allowed")
        return None
    tree = _Tree(file, mistakes)
    try:
        for event in _events(text):
            if not tree.take(event):
                return None
    except yaml.YAMLError as error:  # reader errors have no mark, but _UNREADABLE is stricter than the reader
        problem = getattr(error, "problem", None) or error
        tree.wrong(getattr(error, "problem_mark", None), f"not YAML: {problem}; is a text short of quotes?")
        return None
    return tree.root


def _events(text: str) -> Iterator[yaml.Event]:
    loader = yaml.CBaseLoader(text)
    try:
        while event := loader.get_event():
            yield event
    finally:
        loader.dispose()


def _place_after(text: str, file: str) -> Place:
    return Place(file, text.count("\n") + 1, len(text) - text.rfind("\n"))


class _Tree:
    """Builds nodes from events with a stack of its own."""

    def __init__(self, file: str, mistakes: Mistakes) -> None:
        self.root: Node | None = None
        self._file = file
        self._mistakes = mistakes
        self._open: list[Items | Mapping] = []
        self._keys: list[Node | None] = []  # of each open mapping the key that waits for its value
        self._documents = 0

    def take(self, event: yaml.Event) -> bool:
        """Take one event; False ends the reading."""
        place = self._place(event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if event.version or event.tags:
                self.wrong(event.start_mark, "directives are not used here")
            if self._documents == 2:
                self.wrong(event.start_mark, "a second document; a file holds one")
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            self._keys.pop()
            self._open.pop()
        elif isinstance(event, yaml.NodeEvent):
            node = self._node(event, place)
            self._attach(node)
            if isinstance(node, Items | Mapping):
                self._open.append(node)
                self._keys.append(None)
                if len(self._open) > MAX_DEPTH:
                    self.wrong(event.start_mark, f"nested more than {MAX_DEPTH} levels deep")
                    return False
        return True

    def _node(self, event: yaml.NodeEvent, place: Place) -> Node:
        if isinstance(event, yaml.AliasEvent) or event.anchor or getattr(event, "tag", None):
            self.wrong(event.start_mark, "anchors, aliases and tags are not used here; quote text beginning with & * !")
        if isinstance(event, yaml.MappingStartEvent):
            return Mapping(place)
        if isinstance(event, yaml.SequenceStartEvent):
            return Items(place)
        if not isinstance(event, yaml.ScalarEvent):
            return Unusable(place)
        if match := _CONTROL.search(event.value):
            self.wrong(event.start_mark, f"text with the control character {match[0]!a}")
            return Unusable(place)
        return Scalar(place, event.value, empty=not event.value and event.implicit[0])

    def _attach(self, node: Node) -> None:
        if not self._open:
            if self._documents == 1 and not (isinstance(node, Scalar) and node.empty):
                self.root = node
            return
        top = self._open[-1]
        if isinstance(top, Items):
            top.items.append(node)
        elif (key := self._keys[-1]) is None:
            self._keys[-1] = node
        else:
            self._keys[-1] = None
            self._pair(top, key, node)

    def _pair(self, mapping: Mapping, key: Node, value: Node) -> None:
        if isinstance(key, Items | Mapping):
            self._mistakes.add(key.place, "a key must be a word, not a list or mapping")
        elif isinstance(key, Scalar):
            if key.text in mapping.pairs:
                first = mapping.pairs[key.text][0].line
                word = key.text.partition(":")[0]  # `secret:...` without a space is a key, and is not quoted
                self._mistakes.add(key.place, f"{word!r} is given twice, first in line {first}")
            else:
                mapping.pairs[key.text] = (key.place, value)

    def wrong(self, mark: yaml.Mark | CMark | None, text: str) -> None:
        """Note a mistake at a mark of the parser."""
        self._mistakes.add(self._place(mark), text)

    def _place(self, mark: yaml.Mark | CMark | None) -> Place:
        return Place(self._file, mark.line + 1, mark.column + 1) if mark else Place(self._file)
