"""`astguard history`: bans past and present."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.cli.choose import WHEN, add_choice, chosen_rule, chosen_source, chosen_time
from guard.cli.client import ask_list
from guard.cli.options import UsageError, add_command
from guard.cli.output import Output, note
from guard.cli.table import Reader, as_text, left, local_time, source, text
from guard.core.address import Source
from guard.wire.control import Call, Request
from guard.wire.history import LIMIT, USUAL_LIMIT, Wanted

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from guard.cli.options import Commands

_ENDED = {"unban": "lifted", "replace": "replaced"}


def _ended(ban: Mapping[str, object]) -> str:
    """Say how a ban ended; when, if that was not the end of its time."""
    how = ban.get("ended")
    if how is None:
        return "in force"
    if how == "expire":
        return "on time"
    return f"{_ENDED.get(as_text(how), as_text(how))} {local_time(as_text(ban.get('ended_at')))[11:-3]}"


LIST = (
    ("SINCE", Reader("since", lambda value: local_time(as_text(value))[:-3])), ("SOURCE", source()),
    ("RULE", text("rule")), ("SCOPE", text("scope")), ("STRIKE", text("strike")), ("FOR", left("length_seconds")),
    ("ENDED", _ended),
)  # fmt: skip


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "List bans past and present, the newest first, each with how it ended: on time, lifted early, or replaced by "
        f"another ban of the same source. 90 days are remembered. The usual limit is {USUAL_LIMIT}."
    )
    parser = add_command(
        commands, "history", _history, about, "history", "history --since 1d --rule pjsip-guessing",
        "history --address 198.51.100.0/24 --limit 1000",
    )  # fmt: skip
    add_choice(parser)
    parser.add_argument("--until", metavar="WHEN", help=f"that began before {WHEN}")
    parser.add_argument("--limit", metavar="N", type=int, default=USUAL_LIMIT, help=f"no more than N, up to {LIMIT}")


def _history(options: Namespace) -> int:
    if not 0 < options.limit <= LIMIT:
        raise UsageError(f"--limit: {options.limit} is not from 1 to {LIMIT}")
    wanted = Wanted(
        chosen_source(options) or Source(b""), chosen_rule(options), chosen_time("--since", options.since),
        chosen_time("--until", options.until), options.limit,
    )  # fmt: skip
    found = ask_list(options, Request(Call.HISTORY, wanted=wanted))
    Output(options).list(LIST, found, "no such ban is remembered")
    if len(found) == wanted.limit and options.output == "table":
        note(f"these are the newest {wanted.limit}; --limit N or --until gives more")
    return 0
