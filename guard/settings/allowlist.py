"""The entries of the allowlist: addresses and networks, which are read here, and names, which are resolved later."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import Source, length, parse_source

if TYPE_CHECKING:
    from guard.settings.mistakes import Place

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_ADDRESS_LIKE = re.compile(r".*[:/%].*|(?:.*\.)?[0-9]+\.?", re.ASCII)  # no name of a host ends in a number


class AllowedSource(NamedTuple):
    """An address or network on the allowlist, and where it is written."""

    source: Source
    place: Place


class AllowedName(NamedTuple):
    """The name of a host on the allowlist, in small letters and without a last dot, and where it is written."""

    name: str
    place: Place


def allowed(text: str) -> Source | str:
    """Read an entry, a name as str; ValueError says what it should have been."""
    if not _ADDRESS_LIKE.fullmatch(text):
        name = text.removesuffix(".")
        if not _NAME.fullmatch(name) or len(name) > 253:
            raise ValueError(f"{text!r} is not an address, a network or the name of a host")
        return name.lower()
    source = parse_source(text)
    if length(source) == 0:
        raise ValueError(f"{text!r} allows everybody; to watch without bans, write 'mode: observe'")
    return source
