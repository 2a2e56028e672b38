"""`astguard run`: the daemon, in the foreground."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.cli import options as common
from guard.cli.options import add_command, read_config
from guard.errors import GuardError

if TYPE_CHECKING:
    from argparse import Namespace

    from guard.cli.options import Commands
    from guard.settings.config import Config


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Guard Asterisk until told to stop, in the foreground. Bans stay in the kernel when it stops, and end on time."
    )
    add_command(commands, "run", _run, about, "run", "run --config ./astguard.yaml")


def _run(options: Namespace) -> int:
    from guard.settings.rulefile import load_rules

    config = read_config(options, needed=True)
    prepared(config)
    ruleset = load_rules(config.rules)
    from guard.daemon import run

    return run(config, ruleset, config_path=options.config or common.DEFAULT_CONFIG)


def prepared(config: Config) -> None:
    """Raise GuardError if what Debian's package, or systemd for its unit, makes before a start is not there."""
    folder = config.control.parent
    if not folder.is_dir():
        raise GuardError(
            f"there is no {folder} for the control socket; Debian's unit makes it at each start, without it run "
            f"'install -d -m 750 {folder}', or name another place in astguard.yaml (control)"
        )
