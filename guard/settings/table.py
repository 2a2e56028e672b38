"""Takes a mapping apart by a schema: known keys, one reader a value, and a mistake with its place for all else.

A reader is a plain function from text to a value that raises ValueError; the table adds the place and goes on, so
that one reading finds every mistake. What `one` and `many` give back in place of a wrong value only keeps the reading
going: no value is used once a mistake was noted.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from guard.core.units import Duration, format_duration, parse_duration
from guard.settings.yamlfile import Items, Mapping, Node, Scalar, Unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from collections.abc import Mapping as MappingOf

    from guard.settings.mistakes import Mistakes, Place

T = TypeVar("T")
K = TypeVar("K")

_SUGGESTED_WORD = 64  # characters; difflib takes quadratic time


class Placed(NamedTuple, Generic[T]):
    """A value and where it stands."""

    value: T
    place: Place


class Table:
    """A mapping of a file. Unknown and missing keys are noted at once, values when they are taken."""

    def __init__(self, node: Node, mistakes: Mistakes, keys: Collection[str], required: Collection[str] = ()) -> None:
        self.place = node.place
        self._mistakes = mistakes
        self._nodes: dict[str, Node] = {}
        self._wrong: set[str] = set()
        meant = set()
        if isinstance(node, Mapping):
            for key, (place, value) in node.pairs.items():
                if key in keys:
                    self._nodes[key] = value
                else:
                    meant.add(self._unknown(key, place, value, keys))
        elif not (isinstance(node, Unusable) or _is_empty(node)):
            self.wrong(node.place, f"expected lines of 'key: value' such as {' or '.join(sorted(keys)[:2])}")
            return
        for key in required:
            if key not in self._nodes and key not in meant:
                self.wrong(self.place, f"{key!r} is missing")

    def _unknown(self, key: str, place: Place, value: Node, keys: Collection[str]) -> str:
        # A key without a value is text that lacks the space behind its colon, perhaps `secret:...`: it is not quoted.
        word = "a key without a value" if _is_empty(value) else f"unknown key {key!r}"
        near = nearest(key, keys)
        self.wrong(place, word + (f"; did you mean {near!r}?" if near else f"; known are {', '.join(keys)}"))
        return near

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    def wrong(self, place: Place, text: str) -> None:
        """Note a mistake."""
        self._mistakes.add(place, text)

    def sound(self, *keys: str) -> bool:
        """Tell whether no mistake was found in the values of these keys, so that they can be compared."""
        return self._wrong.isdisjoint(keys)

    def where(self, key: str) -> Place:
        """Return the place of a key's value, or the table's own if it is not given."""
        return self._nodes[key].place if key in self._nodes else self.place

    def is_mapping(self, key: str) -> bool:
        """Tell whether a key's value is a mapping."""
        return isinstance(self._nodes.get(key), Mapping)

    def one(self, key: str, read: Callable[[str], T], default: T) -> T:
        """Return the value of a key, or the default if it is not given."""
        node = self._nodes.get(key)
        return default if node is None else self._read(key, node, read, default)

    def many(
        self, key: str, read: Callable[[str], T], *, repeats: bool = False, empty: bool = False
    ) -> list[Placed[T]]:
        """Return the values of a key that holds one or a list of them; an empty list if it is not given.

        A value given twice is a mistake unless `repeats`, and so is a key without values unless `empty`.
        """
        node = self._nodes.get(key)
        nodes = node.items if isinstance(node, Items) else [] if node is None else [node]
        if node is not None and (not nodes or _is_empty(node)):
            if not empty:
                self._fail(key, node.place, f"{key!r} has no value")
            return []
        found: list[Placed[T]] = []
        seen: set[T | None] = set()
        for item in nodes:
            value = self._read(key, item, read, None)
            if value is None:
                continue
            if value in seen and not repeats:
                self._fail(key, item.place, f"{_text(item)!r} is given twice")
            seen.add(value)
            found.append(Placed(value, item.place))
        return found

    def pairs(self, key: str, read_key: Callable[[str], K], read: Callable[[str], T], default: T) -> dict[K, Placed[T]]:
        """Return the mapping under a key, for which `is_mapping` holds; the places are those of its keys."""
        node = self._nodes[key]
        assert isinstance(node, Mapping)
        if not node.pairs:
            self._fail(key, node.place, f"{key!r} has no value")
        found: dict[K, Placed[T]] = {}
        for word, (place, value) in node.pairs.items():
            name = self._read(key, Scalar(place, word), read_key, None)
            number = self._read(key, value, read, default)
            if name is not None:
                found[name] = Placed(number, place)
        return found

    def table(self, key: str, keys: Collection[str], required: Collection[str] = ()) -> Table:
        """Return the section under a key; an absent one is empty."""
        return Table(self._nodes.get(key, Mapping(self.place)), self._mistakes, keys, required)

    def tables(self, key: str, keys: Collection[str], required: Collection[str] = ()) -> list[Table]:
        """Return the sections under a key that holds one or a list of them; an empty list if it is not given."""
        node = self._nodes.get(key, Items(self.place))
        nodes = node.items if isinstance(node, Items) else [node]
        if key in self._nodes and (not nodes or _is_empty(node)):
            self._fail(key, node.place, f"{key!r} has no value")
            return []
        return [Table(item, self._mistakes, keys, required) for item in nodes]

    def _read(self, key: str, node: Node, read: Callable[[str], T], default: T) -> T:
        if isinstance(node, Scalar) and not node.empty:
            try:
                return read(node.text)
            except ValueError as error:
                self._fail(key, node.place, str(error))
        elif isinstance(node, Scalar):
            self._fail(key, node.place, f"{key!r} has no value")
        elif isinstance(node, Unusable):
            self._wrong.add(key)
        elif isinstance(node, Items):
            self._fail(key, node.place, f"{key!r} takes one value here, not a list")
        else:
            self._fail(key, node.place, f"{key!r} takes text here, not a mapping; put text with a colon into quotes")
        return default

    def _fail(self, key: str, place: Place, text: str) -> None:
        self._wrong.add(key)
        self.wrong(place, text)


def nearest(word: str, known: Collection[str]) -> str:
    """Return the known word that was probably meant, or an empty text."""
    folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word[:_SUGGESTED_WORD].casefold(), folded, n=1)
    return folded[near[0]] if near else ""


def choice(what: str, known: MappingOf[str, T]) -> Callable[[str], T]:
    """Make a reader of one of some words."""

    def read(text: str) -> T:
        if text in known:
            return known[text]
        near = nearest(text, known)
        raise ValueError(
            f"{text!r} is not {what}" + (f"; did you mean {near!r}?" if near else f"; write one of {', '.join(known)}")
        )

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    """Make a reader of a whole number in decimal digits, from `low` to `high`."""

    def read(text: str) -> int:
        # No leading zero: YAML 1.1 reads 010 as 8, people as 10.
        if re.fullmatch(r"0|[1-9][0-9]{0,8}", text) and low <= int(text) <= high:
            return int(text)
        raise ValueError(f"{text!r} is not a whole number from {low} to {high}")

    return read


def duration(low: Duration, high: Duration) -> Callable[[str], Duration]:
    """Make a reader of a duration from `low` to `high`."""

    def read(text: str) -> Duration:
        value = parse_duration(text)
        if not low <= value <= high:
            raise ValueError(f"{text!r} is not from {format_duration(low)} to {format_duration(high)}")
        return value

    return read


def anything(text: str) -> str:
    """Read any text."""
    return text


yes_or_no = choice("yes or no", {"yes": True, "no": False, "true": True, "false": False})


def _is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.empty


def _text(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else ""
