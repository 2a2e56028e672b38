"""The picture that `astguard top` draws, made of two answers of the daemon: lines of coloured pieces of text."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, NamedTuple

from guard.cli.output import BOLD, GREEN, RED, YELLOW
from guard.cli.table import as_text, short_source, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Pieces = list[tuple[str, str]]  # text and colour; none is empty
    Cells = Sequence[tuple[str, str]]

WIDE = 150
"""Columns from which on the tables stand side by side."""
GAP = "  "
KILO = 1_000
SMALLEST = (40, 10)
"""Columns and lines below which there is nothing to see."""


class Seen(NamedTuple):
    """What the daemon told at an instant of our own clock, in seconds; `problem` is why it did not tell."""

    at: float
    status: Mapping[str, Any]
    top: Mapping[str, Any]
    problem: str = ""


def rates(now: Seen, before: Seen) -> dict[str, float | None]:
    """Return what happened a second between two looks; None where that is not known, as after a restart."""
    told: dict[str, float | None] = {}
    for name, read in _COUNTS.items():
        new, old = read(now.status), read(before.status)
        same = now.status.get("pid") == before.status.get("pid") and now.at > before.at and not now.problem
        told[name] = round(max(new - old, 0) / (now.at - before.at), 1) if same else None
    return told


def picture(now: Seen, before: Seen, width: int, height: int, *, live: bool = True) -> list[Pieces]:
    """Return the lines of a screen of this size, none longer and no more of them."""
    width, height = max(width, SMALLEST[0]), max(height, SMALLEST[1])
    lines = [*_head(now, rates(now, before), live=live), []]
    room = height - len(lines)
    if width >= WIDE:
        half = (width - 3) // 2
        right = [*_accounts(now, room * 2 // 3 - 2), [], *_rules(now, room - room * 2 // 3 - 1)]
        lines += _beside(_sources(now, room - 1, half), right, half)
    else:
        most = max((room - 5) // 4, 1)  # five lines are titles and blanks
        accounts, rules = (min(most, len(now.top.get(name) or "-")) for name in ("accounts", "rules"))
        lines += _sources(now, room - 5 - accounts - rules, width)
        lines += [[], *_accounts(now, accounts), [], *_rules(now, rules)]
    return [_cut(line, width) for line in lines[:height]]


def _head(now: Seen, told: Mapping[str, float | None], *, live: bool) -> list[Pieces]:
    status, link = now.status, now.status.get("link") or {}
    state = as_text(link.get("state"))
    mode = as_text(status.get("mode"))
    shown = ("PAUSED: nobody is kept out", RED) if status.get("paused") else (mode, "" if mode == "enforce" else YELLOW)
    lag = link.get("lag_ms")
    first: Pieces = [
        ("astguard ", BOLD), (f"{as_text(status.get('version'))}, up {span(status.get('uptime_seconds'))}, ", ""),
        shown, (", link ", ""), (state or "unknown", GREEN if state == "up" else RED), (f", lag {as_text(lag)} ms", ""),
    ]  # fmt: skip
    if live:
        first.append((", q quits", ""))
    second: Pieces = []
    for name, value in told.items():
        second += [(f"{name} ", ""), (f"{_rate(value)}/s" + GAP, BOLD)]
    second += [("banned ", ""), (_number(status.get("bans")), BOLD)]
    lines = [first, second]
    warnings = status.get("warnings") or []
    if now.problem:
        lines.append([(now.problem, RED)])
    elif warnings:
        more = f" (and {len(warnings) - 1} more, see 'astguard status')" if len(warnings) > 1 else ""
        lines.append([("warning ", RED), (as_text(warnings[0].get("text")) + more, "")])
    return lines


def _sources(now: Seen, rows: int, width: int) -> list[Pieces]:
    def cells(item: Mapping[str, Any]) -> Cells:
        ban = item.get("ban")
        source = (short_source(as_text(item.get("source"))), "" if ban else YELLOW)
        by = f"{as_text(ban.get('rule'))}, {as_text(ban.get('scope'))}" if ban else "-"
        left = span(ban.get("left_seconds")) if ban else "-"
        return source, *_counted(now, item, "accounts"), (by, RED if ban else ""), (left, "")

    longest = max(24, min(43, width - 56))  # of an IPv6 /64; where there is room, of any network
    titles = (("SOURCE", longest), ("TRIES", -6), ("/MIN", -6), ("ACCTS", -6), ("BANNED BY", 22), ("LEFT", 6))
    return _table(titles, map(cells, now.top.get("sources") or ()), rows, "nobody attacks")


def _accounts(now: Seen, rows: int) -> list[Pieces]:
    def cells(item: Mapping[str, Any]) -> Cells:
        return (as_text(item.get("account")) or "(none)", ""), *_counted(now, item, "sources")

    titles = (("ACCOUNT", 24), ("TRIES", -6), ("/MIN", -6), ("SOURCES", -7))
    return _table(titles, map(cells, now.top.get("accounts") or ()), rows, "no account is attacked")


def _rules(now: Seen, rows: int) -> list[Pieces]:
    def cells(item: Mapping[str, Any]) -> Cells:
        name, *numbers = (as_text(item.get("rule")), _number(item.get("bans")), _number(item.get("observed")))
        return (name, ""), *((number, "") for number in numbers)

    titles = (("RULE", 24), ("BANS", -6), ("OBSERVED", -8))
    return _table(titles, map(cells, now.top.get("rules") or ()), rows, "no rule has banned since the start")


def _counted(now: Seen, item: Mapping[str, Any], others: str) -> Cells:
    tries, seconds = item.get("attempts"), now.top.get("seconds")
    each = (
        _number(round(tries * 60 / seconds)) if isinstance(tries, int) and isinstance(seconds, int) and seconds else "?"
    )
    return (_number(tries), BOLD), (each, ""), (_number(item.get(others)), "")


def _table(titles: Sequence[tuple[str, int]], items: Iterable[Cells], rows: int, empty: str) -> list[Pieces]:
    """Lay out cells below their titles; a width is that of the column, negative for numbers, which end together."""
    widths = [width for _, width in titles]
    lines = [_row([(title, BOLD) for title, _ in titles], widths)]
    found = [_row(cells, widths) for cells in items]
    return lines + (found or [[(empty, "")]])[: max(rows, 1)]


def _row(cells: Cells, widths: Sequence[int]) -> Pieces:
    pieces: Pieces = []
    for (text, colour), width in zip(cells, widths, strict=True):
        shown = _fit(text, abs(width))
        blank = " " * (abs(width) - _columns(shown))
        pieces += [(blank, ""), (shown, colour)] if width < 0 else [(shown, colour), (blank, "")]
        pieces.append((GAP, ""))
    return [piece for piece in pieces[:-1] if piece[0]]


def _beside(left: list[Pieces], right: list[Pieces], width: int) -> list[Pieces]:
    lines = []
    for number in range(max(len(left), len(right))):
        one = _cut(left[number], width) if number < len(left) else []
        other = right[number] if number < len(right) else []
        lines.append([*one, (" " * (width - sum(_columns(text) for text, _ in one) + 3), ""), *other])
    return lines


def _cut(line: Pieces, width: int) -> Pieces:
    kept: Pieces = []
    for text, colour in line:
        room = width - sum(_columns(piece) for piece, _ in kept)
        if room > 0 and text:
            kept.append((_fit(text, room), colour))
    return kept


def _fit(text: str, width: int) -> str:
    """Cut a text to so many columns of a terminal."""
    if _columns(text) <= width:
        return text
    while text and _columns(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _columns(text: str) -> int:
    """Return how many columns a terminal takes for a text that is fit to be shown."""
    if text.isascii():
        return len(text)
    marks = sum(unicodedata.category(char) in {"Mn", "Me"} for char in text)
    return len(text) - marks + sum(unicodedata.east_asian_width(char) in "WF" for char in text)


def _number(value: object) -> str:
    """Write a number in at most six columns."""
    if not isinstance(value, int):
        return as_text(value) or "?"
    if value < 100 * KILO:
        return f"{value:,}"
    return f"{value // KILO}k" if value < 10 * KILO**2 else f"{value // KILO**2}M"


def _rate(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _count_of(name: str) -> Callable[[Mapping[str, Any]], int]:
    def read(status: Mapping[str, Any]) -> int:
        counts = status.get("counts")
        value = counts.get(name) if isinstance(counts, dict) else 0
        return value if isinstance(value, int) else 0

    return read


def _dropped(status: Mapping[str, Any]) -> int:
    firewall = status.get("firewall")
    value = firewall.get("dropped") if isinstance(firewall, dict) else 0
    return value if isinstance(value, int) else 0


_COUNTS = {
    "events": _count_of("events"), "attempts": _count_of("attempts.opened"), "bans": _count_of("bans.added"),
    "dropped packets": _dropped,
}  # fmt: skip
