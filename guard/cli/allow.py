"""`astguard allow`: who is never banned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.cli.client import ask, ask_list
from guard.cli.options import add_command, add_noun
from guard.cli.output import Output
from guard.cli.table import as_text, short_source, source, text
from guard.core.address import parse_source, show_short
from guard.wire.control import Call, Request

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from guard.cli.options import Commands

KEEP = "until 'astguard allow remove' takes it off"
NAMED = 5
"""Lifted bans that are named; the rest are counted."""
LIST = (("SOURCE", source()), ("ORIGIN", text("origin")))


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


def _list(options: Namespace) -> int:
    Output(options).list(LIST, ask_list(options, Request(Call.ALLOWED)), "the allowlist is empty")
    return 0


def _add(options: Namespace) -> int:
    wanted = parse_source(options.address)
    answer = ask(options, Request(Call.ADD_ALLOW, wanted))
    Output(options).done(answer, f"{show_short(wanted)} is allowed {KEEP}{_lifted(answer)}")
    return 0


def _lifted(answer: Mapping[str, object]) -> str:
    """Name whose bans ended: the ban of a network let all of it in again."""
    found = answer.get("lifted")
    sources = [short_source(as_text(source)) for source in found] if isinstance(found, list) else []
    named = ", ".join(sources[:NAMED]) + (f" and {len(sources) - NAMED} more" if len(sources) > NAMED else "")
    return f"; lifted the ban{'s' if len(sources) > 1 else ''} of {named}" if sources else ""


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
