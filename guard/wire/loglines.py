r"""From the bytes of a log file to lines, and what stands at the head of a line: time, level, source file.

main/logger.c writes `[TIME] LEVEL[thread][call] FILE: text` to files. Its formatter `plain` and the console add a
line number and a function behind the file, and the console colours; syslog and journald put a time, a host and
`asterisk[pid]: ` in front, and then Asterisk leaves its own time out. All of these are read, and nothing else.

A message is cut after 8,191 bytes, its line end with it, so that the next line is glued on: a line as long as that is
two lines, and neither can be told from the other. And a text can hold line breaks, so a line without a head is what
is left of a message that broke.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MESSAGE_LIMIT = 8_191
"""Bytes that Asterisk writes of one message, the line end included if it still fits."""

_COLOUR = rb"(?:\x1b\[[\d;]{0,12}m){0,4}"
_STAMP = rb"[\w .,:/+-]{4,64}"
_LEVEL = rb"([A-Z]{3,16})"
_THREAD = rb"\[(\d{1,10})\](?:\[C-[0-9a-f]{8}\])?"
_FILE = rb"([\w./-]{1,64})"

_PLAIN = re.compile(rb"\[(%b)\] %b%b %b: " % (_STAMP, _LEVEL, _THREAD, _FILE))
_OUTER = (
    rb"(?:([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d))"
    rb" [\w.:-]{1,64} asterisk(?:\[\d{1,10}\])?: )?"
)
_PLACE = _FILE + rb"~:~\d{1,6}~ (?:in )?~\w{1,64}~: "
_ANY = re.compile(
    _OUTER
    + rb"(?:\[(%b)\] )?" % _STAMP
    + (rb"~%b~%b(?: %b: |: ~%b)" % (_LEVEL, _THREAD, _FILE, _PLACE)).replace(b"~", _COLOUR)
)
_BANNER = re.compile(rb"\[%b\] Asterisk [\w.~+-]{1,64} built by [^\n]*" % _STAMP)
"""What Asterisk writes first when it opens a file."""


class Head(NamedTuple):
    """The head of a line. `thread` is the number of the thread that wrote it, `end` is where the text begins."""

    time: bytes
    level: bytes
    thread: bytes
    file: bytes
    end: int


class LineCutter:
    """Cuts a byte stream into lines, in whatever pieces it arrives. Keeps at most one line."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> list[bytes]:
        """Return the lines that are now complete, without their ends. One over the limit is cut, but stays over it."""
        *lines, rest = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        self._rest = rest[: MESSAGE_LIMIT + 1]
        return lines

    def finish(self) -> list[bytes]:
        """Return a last line without its end."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def read_head(line: bytes) -> Head | None:
    """Read the head of a line; None if it has none, or if the line is as long as one that was cut."""
    if len(line) >= MESSAGE_LIMIT:
        return None
    match = _PLAIN.match(line)
    if match is not None:
        return Head(match[1], match[2], match[3], match[4], match.end())
    match = _ANY.match(line)
    if match is None or not (match[1] or match[2]):
        return None
    outer, own, level, thread, file, placed = match.groups()
    return Head(own or outer, level, thread, file or placed, match.end())


def is_banner(line: bytes) -> bool:
    """Tell whether Asterisk has just opened the file; the one line of its own that has no head."""
    return len(line) < MESSAGE_LIMIT and _BANNER.fullmatch(line) is not None
