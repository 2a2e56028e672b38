"""Keeps what is ours standing in the kernel: the layout, and after a loss all bans of the ledger.

The kernel is what is true and the ledger is what should be true; here the gap is closed that others make. A lost table
comes back in one transaction with the bans that cannot wait, the rest in pieces. Others who remove it in turn are
answered more and more slowly, and an alarm names them.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from guard.core.address import show
from guard.core.alarm import Kind
from guard.core.ban import Change, Op
from guard.core.outcome import Outcome
from guard.core.units import MINUTE, SECOND, Duration, Instant
from guard.daemon.recovery import Recovery
from guard.errors import FirewallError, TableGone
from guard.firewall import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.engine import Engine
    from guard.core.event import SecurityEvent
    from guard.core.units import Wall
    from guard.firewall import Firewall, Layout, News

log = logging.getLogger("astguard")

NOW = Duration(0)
LOOK = SECOND
"""From one look at our table to the next, while banned sources are heard."""

_BANNED = frozenset({Outcome.ALREADY_BANNED, Outcome.AFTER_BAN})


class Upkeep:
    """Brings layout and bans to the kernel. `gone`: the table has to be made again; `by`: who was last seen at it."""

    def __init__(
        self, engine: Engine, firewall: Firewall, layout: Layout, now: Callable[[], Instant], wall: Callable[[], Wall]
    ) -> None:
        self.layout = layout
        self.gone = False
        self.half_done: Collection[Source] = ()  # whose bans are in the kernel although bring() failed
        self.by = ""
        self.recovery = Recovery()
        self._engine = engine
        self._firewall = firewall
        self._now = now
        self._wall = wall
        self._layout_due = self._ports_due = False
        self._damaged = False  # others changed the layout, and the bans are still there
        self._accept_due: dict[Source, bool] = {}  # who is accepted by now, or no longer
        self._tell_at = self._look_at = Instant(0)

    @property
    def waits(self) -> bool:
        """Tell whether something other than bans has to be brought."""
        return bool(self.gone or self._layout_due or self._ports_due or self._accept_due)

    @property
    def is_sound(self) -> bool:
        """Tell whether nothing is known that would keep one ban back and not the others."""
        return not (self.gone or self._layout_due)

    def set_anew(self) -> None:
        """Have the whole layout brought again: whatever somebody did to our table, that mends it."""
        self._layout_due = True

    def know(self) -> None:
        """Take allowlist and ports from the engine, before the layout is made for the first time."""
        self.layout = replace(self.layout, allow=tuple(self._engine.allow), sip_ports=self._engine.sip_ports)

    def reshape(self, slow_rate: int) -> None:
        """Take the engine's ports and this rate after a reload."""
        layout = replace(self.layout, sip_ports=self._engine.sip_ports, slow_rate=slow_rate)
        if layout != self.layout:
            self.layout, self._layout_due = layout, True

    def rest(self) -> None:
        """Take note that the kernel holds nothing of ours, on purpose."""
        self.recovery.forget()
        self.gone = self._damaged = False

    def close_ports(self, ports: Collection[int]) -> None:
        """Have the layout close these ports."""
        self.layout = replace(self.layout, sip_ports=tuple(ports))
        self._ports_due = True

    def accept(self, added: Collection[Source], gone: Collection[Source]) -> None:
        """Have the layout accept these networks, and those no longer."""
        self._accept_due.update(dict.fromkeys(added, True) | dict.fromkeys(gone, False))
        self.layout = replace(self.layout, allow=tuple(self._engine.allow))

    def bring(self, due: Collection[Change]) -> Duration:
        """Bring the layout, as far as it has changed, and these changes; FirewallError if the kernel refuses.

        Return how long to wait before the next try, where others undo it in turn. If the table is `gone` then, the
        changes are not in the kernel.
        """
        self.half_done = ()
        try:
            if not self.gone and (self._layout_due or not self._adjust()):
                self._layout_due = True
                self.look()  # setup() alone would make a lost table again without the bans in it
            if not self.gone:
                wait = self._wait() if self._damaged else NOW
                if self._layout_due and not wait:
                    self._set_up()
                self._firewall.apply(list(due), self._now())
                return wait
        except TableGone as error:
            self._lose(error)
        wait = self._wait()
        if not wait:
            self._make_again(due)
        return wait

    def heard(self, events: Sequence[SecurityEvent], outcomes: Sequence[Outcome]) -> None:
        """Look, once a second at most, if somebody was heard whom our table should keep out."""
        if _BANNED.isdisjoint(outcomes):
            return
        now = self._now()
        pairs = zip(events, outcomes, strict=True)
        self.recovery.heard([event.source for event, outcome in pairs if outcome in _BANNED], now)
        if now >= self._look_at:
            self._look_at = Instant(now + LOOK)
            self.look()

    def mend(self, news: News) -> None:
        """Take note of what others did to what is ours; what they put in is the caller's to judge."""
        self.by = news.by or self.by
        if news.shape or news.overflow:
            self.look()
        if news.overflow and not self.gone:
            self._layout_due = True
            self.recovery.lose_all(self._engine.ledger)
            log.warning("more was changed in our table than could be told%s; putting everything back", self._blame())
        self._layout_due = self._layout_due or news.layout
        ledger = self._engine.ledger
        lost = [source for source, scope in news.lost if (ban := ledger.get(source)) and ban.scope is scope]
        if lost and not self.gone:
            self.recovery.lose(lost)
            self._tell_of(lost)

    def look(self) -> None:
        """Look whether all of ours is as we made it."""
        try:
            self._firewall.look()
        except TableGone as error:
            if not (self.gone or (self._damaged and error.bans_kept)):
                self._lose(error)
        except FirewallError:
            log.debug("no look at our table", exc_info=True)  # the next change will show what is wrong

    def restore_some(self) -> None:
        """Put back one piece of what may be missing; FirewallError if the kernel refuses, and nothing is forgotten."""
        bans, replaced = self.recovery.some(self._engine.ledger)
        try:
            if replaced:
                self._firewall.apply([Change(Op.ADD, ban) for ban in bans], self._now())
            else:
                self._firewall.restore(bans, self._now())
        except TableGone as error:
            self._lose(error)
        except FirewallError:
            self.recovery.lose([ban.source for ban in reversed(bans)], replaced=replaced)
            raise
        else:
            self._engine.confirm([ban.source for ban in bans], self._wall())  # if that was not known: after a pause

    def tidy(self) -> None:
        """Remove sets that hold nothing."""
        try:
            if not self.gone:
                self._firewall.tidy(self._engine.ledger.in_use)
        except TableGone as error:
            self._lose(error)
        except FirewallError:
            log.debug("sets that hold nothing stay", exc_info=True)

    def dispute(self) -> str:
        """Say who changes what is ours again and again; nothing if nobody does."""
        fights = self.recovery.fights(self._now())
        return f"table or rules of ours were changed {fights} times in a minute{self._blame()}" if fights else ""

    def _adjust(self) -> bool:
        """Bring ports and accepted networks as elements: a whole setup() takes 10 to 100 ms. False if it needs one."""
        if self._ports_due:  # the attack goes on meanwhile
            self._firewall.close_ports(self.layout.sip_ports)
            self._ports_due = False
        if self._accept_due:
            added, gone = (
                [source for source, accepted in self._accept_due.items() if accepted is wanted]
                for wanted in (True, False)
            )
            if not self._firewall.accept(added, gone):
                return False
            self._accept_due.clear()
        return True

    def _make_again(self, due: Collection[Change]) -> None:
        """Make the table with the bans that cannot wait; the rest is missing until it has been restored."""
        ledger, now = self._engine.ledger, self._now()
        self.recovery.lose_all(ledger)
        first = [change.ban for change in due if change.op is Op.ADD] + self.recovery.first(ledger, now)
        bans = {ban.source: ban for ban in first[:BATCH]}
        self._set_up(list(bans.values()))
        self._engine.confirm(bans, self._wall())
        self.half_done = bans.keys()
        rest = [change for change in due if change.op is Op.REMOVE or change.ban.source not in bans]
        self._firewall.apply(rest, now)  # setup() keeps what is left, also what was to be lifted
        self.gone = False
        if self.recovery:
            log.info("our table is back with %d bans, %d follow", len(bans), len(self.recovery))

    def _wait(self) -> Duration:
        return self.recovery.wait(self._now())

    def _set_up(self, bans: Collection[Ban] = ()) -> None:
        self._firewall.setup(self.layout, bans, self._now())
        self._layout_due = self._ports_due = self._damaged = False
        self._accept_due.clear()

    def _lose(self, error: TableGone) -> None:
        self.recovery.lost(self._now())
        self._engine.tally.add("firewall.rebuilt")
        if error.bans_kept:
            self._layout_due = self._damaged = True
            log.warning("our table was changed (%s%s); mending it", error, self._blame())
        else:
            self.gone = True
            bans = len(self._engine.ledger)
            log.warning("our table is gone (%s%s); making it again with %d bans", error, self._blame(), bans)
        dispute = self.dispute()
        if dispute:
            text = f"{dispute}; bans do not hold meanwhile: keep that program from table inet astguard"
            self._engine.warn(Kind.FOUGHT, text, self._now())

    def _tell_of(self, lost: list[Source]) -> None:
        """Say that bans were taken out by hand, once a minute at most."""
        self._engine.tally.add("firewall.put_back", len(lost))
        if self._now() >= self._tell_at:
            self._tell_at = Instant(self._now() + MINUTE)
            log.warning(
                "%d bans were taken out of the kernel%s, and are put back, first %s; "
                "to lift a ban, use `astguard bans remove`", len(lost), self._blame(), show(lost[0]),
            )  # fmt: skip

    def _blame(self) -> str:
        return f", last by {self.by}" if self.by else ""
