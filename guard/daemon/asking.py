"""Has supplements asked before a ban, measured, with a mark beside the state that says who was asked when all ended."""

from __future__ import annotations

import logging
import resource
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from guard.core.alarm import Kind
from guard.supplements.mark import MarkFile
from guard.supplements.voters import Spent, Voters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from guard.core.ban import Ban
    from guard.core.consent import Answer
    from guard.core.engine import Engine
    from guard.core.units import Instant

log = logging.getLogger("astguard")

ENDING = ".asking"


class Asking:
    """Puts the supplements before the engine's bans, and takes them away again."""

    def __init__(self, engine: Engine, state: Path, now: Callable[[], Instant]) -> None:
        self._engine = engine
        self._path = state.with_name(state.name + ENDING)
        self._now = now
        self._mark: MarkFile | None = None
        self._voters: Voters | None = None

    @property
    def off(self) -> Mapping[str, str]:
        """Who is asked no more, and why."""
        return {} if self._voters is None else self._voters.off

    def begin(self, supplements: Sequence[tuple[str, object]]) -> None:
        """Ask these from now on; who was being asked when an earlier life was killed is left off, with an alarm."""
        if not supplements:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            return
        left_off: Mapping[str, str] = {}
        try:
            self._mark = MarkFile(self._path, [name for name, _ in supplements])
            left_off = self._mark.left_off
        except OSError as error:
            log.error(  # noqa: TRY400
                "%s: %s; a supplement that never returns would hang astguard again after its restart",
                self._path, error.strerror,
            )  # fmt: skip
        self._voters = Voters(supplements, _spent, self._mark, left_off)
        self._engine.ask_before_bans(self._ask)
        if trouble := self._voters.take_trouble():
            self._engine.warn(Kind.SUPPLEMENT_OFF, trouble, self._now())

    def end(self) -> None:
        """Ask nobody; whoever is asked next has a new chance."""
        self._engine.ask_before_bans(None)
        self._voters = None
        if self._mark is not None:
            self._mark.clear()
            self._mark = None

    def _ask(self, ban: Ban) -> Answer:
        assert self._voters is not None, "nobody is asked before the beginning"
        return self._voters(ban)


def _spent() -> Spent:
    return Spent(time.monotonic_ns(), time.thread_time_ns(), resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw)
