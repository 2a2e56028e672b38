"""`astguard allow`: who is never banned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.cli.client import ask, ask_list
from guard.cli.options import add_command, add_noun, given_length
from guard.cli.output import Output
from guard.cli.table import as_text, left, local_time, short_source, source, span, text
from guard.core.address import covers, parse_source, show_short
from guard.errors import AddressError
from guard.wire.control import Call, Request

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from guard.cli.options import Commands
    from guard.core.address import Source

KEEP = "until 'astguard allow remove' takes it off"
NAMED = 5
"""Lifted bans that are named; the rest are counted."""
LIST = (("SOURCE", source()), ("LEFT", left("left_seconds")), ("ORIGIN", text("origin")))


def add_to(commands: Commands) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(commands, "allow", "Who is never banned, whatever the rules say.")
    add_command(verbs, "list", _list, "List the allowlist, and where each entry comes from.", "allow list")
    for name, do, about in (
        ("add", _add, "Never ban an address or network, and lift the bans that touch it."),
        ("remove", _remove, "Take an address or network off that was added by command."),
        ("test", _test, "Tell whether an address or network is allowed, and by which entry."),
    ):
        parser = add_command(verbs, name, do, about, f"allow {name} 198.51.100.7", f"allow {name} 2001:db8:5::/64")
        parser.add_argument("address", metavar="ADDRESS")
        if name == "add":
            parser.add_argument("--for", dest="length", metavar="TIME", help="90s, 10m, 1h30m, 2d (usually for good)")


def _list(options: Namespace) -> int:
    Output(options).list(LIST, ask_list(options, Request(Call.ALLOWED)), "the allowlist is empty")
    return 0


def _add(options: Namespace) -> int:
    wanted = parse_source(options.address)
    answer = ask(options, Request(Call.ADD_ALLOW, wanted, given_length(options)))
    Output(options).done(answer, f"{show_short(wanted)} is allowed {_how_long(answer)}{_lifted(answer, wanted)}")
    return 0


def _how_long(answer: Mapping[str, object]) -> str:
    if answer.get("until") is not None:
        return f"for {span(answer.get('left_seconds'))}, until {local_time(as_text(answer['until']))}"
    origin = as_text(answer.get("origin"))
    return KEEP if origin == "command" else f"by {origin}"


def _lifted(answer: Mapping[str, object], wanted: Source) -> str:
    """Name whose bans ended. Nobody allowed is inside a ban, so the ban of a network around him let in all of it."""
    found = answer.get("lifted")
    sources = [as_text(source) for source in found] if isinstance(found, list) else []
    shown = [short_source(source) for source in sources]
    named = ", ".join(shown[:NAMED]) + (f" and {len(shown) - NAMED} more" if len(shown) > NAMED else "")
    wider = [short for short, source in zip(shown, sources, strict=True) if _is_around(source, wanted)]
    text = f"; lifted the ban{'s' if len(shown) > 1 else ''} of {named}" if shown else ""
    return text + (f", which lets in all of {', '.join(wider[:NAMED])}" if wider else "")


def _is_around(shown: str, wanted: Source) -> bool:
    try:
        around = parse_source(shown)
    except AddressError:  # of another version
        return False
    return around != wanted and covers(around, wanted)


def _remove(options: Namespace) -> int:
    wanted = parse_source(options.address)
    answer = ask(options, Request(Call.REMOVE_ALLOW, wanted))
    Output(options).done(answer, f"{show_short(wanted)} is no longer on the allowlist")
    return 0


def _test(options: Namespace) -> int:
    wanted = parse_source(options.address)
    answer = ask(options, Request(Call.TEST_ALLOW, wanted))
    sentence = f"{show_short(wanted)} is not allowed"
    if answer.get("allowed"):
        by = short_source(as_text(answer.get("by")))
        sentence = f"{show_short(wanted)} is allowed by {by} ({as_text(answer.get('origin'))})"
    Output(options).done(answer, sentence)
    return 0
