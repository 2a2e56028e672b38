"""Text from the network, made fit to be shown.

A terminal obeys escape sequences, a line break forges a line of a log, a right-to-left mark turns an address around.
What is not plainly printable is shown as its escape. A backslash stays one, so text that was made printable before is
not changed again.
"""

from __future__ import annotations

LIMIT = 200
"""Characters of one text that anybody wants to see; Asterisk passes on values of 65 kB."""

# Letters and signs by their class, blank on every screen: they would hide text, or make two names look like one.
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def printable(text: str, limit: int = LIMIT) -> str:
    """Return a text of at most `limit` characters that a terminal, a table and a log can show as it is.

    Control characters, line breaks, marks of direction, blanks other than the space and halves of characters become
    escapes. A cut text ends in `…`, never inside an escape.
    """
    if len(text) <= limit and _is_plain(text):
        return text
    shown = [_show(char) for char in text[: limit + 1]]
    if sum(map(len, shown)) <= limit:
        return "".join(shown)
    kept, room = "", max(limit, 1) - 1
    for piece in shown:
        if len(kept) + len(piece) > room:
            break
        kept += piece
    return kept + "…"


def _is_plain(text: str) -> bool:
    return text.isprintable() and (text.isascii() or _BLANK.isdisjoint(text))


def _show(char: str) -> str:
    return char if _is_plain(char) else char.encode("unicode_escape").decode("ascii")
