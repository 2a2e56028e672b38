"""The reload: all files are read anew, and taken into the running daemon, all of it or nothing."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from guard.daemon.inputs import changes, changes_for_later
from guard.errors import ConfigError, GuardError
from guard.wire.journal import MessageId, about

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from guard.core.units import Instant
    from guard.daemon.inputs import Inputs
    from guard.daemon.systemd import Systemd

log = logging.getLogger("astguard")


class Reloader:
    """Reads and hands on.

    `read` gets everything or raises ConfigError; `take` makes it the running daemon's and can fail no more: it gets the
    names of what has changed, and returns what the administrator should know.
    """

    def __init__(
        self,
        inputs: Inputs,
        *,
        read: Callable[[], Inputs],
        take: Callable[[Inputs, Sequence[str]], Awaitable[Sequence[str]]],
        systemd: Systemd,
        now: Callable[[], Instant],
    ) -> None:
        self._inputs = inputs
        self._read = read
        self._take = take
        self._systemd = systemd
        self._now = now
        self._one = asyncio.Lock()  # at a time

    async def reload(self) -> dict[str, object]:
        """Reload; ConfigError with every mistake, and then nothing has changed."""
        async with self._one:
            self._systemd.reloading(self._now())
            try:
                return await self._reload()
            finally:
                self._systemd.ready()

    async def on_signal(self) -> None:
        """Reload; what is wrong is in the log only."""
        try:
            await self.reload()
        except GuardError:
            log.debug("not reloaded", exc_info=True)

    async def _reload(self) -> dict[str, object]:
        try:
            inputs = await asyncio.to_thread(self._read)
        except ConfigError as error:
            for mistake in error.mistakes:
                log.error("%s", mistake)  # noqa: TRY400 - the administrator's mistake, not ours
            log.error(  # noqa: TRY400
                "nothing is reloaded because of that: what was in force before stays so",
                extra=about(MessageId.NOT_RELOADED),
            )
            raise
        changed, later = changes(self._inputs, inputs), changes_for_later(self._inputs, inputs)
        notes = await self._take(inputs, changed)
        self._inputs = _as_running(inputs, self._inputs)
        what = f"changed {', '.join(changed)}" if changed else "nothing has changed"
        log.info("reload: %s", what, extra=about(MessageId.RELOAD))
        for name in later:
            log.warning("%s has changed too, and holds from the next start on", name)
        for note in notes:
            log.warning("%s", note)
        return {"changed": changed, "restart": later, "notes": list(notes), "rules": len(inputs.ruleset.rules)}


def _as_running(new: Inputs, old: Inputs) -> Inputs:
    """Keep what only a start can change, so that the next reload names it again."""
    held = old.config.firewall
    firewall = replace(new.config.firewall, backend=held.backend, bans_max=held.bans_max)
    at_start = {name: getattr(old.config, name) for name in ("state", "metrics", "api", "control", "control_changes")}
    config = replace(new.config, firewall=firewall, **at_start)
    return new._replace(config=config, token=old.token)
