"""Receipts: every record that goes to the store has a number, and is on the disk when the store has come that far.

Whoever reports or answers waits for the number of his record. He does not wait for ever: a disk that hangs says
neither yes nor no, and then it is no.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from guard.core.ban import Change

log = logging.getLogger("astguard")

ANSWER = 5.0
"""Seconds that an answer or a report waits for the disk before it says that nothing is stored yet."""


SLICE = 250
"""Changes reported in one turn of the event loop: some 8 ms. Thousands of bans may be on the disk, or over, at once."""


class OnKept(Protocol):
    """Told of each change once it is on the disk, or once it is known that it is not."""

    def __call__(self, change: Change, *, stored: bool) -> None:
        """Report it."""


class Receipts:
    """What waits for the disk. `problem` says why what is true is not on it; empty if it is."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.problem = ""
        self.on_kept: OnKept = _nobody
        self._loop = loop
        self._changes: deque[tuple[int, Change]] = deque()  # to be reported, by the number of their record
        self._known: deque[tuple[int, bool]] = deque()  # up to which number it is known, and whether they are stored
        self._teller: asyncio.TimerHandle | None = None
        self._answers: deque[tuple[int, asyncio.Future[bool]]] = deque()
        self._sent = 0
        self._done = 0
        self._patient_until = 0  # the number that had been sent when patience began
        self._patience: asyncio.TimerHandle | None = None

    def sent(self, change: Change | None) -> None:
        """Take the number of one more record; `change` is reported when the disk has it."""
        self._sent += 1
        if change is not None:
            self._changes.append((self._sent, change))
            if self._patience is None:
                self._be_patient()

    def refused(self, change: Change | None) -> None:
        """Take note of a record that the store did not take."""
        if change is not None:
            self._changes.append((self._sent, change))
        self.tell_all()

    def done(self, count: int, problem: str) -> None:
        """Take note that the store has come as far as `count`; with a problem nothing of it is on the disk."""
        self._done = count
        self._trouble(problem)
        self._tell(count, stored=not problem)
        while self._answers and self._answers[0][0] <= count:
            future = self._answers.popleft()[1]
            if not future.done():
                future.set_result(not problem)

    async def wait(self) -> bool:
        """Wait until everything sent so far is on the disk; False if it is not."""
        if self._done == self._sent:
            return not self.problem
        future: asyncio.Future[bool] = self._loop.create_future()
        self._answers.append((self._sent, future))
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER):
                return await future
        return False

    def tell_all(self) -> None:
        """Report what still waits as not stored."""
        self._tell(self._sent, stored=False)

    def close(self) -> None:
        """Give up the timers, and report what is left."""
        for timer in (self._patience, self._teller):
            if timer is not None:
                timer.cancel()
        self._known.append((self._sent, False))
        while self._report():
            pass

    def _tell(self, count: int, *, stored: bool) -> None:
        """Report, a slice at a time, all changes up to this number."""
        if self._known and self._known[-1][1] is stored:
            self._known.pop()
        self._known.append((count, stored))
        if self._teller is None:
            self._go_on()

    def _go_on(self) -> None:
        self._teller = self._loop.call_later(0, self._go_on) if self._report() else None

    def _report(self) -> bool:
        """Report one slice of what is known; tell whether more is left."""
        for _ in range(SLICE):
            while self._known and (not self._changes or self._changes[0][0] > self._known[0][0]):
                self._known.popleft()
            if not self._known:
                return False
            self.on_kept(self._changes.popleft()[1], stored=self._known[0][1])
        return True

    def _be_patient(self) -> None:
        self._patient_until = self._sent
        self._patience = self._loop.call_later(ANSWER, self._lose_patience)

    def _lose_patience(self) -> None:
        self._patience = None
        if self._done < self._patient_until:
            self._trouble(f"the disk has not answered for {ANSWER:.0f} s")
            self.tell_all()
        elif self._changes:
            self._be_patient()

    def _trouble(self, problem: str) -> None:
        if problem and not self.problem:
            log.error("the state is not on the disk: %s; bans go on, the kernel alone keeps them", problem)
        elif self.problem and not problem:
            log.info("the state is on the disk again")
        self.problem = problem


def _nobody(change: Change, *, stored: bool) -> None:
    """Tell nobody."""
