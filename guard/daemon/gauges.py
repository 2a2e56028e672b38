"""Reads the running guard for one scrape: everything in it as it stands now."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from guard import __version__
from guard.api.metrics import Reading
from guard.core.rule import Mode
from guard.errors import FirewallError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guard.core.rule import Scope
    from guard.daemon.desk import Desk
    from guard.daemon.enforcer import Enforcer
    from guard.daemon.heaviest import Heaviest
    from guard.daemon.journal import Journal
    from guard.sensors.amilink import AmiLink

_SELF_TEST = {None: "waiting", True: "ok", False: "failed"}


class Gauges:
    """Knows the parts that metrics are read from. Reading changes nothing."""

    def __init__(
        self, enforcer: Enforcer, link: AmiLink, desk: Desk, heaviest: Heaviest, journal: Journal | None
    ) -> None:
        self._enforcer = enforcer
        self._link = link
        self._desk = desk
        self._heaviest = heaviest
        self._journal = journal

    def read(self) -> Reading:
        """Return what there is to tell."""
        enforcer, engine, link = self._enforcer, self._enforcer.engine, self._link
        return Reading(
            version=__version__,
            python=platform.python_version(),
            enforcing=engine.mode is Mode.ENFORCE,
            paused=enforcer.paused,
            rules=[rule.name for rule in engine.rules],
            counts=engine.tally.counts,
            outcomes=engine.outcomes(),
            bans=engine.tally.bans,
            active=engine.ledger.sizes(),
            allowed=len(engine.allow),
            backend=enforcer.firewall.name,
            firewall_ok=not enforcer.problem,
            store_ok=enforcer.recorder.keeper is None or not enforcer.recorder.keeper.receipts.problem,
            dropped=self._dropped(),
            link=link.state,
            self_test=_SELF_TEST[link.self_test],
            lag=link.lags,
            decided=enforcer.latency.decided,
            heard=enforcer.latency.heard,
            tables=[*engine.tables(), self._heaviest.table],
            journal_lost=0 if self._journal is None else self._journal.lost,
            warnings=self._desk.warnings(),
        )

    def _dropped(self) -> Mapping[Scope, tuple[int, int]]:
        try:
            return self._enforcer.firewall.dropped()
        except FirewallError:  # the next change shows what is wrong; a missing series says that it is not known
            return {}
