"""Opens the state at a start: claims it, sets aside what cannot be used, and reads what was kept."""

from __future__ import annotations

import logging
import os
import sqlite3
from typing import TYPE_CHECKING

from guard.errors import StoreError, StoreUnreadable
from guard.store import place
from guard.store.history import Past, read_history
from guard.store.schema import connect, is_busy, is_damage
from guard.store.state import State, load, read_trail
from guard.store.writer import Writer, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from guard.core.address import Source
    from guard.core.units import Instant, Wall

log = logging.getLogger("astguard")


class Claim:
    """The state at a path, claimed for this process until `release`."""

    def __init__(self, path: Path) -> None:
        """Claim it; StoreError if there is no place for it, or another process has it."""
        place.make_folder(path)
        self.path = path
        self.problem = ""
        self._unread = ""
        self._handle = place.lock(path)

    def read(self, wall: Wall, now: Instant) -> State:
        """Read what was kept; a file that cannot be used is set aside, and the state is empty then.

        If the disk refuses, the state is empty too, and `problem` says why. StoreError if the file may not be used.
        """
        try:
            place.make_file(self.path)
            return self._load(wall, now)
        except StoreUnreadable as error:
            return self._start_anew(error.kind, error)
        except PermissionError as error:
            raise StoreError(
                f"the state {self.path} cannot be opened: {error.strerror}; run this as root, or change 'state' in "
                "astguard.yaml"
            ) from None
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and is_damage(error):
                return self._start_anew("damaged", error)
            if is_busy(error):
                raise StoreError(
                    f"the state {self.path} is held by another program ({error}); end that one, then start again"
                ) from None
            self.problem = f"{self.path}: {error}"
        try:  # a full disk has no room for the file that several readers of a WAL share; one alone needs none
            return self._load(wall, now, alone=True)
        except (StoreError, sqlite3.Error, OSError):
            self._unread = "unread"
            return State()

    def writer(self, on_written: Callable[[int, str], None], on_behind: Callable[[], None]) -> Writer:
        """Make the writer; not started yet."""
        return Writer(self.path, on_written=on_written, on_behind=on_behind, behind=self.problem, unread=self._unread)

    def trail(self, source: Source) -> list[dict[str, object]]:
        """Return the events that led to the last ban of a source; nothing if none are known or can be read."""
        try:
            return read_trail(self.path, source)
        except sqlite3.Error as error:
            log.warning("what led to a ban cannot be read: %s", error)
            return []

    def history(self, wall: Wall) -> Iterator[Past]:
        """Give the bans of the past, the newest first; StoreError if they cannot be read."""
        try:
            yield from read_history(self.path, wall)
        except sqlite3.Error as error:
            raise StoreError(f"the history in {self.path} cannot be read: {error}") from None

    def release(self) -> None:
        """Let another process have it."""
        os.close(self._handle)

    def _load(self, wall: Wall, now: Instant, *, alone: bool = False) -> State:
        connection = connect(self.path, alone=alone)
        try:
            return load(connection, wall, now)
        finally:
            connection.close()

    def _start_anew(self, kind: str, error: Exception) -> State:
        state = State()
        try:
            state.aside = place.set_aside(self.path, kind, stamp())
        except OSError as fault:
            self.problem = f"{self.path} is of no use ({error}) and cannot be set aside: {fault.strerror}"
        else:
            log.error(
                "the state %s cannot be used: %s; it is kept as %s, and what the kernel holds is taken over",
                self.path, error, state.aside.name,
            )  # fmt: skip
        return state
