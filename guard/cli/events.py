"""`astguard events tail`: what happens, while it happens."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

from guard.cli.follow import follow
from guard.cli.options import UsageError, add_command, add_noun
from guard.cli.output import BOLD, GREEN, RED, YELLOW, Output, paint
from guard.cli.table import as_text, fill_raw, local_time, short_source, span, text
from guard.wire.stream import Kind, make_filter

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from guard.cli.options import Commands

RAW = tuple(
    (key.upper(), text(key))
    for key in (
        "at", "kind", "source", "outcome", "event", "service", "account", "transport", "port", "rule", "scope",
        "left_seconds", "strike", "alarm", "text",
    )
)  # fmt: skip
WHAT_WIDTH, SOURCE_WIDTH = 14, 20
"""Columns of `already_banned`, and of an IPv6 /64 such as `2001:db8:1234:1::/64`; a longer source moves its line."""
_COLOURS = {
    "ban": RED, "banned": RED, "would_ban": YELLOW, "alarm": YELLOW, "after_ban": YELLOW, "unban": GREEN,
    "expire": GREEN,
}  # fmt: skip


def add_to(commands: Commands) -> None:
    """Add the noun and its verb."""
    verbs = add_noun(commands, "events", "What happens, while it happens.")
    about = (
        "Show what happens until Ctrl-C: each security event with its outcome, bans and their ends, alarms. What is "
        "given has to hold for all that is shown: --outcome shows events alone, --rule bans and alarms."
    )
    tail = add_command(
        verbs, "tail", _tail, about, "events tail --kind ban,unban,alarm", "events tail --address 198.51.100.0/24",
        "events tail --outcome counted,banned -o json | jq -r .account",
    )  # fmt: skip
    tail.add_argument("--kind", metavar="KINDS", default="", help=f"of {', '.join(Kind)}; commas between")
    tail.add_argument("--address", metavar="ADDRESS", default="", help="an address or network around the source")
    tail.add_argument("--rule", metavar="NAME", default="", help="bans and alarms of this rule")
    tail.add_argument("--outcome", metavar="OUTCOMES", default="", help="counted, banned, held, ...; commas between")
    tail.add_argument("--count", metavar="N", type=_count, help="end after so many")


def _tail(options: Namespace) -> int:
    try:
        wanted = make_filter(options.kind, options.address, options.rule, options.outcome)
    except ValueError as error:
        raise UsageError(str(error)) from None
    write = _writer(options)
    for number, happened in enumerate(follow(options, wanted), 1):
        print(write(happened), flush=True)
        if number == options.count:
            break
    return 0


def _writer(options: Namespace) -> Callable[[dict[str, Any]], str]:
    """Choose how a line is written, and print the titles, which stand there before anything happens."""
    output = Output(options)
    if output.raw:
        if options.header:
            print("\t".join(title for title, _ in RAW), flush=True)
        return lambda happened: next(fill_raw(RAW, [happened], header=False))
    if output.for_programs:
        return json.dumps
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    if options.header:
        titles = "TIME      " + "WHAT".ljust(WHAT_WIDTH) + "  " + "SOURCE".ljust(SOURCE_WIDTH) + "  ABOUT"
        print(paint(titles[: width or None], BOLD), flush=True)
    return lambda happened: show(happened, width)


def show(happened: dict[str, Any], width: int = 0) -> str:
    """Write what happened as one line; an event of at most `width` columns (0: no limit), what matters more in full."""
    kind = as_text(happened.get("kind"))
    what = as_text(happened.get("outcome")) if kind == Kind.OUTCOME else kind
    clock = local_time(as_text(happened.get("at"))).rpartition(" ")[2]
    source = short_source(as_text(happened.get("source"))) or "-"
    line = f"{clock:8}  {what:{WHAT_WIDTH}}  {source:{SOURCE_WIDTH}}  {_about(kind, happened)}"
    if kind == Kind.OUTCOME and 0 < width < len(line):
        line = line[: width - 1] + "…"
    colour = _COLOURS.get(what)
    return line.replace(what, paint(what, colour), 1) if colour and what in line else line


def _about(kind: str, happened: dict[str, Any]) -> str:
    told = {key: as_text(value) for key, value in happened.items()}
    if kind == Kind.OUTCOME:
        account = told["account"] or "no account"
        return f"{account}: {told['event']}, {told['service']} by {told['transport']} at port {told['port']}"
    if kind == Kind.ALARM:
        return f"{told['alarm']}: {told['text']}"
    if kind in {Kind.BAN, Kind.WOULD_BAN}:
        kept = "" if happened.get("stored") in {True, None} or kind == Kind.WOULD_BAN else ", not on the disk"
        length = span(happened.get("left_seconds"))
        return f"{told['rule']}, {told['scope']} for {length}, strike {told['strike']}, {told['evidence']}{kept}"
    return f"{told.get('rule')}, strike {told.get('strike')}"


def _count(given: str) -> int:
    if not given.isascii() or not given.isdecimal() or not 0 < int(given) < 1_000_000_000:
        raise UsageError(f"--count: {given!r} is not a number of lines; write one from 1 on")
    return int(given)
