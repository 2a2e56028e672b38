"""Files changed with care: whole or not at all, with the owner and mode they had, and never over somebody's edit.

A file is written beside its place and renamed over it, so nobody ever reads half of it, and a full disk changes
nothing. What is at its place right before is compared with what the change was made from.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from typing import TYPE_CHECKING, NamedTuple

from guard.errors import HostError

if TYPE_CHECKING:
    from pathlib import Path

FILE_LIMIT = 4_194_304


class Owner(NamedTuple):
    """Whom a file belongs to, and its mode."""

    uid: int
    gid: int
    mode: int


def load(path: Path) -> bytes | None:
    """Return a file's bytes, None if there is none; HostError if it cannot be read or is no text to be edited."""
    try:
        # Not to wait for whoever should write into a pipe of that name.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise HostError(f"{path} is no plain file; nothing was changed")
            data = file.read(FILE_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}; run this as root") from None
    if len(data) > FILE_LIMIT or b"\0" in data:
        what = "it holds zero bytes, so it is no text" if b"\0" in data else f"it has more than {FILE_LIMIT} bytes"
        raise HostError(f"{path} is not edited: {what}")
    return data


def owner_of(path: Path) -> Owner:
    """Return whom a file or folder belongs to."""
    status = path.stat()
    return Owner(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))


def real_path(path: Path, inside: Path) -> Path:
    """Follow links to the file that is meant; HostError if someone who is not root leads us out of the folder.

    Asterisk's user owns its configuration. A link of his may not have root write into a file elsewhere.
    """
    real = path.resolve()
    for part in (path, *path.parents):
        with contextlib.suppress(OSError):
            status = part.lstat()
            if (
                stat.S_ISLNK(status.st_mode)
                and status.st_uid not in (0, os.geteuid())
                and not real.is_relative_to(inside.resolve())
            ):
                raise HostError(
                    f"{part} is a link to {real}, made by user {status.st_uid}; put a file there, or do it by hand"
                )
    return real


def check_writable(path: Path) -> None:
    """Raise HostError if a change of this file would fail; asked before the first of several changes."""
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not os.access(folder, os.W_OK) or os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise HostError(f"{path} cannot be written: {folder} is read-only, or this is not root; nothing was changed")
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_nlink > 1:
            raise HostError(
                f"{path} has a second name (a hard link), which would keep the old text; nothing was changed"
            )


def replace(path: Path, before: bytes | None, after: bytes | None, owner: Owner) -> None:
    """Write or, with `after` None, remove a file, if it still is what it was `before`; HostError if not.

    `owner` is for a new file and its folder; one that is there keeps what it has.
    """
    try:
        if load(path) != before:
            raise HostError(f"{path} was changed by somebody else just now; run this again")
        if after is None:
            path.unlink(missing_ok=True)
        else:
            _write(path, after, owner if before is None else owner_of(path), None if before is None else path)
        _sync(path.parent)
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}") from None


def make_folder(folder: Path, owner: Owner) -> list[Path]:
    """Make a folder and those above it that are missing; return which were made."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        try:
            path.mkdir(mode=0o700)
            os.chown(path, owner.uid, owner.gid)
            path.chmod(owner.mode)
        except OSError as error:
            raise HostError(f"{path} cannot be made: {error.strerror}; run this as root") from None
    return missing


def _write(path: Path, data: bytes, owner: Owner, like: Path | None) -> None:
    beside = path.with_name(f".{path.name}.astguard-{secrets.token_hex(6)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchown(file.fileno(), owner.uid, owner.gid)
            os.fchmod(file.fileno(), owner.mode)
            if like is not None:
                _keep_attributes(like, file.fileno())
            os.fsync(file.fileno())
        beside.rename(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _keep_attributes(path: Path, descriptor: int) -> None:
    """Keep ACLs and labels, where the file system has them."""
    with contextlib.suppress(OSError):
        for name in os.listxattr(path):
            with contextlib.suppress(OSError):
                os.setxattr(descriptor, name, os.getxattr(path, name))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
