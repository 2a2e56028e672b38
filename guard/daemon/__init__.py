"""The daemon: puts sensors, engine, firewall and API together."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
from functools import partial
from typing import TYPE_CHECKING

from guard.daemon.inputs import prepare, read_inputs
from guard.daemon.journal import set_up
from guard.daemon.service import Service
from guard.sensors.ownaddresses import own_addresses

if TYPE_CHECKING:
    from pathlib import Path

    from guard.settings.config import Config
    from guard.settings.rulefile import RuleSet


def run(config: Config, ruleset: RuleSet, *, config_path: Path) -> int:
    """Run the guard in the foreground until it is told to stop; GuardError if it cannot start."""
    journal = set_up(os.environ)
    faulthandler.enable()  # where a hung loop stood when systemd's watchdog ended it is in the journal
    logging.getLogger("astguard").info("configuration %s", config_path)

    inputs = prepare(config, ruleset)

    async def serve() -> None:
        if journal is not None:
            journal.attach(asyncio.get_running_loop())
        await Service(inputs, await own_addresses(), journal, read=partial(read_inputs, config_path)).run()

    try:
        asyncio.run(serve())
    finally:
        if journal is not None:
            journal.attach(None)
    return 0
