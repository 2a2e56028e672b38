"""`astguard bans`: who is banned, and changes by hand."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from guard.cli.choose import add_choice, add_scope, chooser
from guard.cli.client import ask, ask_list
from guard.cli.options import add_command, add_noun, agree, given_length
from guard.cli.output import Output, note
from guard.cli.table import as_text, left, local_time, short_source, since, source, span, text, time
from guard.core.address import Source, parse_source, show, show_short
from guard.core.units import format_duration
from guard.errors import ControlError
from guard.wire.control import USUAL_LENGTH, Call, Request, check_reason

if TYPE_CHECKING:
    from argparse import Namespace

    from guard.cli.options import Commands

LIST = (
    ("SOURCE", source()), ("RULE", text("rule")), ("SCOPE", text("scope")), ("STRIKE", text("strike")),
    ("SINCE", since("since")), ("LEFT", left("left_seconds")),
)  # fmt: skip
SHOW = (
    ("source", source()), ("rule", text("rule")), ("reason", text("reason")), ("scope", text("scope")),
    ("strike", text("strike")), ("offences", text("offences")), ("events", text("events")),
    ("evidence", text("evidence")), ("since", time("since")), ("until", time("until")),
    ("left", left("left_seconds")),
)  # fmt: skip
TRAIL = (
    ("AT", time("at")), ("EVENT", text("kind")), ("ACCOUNT", text("account")), ("FROM", source()),
    ("BY", text("transport")), ("PORT", text("port")),
)  # fmt: skip


def add_to(commands: Commands) -> None:
    """Add the noun and its verbs."""
    verbs = add_noun(commands, "bans", "Who is banned, and bans by hand.")
    lists = add_command(
        verbs, "list", _list, "List the active bans, all of them or those that are chosen.", "bans list",
        "bans list --rule pjsip-guessing --since 2h", "bans list -o json | jq -r '.[].source'",
    )  # fmt: skip
    add_choice(lists)
    add_scope(lists)
    about = "Show the ban of an address or network and what led to it, also if a ban of a wider network covers it."
    add_command(verbs, "show", _show, about, "bans show 198.51.100.7").add_argument("address", metavar="ADDRESS")
    about = "Let an address or network in again before its time. To never ban it again: astguard allow add."
    remove = add_command(verbs, "remove", _remove, about, "bans remove 198.51.100.7")
    remove.add_argument("address", metavar="ADDRESS")
    about = (
        "Lift all bans at once, for good; to let everybody in for a while and keep the bans in mind, use pause. It "
        "asks before, on a terminal; --yes answers that."
    )
    flush = add_command(verbs, "flush", _flush, about, "bans flush", "bans flush --yes")
    flush.add_argument("--yes", action="store_true", help="do not ask")
    about = (
        "Ban an address or network by hand. What is on the allowlist is never banned. Your own SSH address, the\n"
        "default gateway and the resolvers are refused without --force."
    )
    add = add_command(
        verbs, "add", _add, about, "bans add 198.51.100.7", "bans add 198.51.100.0/24 --for 1d --reason 'toll fraud'"
    )
    add.add_argument("address", metavar="ADDRESS")
    add.add_argument("--for", dest="length", metavar="TIME", help="90s, 10m, 1h30m, 2d (usually 1h)")
    add.add_argument("--reason", metavar="TEXT", default="", help="why, in one line, for whoever finds the ban")
    add.add_argument("--force", action="store_true", help="ban even what this machine or you depend on")


def _list(options: Namespace) -> int:
    is_chosen = chooser(options)
    bans = ask_list(options, Request(Call.BANS))
    chosen = [ban for ban in bans if is_chosen(ban)]
    Output(options).list(LIST, chosen, "no ban is like that" if bans else "nobody is banned")
    return 0


def _flush(options: Namespace) -> int:
    count = ask(options, Request(Call.STATUS)).get("bans")
    if count:
        agree(options, f"Lift all {count:,} bans?" if count != 1 else "Lift the one ban there is?")
    answer = ask(options, Request(Call.FLUSH_BANS))
    lifted = answer.get("bans")
    Output(options).done(
        answer, f"lifted {lifted:,} ban{'' if lifted == 1 else 's'}" if lifted else "nobody was banned"
    )
    return 0


def _show(options: Namespace) -> int:
    wanted = parse_source(options.address)
    ban = ask(options, Request(Call.BAN, wanted))
    if ban.get("source") != show(wanted):
        covering = short_source(as_text(ban.get("source")))
        note(f"{show_short(wanted)} has no ban of its own; the ban of {covering} covers it")
    output, trail = Output(options), ban.get("trail")
    output.one(SHOW, ban)
    if isinstance(trail, list) and trail and not output.for_programs:
        print()
        output.list(TRAIL, [trace for trace in trail if isinstance(trace, dict)], "")
    return 0


def _add(options: Namespace) -> int:
    wanted = parse_source(options.address)
    length = given_length(options) or USUAL_LENGTH
    request = Request(Call.ADD_BAN, wanted, length, check_reason(options.reason))
    if not options.force:
        _refuse_lifelines(wanted)
    ban = ask(options, request)
    until = local_time(as_text(ban.get("until")))
    Output(options).done(ban, f"banned {show_short(wanted)} for {format_duration(length)}, until {until}")
    return 0


def _refuse_lifelines(wanted: Source) -> None:
    from guard.cli.lifelines import in_danger, lifelines

    lost = in_danger(wanted, lifelines(os.environ))
    if lost:
        raise ControlError(
            f"a ban of {show_short(wanted)} would cut off {' and '.join(lost)}; nothing was changed, --force does it"
        )


def _remove(options: Namespace) -> int:
    wanted = parse_source(options.address)
    ban = ask(options, Request(Call.REMOVE_BAN, wanted))
    early = f"{span(ban.get('left_seconds'))} before its time" if ban.get("left_seconds") else "early"
    Output(options).done(ban, f"unbanned {show_short(wanted)}, {early}")
    return 0
