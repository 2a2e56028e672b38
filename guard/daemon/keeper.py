"""Keeps what is true in the store, and tells when it is on the disk.

Kernel first, then the store, then the report: a ban that was reported outlives whatever happens to astguard and to the
power. While the disk refuses, bans go on and are reported as not stored; once it takes them again, all that is true is
written anew, so that nothing piles up meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from guard.core.ban import Change, Op
from guard.core.units import SECOND, Duration, Instant, Wall
from guard.daemon.receipts import Receipts
from guard.store.records import (
    Allowed,
    Banned,
    Disallowed,
    Ended,
    Learnt,
    Memory,
    Note,
    Rewrite,
    Strikes,
    Trusted,
    What,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Protocol

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.engine import Engine
    from guard.core.memory import Former
    from guard.store.history import Past
    from guard.store.records import Record
    from guard.store.state import State

    class Store(Protocol):
        """What the keeper needs of guard.store.writer.Writer."""

        overflows: int
        dropped: int

        def start(self) -> None: ...  # noqa: D102
        def put(self, record: Record) -> bool: ...  # noqa: D102
        def hurry(self) -> None: ...  # noqa: D102
        def stop(self, patience: float) -> bool: ...  # noqa: D102


log = logging.getLogger("astguard")

EVERY = 60.0
"""Seconds from one writing of trust to the next: phones register every few minutes, and a minute of trust is little."""
LIFTED_LIMIT = 10_000
"""Bans lifted early that are remembered, so that no saved ruleset brings them back; beyond, the oldest is forgotten."""
PATIENCE = 20.0
"""Seconds that a stop waits for the disk; systemd waits 90 s for us."""
MEMORY_ROWS = 500_000
"""Rows that a clean stop leaves: some three seconds of writing."""
ROW_LIMIT = 500_000
"""Characters of one of them; the store takes no larger ones."""
SLACK = Duration(SECOND)
"""The kernel rounds the end of an element up."""


class Keeper:
    """Turns changes into records; `receipts` knows which of them are on the disk."""

    def __init__(
        self,
        engine: Engine,
        *,
        loop: asyncio.AbstractEventLoop,
        mono_ns: Callable[[], int],
        wall_ns: Callable[[], int],
    ) -> None:
        self.receipts = Receipts(loop)
        self.read_trail: Callable[[Source], list[dict[str, object]]] = _nothing
        self.read_history: Callable[[Wall], Iterator[Past]] = _no_past
        self._engine = engine
        self._loop = loop
        self._mono_ns = mono_ns
        self._wall_ns = wall_ns
        self._store: Store | None = None
        self._permits: dict[Source, Allowed] = {}
        self._notes: dict[str, str] = {}
        self._ports: dict[int, bool] = {}
        self._lifted: dict[Source, Instant] = {}  # until when the ban would have lasted
        self._timer: asyncio.TimerHandle | None = None

    # The life of it.

    def begin(
        self, state: State, make_store: Callable[[Callable[[int, str], None], Callable[[], None]], Store]
    ) -> None:
        """Start to write, beside what was found; `make_store(on_written, on_behind)` makes the store."""
        self._permits = {permit.source: permit for permit in state.permits}
        self._notes = dict(state.notes)
        self._ports = dict(state.ports)
        self._lifted = dict(state.lifted)
        self._store = make_store(self._on_written, self._on_behind)
        self._store.start()
        if state.moved:
            self._rewrite()
        for ended in state.over:
            self._send(ended)
        if state.memory:
            self._send(Memory([], []))  # after a crash it would be a memory of long ago
        self._timer = self._loop.call_later(EVERY, self._note)

    def drop(self, bans: Iterable[Ban]) -> None:
        """Take bans out of the store that are not made again after a start."""
        for ban in bans:
            self._send(Ended(ban, self._shift(), What.UNBAN, self._wall()))

    async def end(self) -> None:
        """Write what a clean stop leaves, and end the writing; what cannot be written in time is given up."""
        if self._store is None:
            return
        self._note_trust()
        self._note_ports()
        if self.receipts.problem:
            self._rewrite()
        strikes = [self._strikes(former) for former in self._engine.memory.formers()]
        self._send(Memory(self._remembered(), strikes))
        if not await asyncio.to_thread(self._store.stop, PATIENCE):
            log.error("the disk took longer than %.0f s; what was not written is lost", PATIENCE)
        if self._timer is not None:
            self._timer.cancel()
        self.receipts.close()

    # What is kept.

    def keep(self, change: Change) -> None:
        """Keep a change that is true in the kernel; `receipts.on_kept` is told of it."""
        op, ban = change
        engine = self._engine
        if op is Op.ADD:
            self._lifted.pop(ban.source, None)
            self._send(
                Banned(
                    ban, self._shift(), self._strikes(engine.memory.former(ban)), engine.memory.take_trail(ban.source)
                ),
                change,
            )
        else:
            replaced = op is Op.REMOVE and engine.ledger.covering(ban.source, ban.scope) is not None
            what = What.EXPIRE if op is Op.EXPIRE else What.REPLACE if replaced else What.UNBAN
            ended = Ended(ban, self._shift(), what, self._wall(), self._strikes(engine.memory.former(ban)))
            if what is What.UNBAN:
                self._note_lifted(ban)
            self._send(ended, change)

    def adopt(self, bans: Iterable[Ban]) -> None:
        """Keep bans that were found in the kernel; nobody is told."""
        for ban in bans:
            self._send(Banned(ban, self._shift(), self._strikes(self._engine.memory.former(ban))))

    def allow(self, source: Source, until: Wall | None = None) -> None:
        """Keep what a command has allowed, until then or for good."""
        permit = self._permits[source] = Allowed(source, until, self._wall())
        self._send(permit)

    def disallow(self, source: Source) -> None:
        """Forget what a command had allowed."""
        if self._permits.pop(source, None) is not None:
            self._send(Disallowed(source))

    def note(self, key: str, value: str | None) -> None:
        """Keep a word under a key; None forgets it."""
        if value is None:
            self._notes.pop(key, None)
        else:
            self._notes[key] = value
        self._send(Note(key, value))

    def was_lifted(self, source: Source, until: Instant) -> bool:
        """Tell whether a ban of this source that lasts until then was lifted early: nobody may bring it back."""
        lifted = self._lifted.get(source)
        return lifted is not None and until <= lifted + SLACK

    async def trail(self, source: Source) -> list[dict[str, object]]:
        """Return the events that led to the last ban of a source, as the store has them."""
        await self.stored()
        return await asyncio.to_thread(self.read_trail, source)

    async def stored(self) -> bool:
        """Wait until everything kept so far is on the disk; False if it is not."""
        if self._store is None:
            return False
        self._store.hurry()
        return await self.receipts.wait()

    # Between here and the writer's thread.

    def _send(self, record: Record, change: Change | None = None) -> None:
        assert self._store is not None, "nothing is kept before the beginning"
        if self._store.put(record):
            self.receipts.sent(change)
        else:
            self.receipts.refused(change)

    def _on_written(self, count: int, problem: str) -> None:
        with suppress(RuntimeError):  # the loop is gone, and with it whoever wants to know
            self._loop.call_soon_threadsafe(self._written, count, problem)

    def _on_behind(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._rewrite)

    def _written(self, count: int, problem: str) -> None:
        self.receipts.done(count, problem)
        if self._store is not None:
            counts = self._engine.tally.counts
            counts["store.overflows"], counts["store.dropped"] = self._store.overflows, self._store.dropped

    def _rewrite(self) -> None:
        memory = self._engine.memory
        self._send(
            Rewrite(
                list(self._engine.ledger), self._shift(), list(self._engine.ledger.strikes()),
                dict(self._permits), [Learnt(*learnt) for learnt in memory.learnt_ports().items()], dict(self._notes),
            )
        )  # fmt: skip

    # By the minute.

    def _note(self) -> None:
        self._timer = self._loop.call_later(EVERY, self._note)
        self._note_trust()
        self._note_ports()

    def _note_trust(self) -> None:
        shift = self._shift()
        for (site, account), at in self._engine.memory.take_trusted().items():
            self._send(Trusted(site, account, Wall(at + shift)))

    def _note_ports(self) -> None:
        learnt = self._engine.memory.learnt_ports()
        for port, web in learnt.items():
            if self._ports.get(port) is not web:
                self._send(Learnt(port, web))
        self._ports = learnt

    def _remembered(self) -> list[str]:
        """Write what the engine knows; a row that would be too large, or one too many, is left out and counted."""
        rows = [json.dumps(["wall", self._wall()])]
        for row in self._engine.memory.dump(self._engine.now):
            text = json.dumps(row, default=bytes.hex, separators=(",", ":"))
            if len(rows) < MEMORY_ROWS and len(text) < ROW_LIMIT:
                rows.append(text)
            else:
                self._engine.tally.add("memory.dropped")
        return rows

    def _note_lifted(self, ban: Ban) -> None:
        self._lifted.pop(ban.source, None)
        if len(self._lifted) >= LIFTED_LIMIT:
            del self._lifted[next(iter(self._lifted))]
            self._engine.tally.add("lifted.forgotten")
        self._lifted[ban.source] = ban.until

    def _strikes(self, former: Former) -> Strikes:
        source, evidence, times, end = former
        return Strikes(source, evidence, times, Wall(end + self._shift()))

    def _shift(self) -> Duration:
        return Duration(self._wall_ns() - self._mono_ns())

    def _wall(self) -> Wall:
        return Wall(self._wall_ns())


def _no_past(_wall: Wall) -> Iterator[Past]:
    return iter(())


def _nothing(_source: Source) -> list[dict[str, object]]:
    return []
