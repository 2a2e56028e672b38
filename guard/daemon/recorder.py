"""Reports what is true: one line for each ban, unban, expiry and alarm, once it is on the disk.

Here is the one end of the flow: whoever else wants to hear what happened is a listener of the recorder.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from guard.core.address import show, show_short
from guard.core.ban import Op
from guard.core.text import printable
from guard.core.units import SECOND, Duration, format_duration
from guard.wire.describe import ACCOUNT_LIMIT
from guard.wire.journal import MessageId, about

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from guard.core.alarm import Alarm
    from guard.core.ban import Change
    from guard.core.event import SecurityEvent
    from guard.core.outcome import Outcome
    from guard.daemon.keeper import Keeper
    from guard.wire.journal import About

log = logging.getLogger("astguard")


class Listener(Protocol):
    """Hears what happened, in the event loop: it never waits, and bounds what it keeps."""

    def weighed(self, events: Sequence[SecurityEvent], outcomes: Sequence[Outcome]) -> None:
        """Hear of a batch of events and their outcomes, before its bans are in the kernel."""

    def changed(self, change: Change, *, stored: bool) -> None:
        """Hear of a change when it is reported: true in the kernel, or observed, and on the disk if `stored`."""

    def alarmed(self, alarm: Alarm) -> None:
        """Hear of an alarm when it is reported."""


class Recorder:
    """Takes what the enforcer has brought to the kernel. Nothing is reported by anybody else.

    With a keeper it is reported when that has kept it, or has said that it cannot; without one, at once. Bans that an
    earlier life reported are taken back without a word, so `listeners` never hear of one twice. A listener that raises
    is a bug of ours: that is logged, it hears no more, and nobody else is hurt.
    """

    def __init__(self, keeper: Keeper | None = None) -> None:
        self.keeper = keeper
        self.listeners: list[Listener] = []
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
        log.warning("alarm %s: %s", alarm.kind, alarm.text, extra=about_alarm(alarm))
        self._pass_on(lambda listener: listener.alarmed(alarm))

    def weighed(self, events: Sequence[SecurityEvent], outcomes: Sequence[Outcome]) -> None:
        """Pass on what came of a batch of events."""
        if self.listeners:
            self._pass_on(lambda listener: listener.weighed(events, outcomes))

    async def stored(self) -> bool:
        """Wait until what was recorded is on the disk; False if it is not, because there is no keeper or no room."""
        return self.keeper is not None and await self.keeper.stored()

    def _report(self, change: Change, *, stored: bool = True) -> None:
        op, ban = change
        name = show(ban.source)
        note = "" if stored else " stored=no"
        fields = about(
            _KINDS[op], address=show_short(ban.source), rule=ban.rule, scope=ban.scope, strike=ban.strike,
            evidence=ban.evidence, offences=ban.offences, events=ban.events, by=ban.by, origin=ban.origin,
            seconds=(ban.until - ban.since) // SECOND, stored=None if stored else "no",
        )  # fmt: skip
        if op is Op.EXPIRE:
            log.info("expire %s rule=%s strike=%d", name, ban.rule, ban.strike, extra=fields)
        elif op is Op.REMOVE:
            log.info("unban %s rule=%s%s", name, ban.rule, note, extra=fields)
        else:
            log.warning(
                "%s %s for %s rule=%s scope=%s evidence=%s strike=%d offences=%d events=%d%s",
                "ban" if op is Op.ADD else "would ban", name,
                format_duration(Duration(ban.until - ban.since)), ban.rule,
                ban.scope, ban.evidence, ban.strike, ban.offences, ban.events, note, extra=fields,
            )  # fmt: skip
        self._pass_on(lambda listener: listener.changed(change, stored=stored))

    def _pass_on(self, what: Callable[[Listener], None]) -> None:
        for listener in tuple(self.listeners):
            try:
                what(listener)
            except Exception:
                log.exception("a part of astguard hears no more of what happens; please report this")
                self.listeners.remove(listener)


_KINDS = {
    Op.ADD: MessageId.BAN, Op.OBSERVE: MessageId.WOULD_BAN, Op.REMOVE: MessageId.UNBAN, Op.EXPIRE: MessageId.EXPIRE,
}  # fmt: skip


def about_alarm(alarm: Alarm) -> dict[str, About]:
    """Return the journal's fields of a line about an alarm; its account is made fit to be shown."""
    account = None if alarm.account is None else printable(alarm.account, ACCOUNT_LIMIT)
    address = None if alarm.source is None else show_short(alarm.source)
    return about(MessageId.ALARM, alarm=alarm.kind, address=address, account=account, rule=alarm.rule)
