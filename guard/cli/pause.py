"""`astguard pause` and `astguard resume`: the panic button. It lifts all bans at once and keeps them in mind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.cli.client import ask
from guard.cli.options import add_command, given_length
from guard.cli.output import Output
from guard.cli.table import as_text, local_time
from guard.wire.control import Call, Request

if TYPE_CHECKING:
    from argparse import Namespace

    from guard.cli.options import Commands


def add_to(commands: Commands) -> None:
    """Add both commands."""
    about = (
        "Let everybody in at once: all bans leave the kernel. Until 'astguard resume', or the time is over, bans are "
        "only said, not made. The bans are kept in mind, and back afterwards for what is left of their time; lift "
        "those that are wrong with 'astguard bans remove' meanwhile. A restart does not end a pause."
    )
    parser = add_command(commands, "pause", _pause, about, "pause", "pause --for 30m")
    parser.add_argument("--for", dest="length", metavar="TIME", help="90s, 10m, 1h30m, 2d (usually until resume)")
    about = "End a pause: the bans whose time is not over are in the kernel again, and new ones are made."
    add_command(commands, "resume", _resume, about, "resume")


def _pause(options: Namespace) -> int:
    answer = ask(options, Request(Call.PAUSE, length=given_length(options)))
    until = f"until {local_time(as_text(answer['until']))}" if answer.get("until") else "until 'astguard resume'"
    Output(options).done(answer, f"paused {until}: {_bans(answer)} lifted, new ones are only said")
    return 0


def _resume(options: Namespace) -> int:
    answer = ask(options, Request(Call.RESUME))
    Output(options).done(answer, f"resumed: {_bans(answer)} going back into the kernel")
    return 0


def _bans(answer: dict[str, object]) -> str:
    count = answer.get("bans")
    return "1 ban is" if count == 1 else f"{count:,} bans are" if isinstance(count, int) else "bans are"
