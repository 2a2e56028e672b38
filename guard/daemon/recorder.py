"""Reports what is true: one line for each ban, unban, expiry and alarm, once it is on the disk."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from guard.core.address import show
from guard.core.ban import Op
from guard.core.units import Duration, format_duration

if TYPE_CHECKING:
    from guard.core.alarm import Alarm
    from guard.core.ban import Change
    from guard.daemon.keeper import Keeper

log = logging.getLogger("astguard")


class Recorder:
    """Takes what the enforcer has brought to the kernel. Nothing is reported by anybody else.

    With a keeper it is reported when that has kept it, or has said that it cannot; without one, at once.
    """

    def __init__(self, keeper: Keeper | None = None) -> None:
        self.keeper = keeper
        if keeper is not None:
            keeper.receipts.on_kept = self._report

    def record(self, change: Change) -> None:
        """Take a change that is true in the kernel now, or one that a rule only observed."""
        if self.keeper is None or change.op is Op.OBSERVE:
            self._report(change)
        else:
            self.keeper.keep(change)

    def tell(self, alarm: Alarm) -> None:
        """Report an alarm."""
        log.warning("alarm %s: %s", alarm.kind, alarm.text)

    async def stored(self) -> bool:
        """Wait until what was recorded is on the disk; False if it is not, because there is no keeper or no room."""
        return self.keeper is not None and await self.keeper.stored()

    def _report(self, change: Change, *, stored: bool = True) -> None:
        op, ban = change
        name = show(ban.source)
        note = "" if stored else " stored=no"
        if op is Op.EXPIRE:
            log.info("expire %s rule=%s strike=%d", name, ban.rule, ban.strike)
        elif op is Op.REMOVE:
            log.info("unban %s rule=%s%s", name, ban.rule, note)
        else:
            log.warning(
                "%s %s for %s rule=%s scope=%s evidence=%s strike=%d offences=%d events=%d%s",
                "ban" if op is Op.ADD else "would ban", name,
                format_duration(Duration(ban.until - ban.since)), ban.rule,
                ban.scope, ban.evidence, ban.strike, ban.offences, ban.events, note,
            )  # fmt: skip
