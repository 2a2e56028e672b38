"""The disk of the simulation: the real store and a real SQLite file, written without a thread, with faults on order."""

from __future__ import annotations

import os
import sqlite3

from guard.core.units import SECOND
from guard.store import writer
from guard.store.batch import write
from guard.store.opening import Claim
from tests.sim.clockwork import Crash


class Disk:
    """What can go wrong with it."""

    def __init__(self, chance, note):
        self.chance = chance
        self.note = note
        self.fails = 0  # so many transactions from now on
        self.slow = 0.0  # seconds that a transaction takes at the most
        self.crash_in = None
        self.crash_after = False
        self.commits = 0
        self.refused = 0

    def write(self, connection, records):
        """Write as guard.store.batch does, or fail as SQLite does."""
        records = list(records)
        if self.crash_in is not None:
            self.crash_in -= 1
            if self.crash_in < 0:
                self.crash_in = None
                if self.crash_after:
                    write(connection, records)
                raise Crash
        if self.fails:
            self.fails -= 1
            self.refused += 1
            self.note("disk refuses")
            raise sqlite3.OperationalError(self.chance.choice(("disk I/O error", "database or disk is full")))
        write(connection, records)
        self.commits += 1
        self.note(f"disk has {len(records)}")


class Writer(writer.Writer):
    """The real one, whose thread is a row of timers."""

    def __init__(self, life, *arguments, **options):
        super().__init__(*arguments, **options)
        self._life = life
        self._timer = None
        self._soon = False
        life.writers.append(self)

    def start(self):
        self._plan()

    def put(self, record):
        if self._life.dead:
            return True
        taken = super().put(record)
        if self._life.chance.random() < 0.03 and not self._life.disk.slow and self._timer is not None:
            self._turn()  # the thread may get its turn between any two records
        self._plan(soon=True)
        return taken

    def hurry(self):
        super().hurry()
        self._plan(soon=True)

    def stop(self, patience):
        if self._timer is not None:
            self._timer.cancel()
        self._stopping = True
        if self._life.disk.slow > patience:
            return False
        while self._queue:
            self._turn()
        self._close()
        return True

    def _plan(self, *, soon=False):
        if self._life.dead or self._stopping or (self._soon and self._timer is not None):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._soon = soon or bool(self._queue)
        disk, now = self._life.disk, self._life.clock.mono / SECOND
        if self._soon:
            wait = disk.chance.choice((0.0005, 0.003, writer.GROUP)) + disk.chance.random() * disk.slow
        else:
            wait = max(0.001, (self._retry_at if self._problem else self._tidy_at) - now)
        self._timer = self._life.loop.call_later(wait, self._go)

    def _go(self):
        self._timer = None
        if not self._life.dead:
            self._turn()
            self._tidy()
            self._plan()


class SimClaim(Claim):
    """The real claim, which knows whose it is."""

    life = None

    def __init__(self, path):
        super().__init__(path)
        self.life.claims.append(self)

    def read(self, wall, now):
        self.life.read_at = (self.life.clock.mono, self.life.clock.wall)
        return super().read(wall, now)

    def writer(self, on_written, on_behind):
        return Writer(
            self.life, self.path, on_written=on_written, on_behind=on_behind, behind=self.problem, unread=self._unread
        )

    def release(self):
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
