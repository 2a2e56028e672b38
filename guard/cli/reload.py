"""`astguard reload`: the running daemon takes the changed configuration and rules, all of it or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.cli.client import ask
from guard.cli.options import add_command
from guard.cli.output import Output, note
from guard.cli.table import as_text
from guard.wire.control import Call, Request

if TYPE_CHECKING:
    from argparse import Namespace

    from guard.cli.options import Commands


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Take the changed configuration, rules and secret into the running daemon. No ban, offence or event is lost. "
        "With a mistake in any file nothing changes; every mistake is a line, and the exit code is 78."
    )
    add_command(commands, "reload", _reload, about, "reload")


def _reload(options: Namespace) -> int:
    answer = ask(options, Request(Call.RELOAD))
    changed, later = (_words(answer.get(key)) for key in ("changed", "restart"))
    Output(options).done(answer, f"reloaded: {', '.join(changed)} changed" if changed else "reloaded: nothing changed")
    for name in later:
        note(f"{name} has changed too, and holds from the next start on; bans outlive a restart")
    for text in _words(answer.get("notes")):
        note(text)
    return 0


def _words(value: object) -> list[str]:
    return list(map(as_text, value)) if isinstance(value, list) else []
