"""The daemon: puts sensors, engine, firewall and API together."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
from typing import TYPE_CHECKING

from guard.daemon.service import Service
from guard.sensors.names import own_addresses

if TYPE_CHECKING:
    from pathlib import Path

    from guard.settings.config import Config
    from guard.settings.rulefile import RuleSet


def run(config: Config, ruleset: RuleSet, *, config_path: Path) -> int:
    """Run the guard in the foreground until it is told to stop; GuardError if it cannot start."""
    # The journal stamps lines itself.
    stamp = "" if "JOURNAL_STREAM" in os.environ else "%(asctime)s "
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=f"{stamp}%(levelname)s %(message)s")
    faulthandler.enable()  # where a hung loop stood when systemd's watchdog ended it is in the journal
    logging.getLogger("astguard").info("configuration %s", config_path)

    async def serve() -> None:
        await Service(config, ruleset, await own_addresses()).run()

    asyncio.run(serve())
    return 0
