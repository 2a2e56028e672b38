"""One rule and its offences: it tells when the threshold is reached, and on what evidence.

Proven offences are counted a second time, apart: only they make a ban proven. So whoever forges datagrams in a
phone's name cannot turn that phone's own single mistake over TCP into a proven ban of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.rule import Evidence, Mode
from guard.core.window import Window

if TYPE_CHECKING:
    from guard.core.address import Source
    from guard.core.event import SecurityEvent
    from guard.core.rule import Rule
    from guard.core.units import Instant


class Track:
    """The offences of all sources under one rule, in a window each. `mode` is the daemon's."""

    __slots__ = ("_all", "_proven", "observes", "rule")

    def __init__(self, rule: Rule, mode: Mode) -> None:
        self.rule = rule
        self.observes = Mode.OBSERVE in (rule.mode, mode)
        self._all = Window(rule.window, rule.threshold)
        self._proven = self._all if rule.proven_only else Window(rule.window, rule.threshold)

    def count(self, event: SecurityEvent, source: Source, at: Instant, now: Instant) -> tuple[Evidence, int] | None:
        """Count an event against a source; the evidence and the total weight if that reaches the threshold."""
        rule, proven = self.rule, event.proven
        weight = rule.weights[event.kind]
        total = sure = self._all.add(source, at, weight, now, proven=proven)
        if self._proven is not self._all:
            sure = self._proven.add(source, at, weight, now, proven=True) if proven else 0
        if total < rule.threshold:
            return None
        return (Evidence.PROVEN if sure >= rule.threshold else Evidence.UNPROVEN), total

    def forget(self, source: Source) -> None:
        """Drop a source's offences, because they have led to a ban."""
        self._all.forget(source)
        self._proven.forget(source)

    @property
    def evicted(self) -> int:
        """Sources forgotten although they could still count, because a table was full."""
        return self._all.evicted + (self._proven.evicted if self._proven is not self._all else 0)
