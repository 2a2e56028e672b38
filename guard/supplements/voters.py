"""Asks supplements before a ban, one after the other, and no longer the one that fails or takes too long.

They are trusted code, but their faults may not stop the guard: what one raises ends its part, and so does a call of
more than TOO_LONG. One that never returns is ended with the whole guard by systemd's watchdog; its name is in a mark
then, and the next start leaves it off.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from guard.core.consent import Answer
from guard.core.units import MILLISECOND, SECOND, Duration
from guard.supplements.catalogue import why
from guard.supplements.contract import of_ban

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from guard.core.ban import Ban

TOO_LONG = Duration(2 * MILLISECOND)
_NOBODY: Mapping[str, str] = MappingProxyType({})
REMEDY = "mend it or take it out of astguard.yaml, then run 'astguard reload'"


class Spent(NamedTuple):
    """Three meters of the thread that asks: the time, its own work, and how often it has waited for something."""

    time: int
    work: int
    waits: int

    def is_too_much(self, before: Spent) -> bool:
        """Tell whether a call has taken too long: not if the kernel only gave the processor to somebody else."""
        long = self.time - before.time > TOO_LONG
        return long and (self.work - before.work > TOO_LONG or self.waits > before.waits)


class Mark(Protocol):
    """Remembers, over the end of the process, who was being asked."""

    def enter(self, number: int) -> None:
        """Note that number so and so is asked."""

    def leave(self, number: int) -> None:
        """Note that it has answered."""

    def off(self, number: int) -> None:
        """Note that it is asked no more, until a clean stop or a reload."""


class NoMark:
    """Remembers nothing: for replay, and for tests."""

    def enter(self, number: int) -> None:
        """Note nothing."""

    leave = off = enter


class Voters:
    """The supplements that are asked, by priority. `off` says of those that no longer are, why.

    `spent` reads the meters; without it nothing is too long, as in a replay, which has to give the same answer always.
    """

    def __init__(
        self,
        supplements: Iterable[tuple[str, object]],
        spent: Callable[[], Spent] = lambda: Spent(0, 0, 0),
        mark: Mark | None = None,
        left_off: Mapping[str, str] = _NOBODY,
    ) -> None:
        self.off: dict[str, str] = {}
        self._spent = spent
        self._mark = mark or NoMark()
        self._asked = [
            (number, name, supplement.before_ban)  # type: ignore[attr-defined]  # the catalogue has looked
            for number, (name, supplement) in enumerate(supplements)
        ]
        self._untold = ""
        for number, name, _ in list(self._asked):
            if name in left_off:
                self._switch_off(number, name, left_off[name])

    def __call__(self, ban: Ban) -> Answer:
        """Ask all, each about the ban as those before have left it; a refusal ends the asking."""
        length = Duration(ban.until - ban.since)
        asked = of_ban(ban)
        for number, name, before_ban in list(self._asked):
            self._mark.enter(number)
            before = self._spent()
            try:
                seconds = before_ban(asked)
                problem = _problem(seconds)
            except BaseException as error:  # noqa: BLE001 - sys.exit() in somebody else's code may not end the guard
                seconds, problem = None, f"before_ban raised {why(error)}"
            after = self._spent()
            self._mark.leave(number)
            if not problem and after.is_too_much(before):
                problem = f"before_ban took {(after.time - before.time) / MILLISECOND:.1f} ms; 2 ms are allowed"
            elif problem:
                seconds = None
            if problem:
                self._switch_off(number, name, problem)
            if seconds is not None and seconds * SECOND < length:
                length = Duration(int(seconds * SECOND))
                asked = asked._replace(seconds=length / SECOND)
            if length <= 0:
                break
        trouble, self._untold = self._untold, ""
        return Answer(length, trouble)

    def take_trouble(self) -> str:
        """Return what has yet to become an alarm, since no ban has come by."""
        trouble, self._untold = self._untold, ""
        return trouble

    def _switch_off(self, number: int, name: str, problem: str) -> None:
        self._mark.off(number)
        self._asked = [one for one in self._asked if one[0] != number]
        self.off[name] = problem
        text = f"supplement {name} is no longer asked before a ban: {problem}; {REMEDY}"
        self._untold = f"{self._untold}; {text}" if self._untold else text


def _problem(seconds: object) -> str:
    """Say what is wrong with an answer; empty if it is one."""
    if seconds is None:
        return ""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or math.isnan(seconds) or seconds < 0:
        return f"before_ban gave {why_value(seconds)}; expected seconds from 0 on, or None"
    return ""


def why_value(value: object) -> str:
    """Name a value without asking it for its text, which is its own code."""
    return repr(value)[:40] if type(value) in (bool, int, float) else f"a {type(value).__name__}"
