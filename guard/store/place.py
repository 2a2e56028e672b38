"""The file itself: its folder, its lock, its mode, and what is set aside.

Two daemons on one state would overwrite each other's bans, so whoever uses the file holds a lock beside it. The lock
is the kernel's (flock): it is gone with its holder, however that one ended.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from guard.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_PARTS = ("", "-wal", "-shm")


def make_folder(path: Path) -> None:
    """Make the folder of the file if only that is missing; StoreError says what to do if there is no place for it."""
    folder = path.parent
    try:
        folder.mkdir(FOLDER_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise StoreError(
                f"{folder} is no folder, so there is no place for the state {path.name}; {_REMEDY}"
            ) from None
    except FileNotFoundError:
        raise StoreError(
            f"there is no folder {folder} for the state, and none to make it in; make it (mkdir -p {folder}), or "
            "change 'state' in astguard.yaml"
        ) from None
    except OSError as error:
        raise StoreError(f"the folder {folder} for the state cannot be made: {error.strerror}; {_REMEDY}") from None


def lock(path: Path) -> int:
    """Claim the state for this process and return the descriptor that holds the claim.

    StoreError names the process that has it, or what stands in the way.
    """
    claim = path.with_name(path.name + ".lock")
    try:
        handle = os.open(claim, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        raise StoreError(f"cannot lock the state by {claim}: {error.strerror}; {_REMEDY}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(handle, 20, 0).decode(errors="replace").strip()
        os.close(handle)
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            who = f"another astguard (process {holder})" if holder.isdecimal() else "another astguard"
            raise StoreError(
                f"{who} runs on the state {path}; stop it first, or change 'state' in astguard.yaml"
            ) from None
        raise StoreError(f"cannot lock the state by {claim}: {error.strerror}; {_REMEDY}") from None
    with suppress(OSError):  # on a full disk nobody is named
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def make_file(path: Path) -> tuple[int, int]:
    """Make the file if it is missing, readable by nobody else, and return device and inode; OSError if that fails."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    try:
        found = os.fstat(handle)
        if found.st_mode & 0o077:
            os.fchmod(handle, FILE_MODE)
    finally:
        os.close(handle)
    return found.st_dev, found.st_ino


def identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of what stands at the path now; None if nothing does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def set_aside(path: Path, why: str, stamp: str) -> Path:
    """Give the file another name, which says why and when, and return that; OSError if it cannot be renamed."""
    aside = _free(path.with_name(f"{path.name}.{why}-{stamp}"))
    for part in reversed(_PARTS):  # the file itself goes last: a stop in between leaves it where it is
        with suppress(FileNotFoundError):
            path.with_name(path.name + part).rename(aside.with_name(aside.name + part))
    return aside


def _free(name: Path) -> Path:
    numbered, number = name, 1
    while numbered.exists():
        number += 1
        numbered = name.with_name(f"{name.name}.{number}")
    return numbered


_REMEDY = "run this as root, or change 'state' in astguard.yaml"
