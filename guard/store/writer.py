"""The one thread that writes: records come in, groups of them go to the disk, and what is there is told.

A commit takes as long as the disk does, and whoever reports a ban waits for it; so records that come meanwhile go
together, and commits are never closer than GROUP apart unless somebody waits. When the disk refuses, nothing piles up:
what cannot be written is given up, all but a bounded part for the history, and once the disk may take it again the
writer asks for all that is true then.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from guard.core.units import Wall
from guard.errors import StoreUnreadable
from guard.store import place
from guard.store.batch import tidy, write
from guard.store.records import Banned, Ended, Rewrite
from guard.store.schema import connect, is_damage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from guard.store.records import Record

log = logging.getLogger("astguard")

GROUP = 0.05
"""Seconds between two commits, so that an attack does not keep the disk busy that Asterisk records calls on."""
GROUP_LIMIT = 5_000
"""Records in one transaction."""
QUEUE_LIMIT = 50_000
"""Records that wait; beyond, what is true is written anew when the disk has caught up."""
KEPT_LIMIT = 10_000
"""Records that are kept for the history while the disk refuses."""
RETRY_FIRST = 1.0
RETRY_LAST = 60.0
"""Seconds until a disk that refused is tried again, doubling from first to last."""
TIDY = 60.0
TIDY_ROWS = 5_000
"""Seconds, or records, from one tidying to the next."""


class Writer:
    """Owns the file while it runs. `on_written` and `on_behind` are called in its thread.

    `on_written(count, problem)`: the first `count` records put since the start are dealt with; they are on the disk if
    `problem` is empty. `on_behind()`: the disk may take records again; put a Rewrite, all else is given up until then.
    It begins so with a problem in `behind`. A file that could not be read is set aside before it is written, by the
    word in `unread`.
    """

    def __init__(
        self,
        path: Path,
        *,
        on_written: Callable[[int, str], None],
        on_behind: Callable[[], None],
        behind: str = "",
        unread: str = "",
    ) -> None:
        self.overflows = 0
        self.dropped = 0
        self.commits = 0
        self._path = path
        self._on_written = on_written
        self._on_behind = on_behind
        self._queue: deque[Record] = deque()
        self._wakeup = threading.Condition()
        self._hurry = False
        self._stopping = False
        self._taken = 0
        self._problem = behind  # what stands in the way; empty if nothing does
        self._unread = unread
        self._kept: deque[Record] = deque()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._retry_in = RETRY_FIRST
        self._retry_at = 0.0
        self._tidy_at = 0.0
        self._untidied = 0
        self._shift = time.time_ns() - time.monotonic_ns()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, record: Record) -> bool:
        """Hand over a record; False if too many wait: it is given up, and everything will be written anew."""
        with self._wakeup:
            if len(self._queue) >= QUEUE_LIMIT and not isinstance(record, Rewrite):
                self.overflows += 1
                self._problem = self._problem or f"over {QUEUE_LIMIT} records wait for the disk"
                return False
            self._queue.append(record)
            self._wakeup.notify()
        return True

    def hurry(self) -> None:
        """Let the next commit not wait for others to join it: somebody waits for its answer."""
        with self._wakeup:
            self._hurry = True
            self._wakeup.notify()

    def stop(self, patience: float) -> bool:
        """Write what waits and end the thread; False if that took longer than `patience` seconds."""
        with self._wakeup:
            self._stopping = True
            self._wakeup.notify()
        if self._thread.ident is not None:
            self._thread.join(patience)
        return not self._thread.is_alive()

    # In the thread.

    def _run(self) -> None:
        try:
            while self._wait():
                started = time.monotonic()
                self._turn()
                self._pause(started + GROUP)
                self._tidy()
        finally:
            self._close()

    def _turn(self) -> None:
        """Deal with one group of records, and tell how far that goes."""
        group = self._take()
        if self._problem:
            self._go_on(group)
        else:
            self._write(group)
        self._on_written(self._taken, self._problem)

    def _wait(self) -> bool:
        """Wait for something to do; False if the end has come and all is written."""
        with self._wakeup:
            while not self._queue:
                if self._stopping:
                    return False
                due = self._retry_at if self._problem else self._tidy_at
                left = due - time.monotonic()
                if left <= 0:
                    return True
                self._wakeup.wait(left)
        return True

    def _take(self) -> list[Record]:
        with self._wakeup:
            group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP_LIMIT))]
            self._hurry = self._hurry and bool(self._queue)
        self._taken += len(group)
        return group

    def _pause(self, until: float) -> None:
        with self._wakeup:
            while not (self._hurry or self._stopping) and (left := until - time.monotonic()) > 0:
                self._wakeup.wait(left)

    def _write(self, group: list[Record]) -> None:
        if not group:
            return
        try:
            write(self._open(), group)
        except (sqlite3.Error, OSError, StoreUnreadable) as error:
            self._fail(error, group)
        except Exception as error:
            log.exception("a fault in the store; please report this")
            self._fail(error, [])  # what makes it fail is not tried again
            self._kept.clear()
            self.dropped += len(group)
        else:
            self.commits += 1
            self._untidied += len(group)

    def _go_on(self, group: list[Record]) -> None:
        """Try again if it is time, and somebody has given all that is true; until then give up what comes."""
        whole = next((number for number, record in enumerate(group) if isinstance(record, Rewrite)), None)
        if whole is None:
            self._keep(group)
            if time.monotonic() >= self._retry_at:
                self._retry_at = time.monotonic() + RETRY_LAST  # it is on its way then
                self._on_behind()
            return
        self._keep(group[:whole])
        self._problem = ""
        self._write([*self._kept, *group[whole:]])
        if not self._problem:
            self._kept.clear()
            self._retry_in = RETRY_FIRST

    def _keep(self, group: list[Record]) -> None:
        for record in group:
            if isinstance(record, Banned | Ended):
                if len(self._kept) >= KEPT_LIMIT:
                    self._kept.popleft()
                    self.dropped += 1
                self._kept.append(record)

    def _fail(self, error: Exception, group: list[Record]) -> None:
        self._problem = f"{self._path}: {error}"
        self._keep(group)
        if isinstance(error, sqlite3.Error) and is_damage(error):
            self._set_aside("damaged")
        elif isinstance(error, StoreUnreadable):
            self._set_aside(error.kind)
        self._close()
        self._retry_at = time.monotonic() + self._retry_in
        self._retry_in = min(self._retry_in * 2, RETRY_LAST)

    def _open(self) -> sqlite3.Connection:
        """Return the connection to the file that stands at the path; somebody may have taken it away."""
        if self._connection is not None and place.identity(self._path) != self._file:
            self._close()
            raise OSError(f"{self._path} was taken away; it is made again")
        if self._unread:
            place.set_aside(self._path, self._unread, stamp())
            self._unread = ""
        if self._connection is None:
            self._file = place.make_file(self._path)
            self._connection = connect(self._path)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _set_aside(self, kind: str) -> None:
        self._close()
        try:
            aside = place.set_aside(self._path, kind, stamp())
        except OSError as error:
            log.error(  # noqa: TRY400 - the line says all
                "the state %s is %s and cannot be set aside: %s", self._path, kind, error
            )
        else:
            log.error("the state %s is %s; it is kept as %s, and a new one is made", self._path, kind, aside.name)

    def _tidy(self) -> None:
        if self._problem or (time.monotonic() < self._tidy_at and self._untidied < TIDY_ROWS):
            return
        self._tidy_at, self._untidied = time.monotonic() + TIDY, 0
        try:
            # A clock that is set a year ahead, and back, may not make anything be forgotten: we have not lived so long.
            wall = Wall(min(time.time_ns(), time.monotonic_ns() + self._shift))
            self.dropped += tidy(self._open(), wall)
        except (sqlite3.Error, OSError, StoreUnreadable) as error:
            self._fail(error, [])
            self._on_written(self._taken, self._problem)


def stamp() -> str:
    """Name this moment, for a file."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime())
