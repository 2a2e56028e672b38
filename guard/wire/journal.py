"""Lines for systemd's journal, with fields that can be asked for: `journalctl ASTGUARD_ADDRESS=198.51.100.7`.

A datagram is a field a line, `NAME=value`. A value with a line break in it has its length before it instead, or it
could say another field's name (systemd.io, "Native Journal Protocol"). Every value is bounded and printable: what a
journal holds is shown on terminals.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from guard.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELD_LIMIT = 1_000
"""Characters of one line of a field; the longest real one is the remedy in a warning, some 300."""
LINES_LIMIT = 200
"""Lines of one field: a traceback's; what is beyond them is cut."""
FIELDS_LIMIT = 32
"""Fields of one line of the journal."""

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


class MessageId(StrEnum):
    """What a line of the journal is about: `journalctl MESSAGE_ID=...`. They stay as they are for ever."""

    BAN = "be0408f5a33343e591e566d9a3f95fae"
    WOULD_BAN = "4465eacbb14a45458a44491408abb4c4"
    UNBAN = "647440410c6c48e6918a658f807932ee"
    EXPIRE = "5dbad335909a4c42aea653a464123093"
    ALARM = "ea9ec717d0f94923ab4f5625ab76aaf5"
    LINK_UP = "0245e84943e9400e8aac535d9b7e7254"
    LINK_LOST = "fc25d5fb8e2f424e87953e7e29feae2f"
    SELF_TEST_FAILED = "02ddae1ec7bb49219882838f4c97ec95"
    ALLOW = "a6e7c06434e24c89b370eda690ca6f0a"
    DISALLOW = "d67398961d924862836def258a40948c"
    PAUSE = "661e258022054011b45ff16843d96b76"
    RESUME = "ee8e7d124ec7446c9e3c33571fea8ecb"
    RELOAD = "acd08c95eb264c02a1cc8b491a7f1e6c"
    NOT_RELOADED = "1ba155ce9cf24bb8becb0599e74fb493"
    COMMAND = "bfd13d9443dd4239bd624789568d5613"


class About(NamedTuple):
    """What a line is about, and what is known of it."""

    kind: MessageId
    fields: dict[str, object]

    def named(self) -> dict[str, str]:
        """Return the fields as the journal has them, `ASTGUARD_NAME`, without those that are None."""
        named = {_name(name): str(value) for name, value in self.fields.items() if value is not None}
        return {"MESSAGE_ID": self.kind.value, **named}


def about(kind: MessageId, **fields: object) -> dict[str, About]:
    """Return what goes into `extra` of a call to logging. Only who writes into a journal makes text of it."""
    return {"about": About(kind, fields)}


@lru_cache(maxsize=FIELDS_LIMIT)
def _name(name: str) -> str:
    return f"ASTGUARD_{name.upper()}"


def write_line(fields: Mapping[str, str]) -> bytes:
    """Return the datagram of one line of the journal. It fits any socket: its size is bounded."""
    assert len(fields) <= FIELDS_LIMIT, "fields are named in our code"
    for name in fields:
        _check(name)
    values = "".join(fields.values())
    if values.isascii() and values.isprintable() and len(values) <= FIELD_LIMIT:  # nearly every line
        return "".join([f"{name}={value}\n" for name, value in fields.items()]).encode()
    return b"".join(_write_field(name, readable(value).encode()) for name, value in fields.items())


def _write_field(name: str, data: bytes) -> bytes:
    if b"\n" in data:
        return b"%s\n%s%s\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
    return b"%s=%s\n" % (name.encode(), data)


@lru_cache(maxsize=128)
def _check(name: str) -> None:
    assert _NAME.fullmatch(name), f"{name!r} is no name of a field"


def readable(text: str) -> str:
    """Return a text of several lines of which each is bounded and can be shown; too many end in a line that says so."""
    lines = text.split("\n")
    if len(lines) > LINES_LIMIT:
        lines = [*lines[: LINES_LIMIT - 1], f"… and {len(lines) - LINES_LIMIT + 1} lines more"]
    return "\n".join(printable(line, FIELD_LIMIT) for line in lines)
