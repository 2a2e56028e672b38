"""`astguard run`: the daemon, in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.cli import options as common
from guard.cli.options import add_command, read_config

if TYPE_CHECKING:
    from argparse import Namespace

    from guard.cli.options import Commands


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Guard Asterisk until told to stop, in the foreground. Bans stay in the kernel when it stops, and end on time."
    )
    add_command(commands, "run", _run, about, "run", "run --config ./astguard.yaml")


def _run(options: Namespace) -> int:
    from guard.settings.rulefile import load_rules

    config = read_config(options, needed=True)
    ruleset = load_rules(config.rules)
    from guard.daemon import run

    return run(config, ruleset, config_path=options.config or common.DEFAULT_CONFIG)
