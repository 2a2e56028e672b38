"""The folder of Asterisk's configuration files, read with bounds and without running or changing anything."""

from __future__ import annotations

import glob
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from guard.asterisk.conffile import read_conf

if TYPE_CHECKING:
    from guard.asterisk.conffile import Conf

FILE_LIMIT = 4_194_304
"""Bytes of one file; extensions of large PBXs are not read here, and pjsip.conf of 10,000 phones has 3 MB."""
MATCHES_LIMIT = 1_000
"""Files that one pattern may name."""


def read_folder_conf(path: Path) -> Conf:
    """Read a configuration of a folder; names in it are relative to that folder, as Asterisk takes them."""
    path = path.absolute()

    def find(name: str) -> list[tuple[Path, str | None]]:
        return [(file, read_text(file)) for file in find_files(path.parent, name)]

    return read_conf(path, find)


def read_text(path: Path, limit: int = FILE_LIMIT) -> str | None:
    """Return a file's text, whatever its encoding; None if it cannot be read or is no plain file.

    A byte that is no UTF-8 becomes a half character, so that the same bytes can be written again.
    """
    data = read_plain(path, limit)
    return None if data is None else data.decode("utf-8", "surrogateescape")


def read_plain(path: Path, limit: int = FILE_LIMIT) -> bytes | None:
    """Return a file's bytes; None if it cannot be read, is larger, or would let us wait, as a pipe does."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    return data if len(data) <= limit else None


def find_files(folder: Path, name: str) -> list[Path]:
    """Return the files of a name, which may be a pattern, in the order in which Asterisk reads them."""
    path = folder / name
    if not any(char in name for char in "*?["):
        return [path] if _is_there(path) else []
    # As in C, and not as in pathlib, `*` is no name that begins with a dot.
    return [Path(file) for file in sorted(glob.glob(str(path)))[:MATCHES_LIMIT]]  # noqa: PTH207


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
