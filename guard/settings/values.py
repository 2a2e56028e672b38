"""Readers of single values in astguard.yaml: text to a value, or ValueError that says what it should have been."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from guard.core.address import parse_host
from guard.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_SOCKET_PATH = 107  # bytes; sun_path of Linux holds 108 with its NUL


def host(text: str) -> str:
    """Read the name or address of a host to connect to."""
    if not text or len(text) > 253 or not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is not a host; write it like 127.0.0.1, ::1 or pbx.example.org")
    return text


def own_address(text: str) -> str:
    """Read an address of this machine to listen on."""
    try:
        parse_host(text)
    except AddressError:
        raise ValueError(
            f"{text!r} is not an address to listen on; write 127.0.0.1 or ::1, or one of this machine's own"
        ) from None
    return text


def username(text: str) -> str:
    """Read a user of manager.conf."""
    if not text or len(text) > 80 or not text.isprintable():
        raise ValueError(f"{text!r} is not a user of manager.conf")
    return text


def prefix(text: str) -> str:
    """Read what stands before the names of meters."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{0,40}", text):
        raise ValueError(f"{text!r} is not a prefix; it has at most 40 letters, digits, '_', '.' and '-'")
    return text


def path_in(folder: Path) -> Callable[[str], Path]:
    """Make a reader of a path, relative to a folder."""

    def file_path(text: str) -> Path:
        if not text.isprintable() or not text:
            raise ValueError(f"{text!r} is not a path")
        return folder / text

    return file_path


def socket_in(file_path: Callable[[str], Path]) -> Callable[[str], Path]:
    """Make a reader of the path of a socket from a reader of paths."""

    def socket_path(text: str) -> Path:
        path = file_path(text)
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise ValueError(f"the path of a socket has at most {MAX_SOCKET_PATH} bytes")
        return path

    return socket_path
