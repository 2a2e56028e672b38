"""A mark on the disk's cache that says which supplement is being asked. It outlives the process, and costs no call.

A file of slots, mapped into memory: a byte is written before each call and after it, which takes a tenth of a
microsecond. The kernel keeps the page when the process is killed. A clean stop, and a reload, begin anew.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from guard.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SLOTS = 16
"""Supplements that may be asked before a ban."""
SLOT = 64
"""Bytes of one: what it does, then its name."""
_IDLE, _ASKED, _OFF = 0, 1, 2
_WHY = {
    _ASKED: "astguard was ended while it was being asked; did before_ban never return?",
    _OFF: "it was switched off before astguard was ended",
}


class MarkFile:
    """The mark of one life. `left_off` says of those that this one may not ask, why."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        """Take over the file, or make it; OSError if that cannot be."""
        assert len(names) <= SLOTS, "the settings allow no more"
        size = SLOTS * SLOT
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        try:
            old = os.pread(descriptor, size, 0).ljust(size, b"\0")
            os.ftruncate(descriptor, size)
            os.posix_fallocate(descriptor, 0, size)  # a full disk is told of now, not as SIGBUS at the first ban
            self._map = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        slots = [old[start : start + SLOT] for start in range(0, size, SLOT)]
        self.left_off = {
            name: _WHY.get(slot[0], "its mark is damaged")
            for slot in slots
            if slot[0] != _IDLE and (name := _name(slot)) in names
        }
        for number in range(SLOTS):
            name = names[number] if number < len(names) else ""
            state = _OFF if name in self.left_off else _IDLE
            self._map[number * SLOT : (number + 1) * SLOT] = bytes([state]) + name.encode()[: SLOT - 1].ljust(
                SLOT - 1, b"\0"
            )

    def enter(self, number: int) -> None:
        """Note that one is being asked."""
        self._map[number * SLOT] = _ASKED

    def leave(self, number: int) -> None:
        """Note that it has answered."""
        self._map[number * SLOT] = _IDLE

    def off(self, number: int) -> None:
        """Note that it is asked no more."""
        self._map[number * SLOT] = _OFF

    def clear(self) -> None:
        """Give everybody a new chance: a clean stop, or the administrator's word."""
        self._map[:] = bytes(SLOTS * SLOT)
        self._map.close()


def _name(slot: bytes) -> str:
    return printable(slot[1:].rstrip(b"\0").decode(errors="replace"))
