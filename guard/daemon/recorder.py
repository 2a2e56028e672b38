"""Records what has become true in the kernel, and reports it: one line for each ban, unban, expiry and alarm."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from guard.core.address import show
from guard.core.ban import Op
from guard.core.units import Duration, format_duration

if TYPE_CHECKING:
    from guard.core.alarm import Alarm
    from guard.core.ban import Change

log = logging.getLogger("astguard")


class Recorder:
    """Takes what the enforcer has brought to the kernel. Nothing is reported by anybody else."""

    def record(self, change: Change) -> None:
        """Take a change that is true in the kernel now, or one that a rule only observed."""
        self._report(change)

    def tell(self, alarm: Alarm) -> None:
        """Report an alarm."""
        log.warning("alarm %s: %s", alarm.kind, alarm.text)

    def _report(self, change: Change) -> None:
        op, ban = change
        name = show(ban.source)
        if op is Op.EXPIRE:
            log.info("expire %s rule=%s strike=%d", name, ban.rule, ban.strike)
        elif op is Op.REMOVE:
            log.info("unban %s rule=%s", name, ban.rule)
        else:
            log.warning(
                "%s %s for %s rule=%s scope=%s evidence=%s strike=%d offences=%d events=%d",
                "ban" if op is Op.ADD else "would ban", name,
                format_duration(Duration(ban.until - ban.since)), ban.rule,
                ban.scope, ban.evidence, ban.strike, ban.offences, ban.events,
            )  # fmt: skip
