"""The tracks of all rules, and which of them an attempt concerns."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from guard.core.event import Kind, Service
from guard.core.plain import cut
from guard.core.tally import as_one
from guard.core.track import Track

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from guard.core.plain import Reader, Row, Value
    from guard.core.rule import Mode, Rule
    from guard.core.tally import Table


class Tracks:
    """One track a rule, in the rules' order. Iterating gives all."""

    def __init__(self) -> None:
        self._all: list[Track] = []
        self._by_event: dict[tuple[Service, Kind], list[Track]] = {}
        self._former = Counter[str]()  # what tracks had forgotten whose rules are no more
        self._earlier: dict[str, Value] = {}  # what an earlier life counted under each rule

    def __iter__(self) -> Iterator[Track]:
        return iter(self._all)

    def follow(self, rules: Iterable[Rule], mode: Mode) -> None:
        """Judge by these rules from now on. One that counts what it counted before goes on with its windows."""
        former = {track.rule.name: track for track in self._all}
        self._all, self._by_event = [], {}
        for rule in rules:
            track = former.get(rule.name)
            if track is not None and track.follow(rule, mode):
                del former[rule.name]
            else:
                track = Track(rule, mode)
            self._all.append(track)
            for service in rule.services or Service:
                for kind in rule.weights:
                    self._by_event.setdefault((service, kind), []).append(track)
        for track in former.values():
            self._former.update(evicted=track.evicted, forgotten=track.forgotten)

    def about(self, service: Service, kind: Kind) -> Sequence[Track]:
        """Return the tracks of the rules that may count an attempt of this kind."""
        return self._by_event.get((service, kind), ())

    @property
    def forgotten(self) -> int:
        """Accounts and bursts forgotten because a table was full, under rules that are no more too."""
        return self._former["forgotten"] + sum(track.forgotten for track in self._all)

    @property
    def evicted(self) -> int:
        """Sources forgotten although they could still count, under rules that are no more too."""
        return self._former["evicted"] + sum(track.evicted for track in self._all)

    def tables(self) -> Iterator[Table]:
        """Give how full the tables of all rules are, as one."""
        for parts in zip(*(track.tables() for track in self._all), strict=True):
            yield as_one(parts[0].name, parts)

    def dump(self) -> Iterator[Row]:
        """Give all that is counted, rule by rule."""
        for track in self._all:
            yield from cut(track.dump(), track.rule.name)

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back a row, if its rule still counts the same offences."""
        match row:
            case [name, "rule", text]:
                self._earlier[read.text(name)] = text
            case [name, *rest]:
                track = next((track for track in self._all if track.rule.name == name), None)
                if track is not None and self._earlier.get(track.rule.name) == track.rule.fingerprint:
                    track.restore(rest, read)
