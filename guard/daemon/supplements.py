"""Runs the supplements in a process of their own, and tells it what happened; it is never waited for.

The pipe to it is the only queue: what does not fit is given up and counted, and so is what a crash has left in it. A
process that ends, or handles nothing for HANG seconds although there is something, is started anew, later and later.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from guard.core.ban import Op
from guard.core.text import printable
from guard.sensors.backoff import Backoff
from guard.supplements.catalogue import find
from guard.supplements.contract import CALLBACKS, of_alarm, of_ban, of_end, of_outcome
from guard.supplements.frames import FRAME_LIMIT, REPORT_LIMIT, encode
from guard.wire.describe import show_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guard.core.alarm import Alarm
    from guard.core.ban import Change
    from guard.core.event import SecurityEvent
    from guard.core.outcome import Outcome
    from guard.core.tally import Tally
    from guard.core.units import Instant, Wall
    from guard.settings.supplements import Wanted
    from guard.supplements import contract

log = logging.getLogger("astguard")

PIPE_BYTES = 1 << 20
"""What waits for the supplements, some 2,500 bans; the most that an ordinary user may ask for (pipe-max-size)."""
HANG = 30.0
"""Seconds without a sign of life while something waits; an import of somebody's large library counts, too."""
LOOK = 5.0
STOP_SECONDS = 4.0
"""How long the supplements may take to end."""
AGAIN_FIRST, AGAIN_LAST = 1.0, 60.0
"""Seconds until they are started again."""
STEADY = 300.0
"""Seconds of life after which the next crash is the first one again."""
LINES_A_MINUTE = 60
"""Lines of theirs in the log; more are counted."""
_AT_FIRST = frozenset(CALLBACKS) - {"on_outcome"}  # until they say what they want


class Supplements:
    """A listener of the recorder. `problem` says what is wrong with their process, `missing` with single ones."""

    def __init__(self, tally: Tally, *, now: Callable[[], Instant], wall: Callable[[], Wall]) -> None:
        self.problem = ""
        self.missing: dict[str, str] = {}
        self._tally = tally
        self._now = now
        self._wall = wall
        self._wanted: frozenset[str] = frozenset()
        self._theirs = self._pipe = -1
        self._lost = 0  # since the last one that was told
        self._told = self._handled = self._failed = 0  # of the process that runs
        self._alive_at = 0.0
        self._lines: list[float] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def troubled(self) -> dict[str, str]:
        """What is wrong, by supplement; `process` is that of all of them."""
        return {**self.missing, **({"process": self.problem} if self.problem else {})}

    def start(self, wanted: Sequence[Wanted]) -> None:
        """Start those that the configuration wants."""
        if wanted:
            orders = json.dumps([tuple(order) for order in find(wanted)], default=dict)
            self._wanted, self.missing = _AT_FIRST, {}
            self._theirs, self._pipe = _pipe()
            self._task = asyncio.create_task(self._run(orders), name="supplements")

    async def stop(self) -> None:
        """Let them end, or end them."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._close()
        self._wanted, self.problem = frozenset(), ""

    # What they are told.

    def weighed(self, events: Sequence[SecurityEvent], outcomes: Sequence[Outcome]) -> None:
        """Tell of events, if one of them wants that."""
        if "on_outcome" in self._wanted:
            for event, outcome in zip(events, outcomes, strict=True):
                self._tell("on_outcome", of_outcome(event, outcome, show_time(event.at)))

    def changed(self, change: Change, *, stored: bool) -> None:
        """Tell of a ban or of its end."""
        callback = "after_ban" if change.op in (Op.ADD, Op.OBSERVE) else "after_unban"
        if callback in self._wanted:
            at = show_time(self._wall())
            if callback == "after_unban":
                self._tell(callback, of_end(change, at))
            else:
                observed = change.op is Op.OBSERVE
                self._tell(callback, of_ban(change.ban, at=at, observed=observed, stored=stored and not observed))

    def alarmed(self, alarm: Alarm) -> None:
        """Tell of an alarm."""
        if "on_alarm" in self._wanted:
            self._tell("on_alarm", of_alarm(alarm, show_time(alarm.at - self._now() + self._wall())))

    def _tell(self, callback: str, value: contract.Ban | contract.Unban | contract.Alarm | contract.Outcome) -> None:
        frame = encode(callback, value, self._lost)
        if self._pipe < 0 or len(frame) > FRAME_LIMIT:
            self._give_up(1)
            return
        try:
            os.write(self._pipe, frame)
        except (BlockingIOError, BrokenPipeError):
            self._give_up(1)
            return
        self._lost = 0
        if self._told == self._handled:
            self._alive_at = asyncio.get_running_loop().time()
        self._told += 1
        self._tally.add("supplements.told")

    def _give_up(self, count: int) -> None:
        self._lost += count
        self._tally.add("supplements.dropped", count)

    # Their process.

    async def _run(self, orders: str) -> None:
        try:
            await self._run_for_ever(orders)
        except Exception:
            log.exception("the supplements are not run any more; please report this")

    async def _run_for_ever(self, orders: str) -> None:
        from guard.supplements import confine  # noqa: PLC0415 - ctypes, for those who have supplements

        confine.drop_ambient()
        backoff = Backoff(AGAIN_FIRST, AGAIN_LAST)
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                ended = await self._live(orders)
            except OSError as error:
                ended = f"could not be started: {error.strerror}"
            finally:
                self._close()
            self._give_up(self._told - self._handled)
            self._told = self._handled = self._failed = 0
            if loop.time() - began > STEADY:
                backoff.reset()
            wait = backoff.next()
            self._tally.add("supplements.restarts")
            self.problem = f"their process {ended}"
            log.error("supplements: %s; it is started again in %.0f s", self.problem, wait)
            self._theirs, self._pipe = _pipe()  # what happens meanwhile waits in it
            await asyncio.sleep(wait)

    def _close(self) -> None:
        for end in (self._theirs, self._pipe):
            if end >= 0:
                os.close(end)
        self._theirs = self._pipe = -1

    async def _live(self, orders: str) -> str:
        """Run one process to its end; say how it ended."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-BP", "-m", "guard.supplements.child",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            pass_fds=(self._theirs,), cwd="/", env=_environment(), limit=REPORT_LIMIT,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        hears = [
            asyncio.create_task(self._follow(process.stdout, self._report)),
            asyncio.create_task(self._follow(process.stderr, self._say)),
        ]
        try:
            self._alive_at = asyncio.get_running_loop().time()
            wanted = f'{{"parent": {os.getpid()}, "pipe": {self._theirs}, "orders": {orders}}}'
            process.stdin.write(wanted.encode())
            process.stdin.close()
            return await self._watch(process)
        except asyncio.CancelledError:
            self._close()  # that is the end for them
            with suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), STOP_SECONDS)
            raise
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            await asyncio.gather(*hears, return_exceptions=True)

    async def _watch(self, process: asyncio.subprocess.Process) -> str:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(TimeoutError):
                code = await asyncio.wait_for(process.wait(), LOOK)
                return f"ended with code {code}" if code >= 0 else f"ended by signal {-code}"
            if self._told > self._handled and loop.time() - self._alive_at > HANG:
                return f"hung for {HANG:.0f} s"

    async def _follow(self, stream: asyncio.StreamReader, take: Callable[[bytes], None]) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the limit: the reader has thrown it away
                self._say(b"(a line that is too long)")
                continue
            if not line:
                return
            take(line.rstrip(b"\n"))

    def _report(self, line: bytes) -> None:
        """Take what the child says. Supplements live in it, so nothing of it is believed further than its counts."""
        self._alive_at = asyncio.get_running_loop().time()
        try:
            self._take(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            self._say(line)

    def _take(self, said: dict[str, Any]) -> None:
        if "ready" in said:
            self._wanted = frozenset(CALLBACKS) & frozenset(said["ready"])
            self.problem = ""
            self.missing = {str(name)[:40]: printable(str(why)) for name, why in said["failed"][:16]}
            self._tally.add("supplements.failed", len(self.missing))
            for name, why in self.missing.items():
                log.error("supplement %s: %s; the others go on without it", printable(name), why)
            if said["missing"]:
                log.warning("supplements: this kernel cannot keep them from %s", printable(", ".join(said["missing"])))
            log.info("supplements are up: they want %s", ", ".join(sorted(self._wanted)) or "nothing")
        elif "log" in said:
            self._say(str(said["log"]).encode())
        else:
            handled, failed = int(said["handled"]), int(said["failures"])
            self._tally.add("supplements.failed", max(0, failed - self._failed))
            self._handled, self._failed = min(max(handled, self._handled), self._told), failed

    def _say(self, line: bytes) -> None:
        """Log a line of theirs, but no more of them in a minute than anybody reads."""
        now = asyncio.get_running_loop().time()
        self._lines = [at for at in self._lines if now - at < 60]
        if len(self._lines) >= LINES_A_MINUTE:
            self._tally.add("supplements.unsaid")
            return
        self._lines.append(now)
        log.warning("supplements: %s", printable(line.decode(errors="replace"), 500))


def _pipe() -> tuple[int, int]:
    """Make a pipe: the end to read waits, the end to write never does."""
    theirs, ours = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(ours, False)
    with suppress(OSError):  # the user has too many large pipes: a usual one holds 64 KiB
        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return theirs, ours


def _environment() -> dict[str, str]:
    """Return what the child may know of ours: where Python's modules are."""
    return {
        "PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONNOUSERSITE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }  # fmt: skip
