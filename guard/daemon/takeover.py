"""Takes the kernel over at a start: puts the ledger's bans into it, then adopts what it alone knows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from guard.core.ban import Change, Op
from guard.core.units import HOUR, SECOND, Duration, Instant
from guard.errors import FirewallError
from guard.firewall import BATCH
from guard.wire.control import LONGEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.rule import Scope
    from guard.daemon.enforcer import Enforcer

log = logging.getLogger("astguard")

ROUNDED = 2.0
"""Seconds that an element's end may differ from its ban's: it was rounded up, and read a moment ago."""
ENDLESS = Duration(LONGEST - HOUR)
"""What has that long to go was put in by hand, without an end."""


def put_back(enforcer: Enforcer) -> None:
    """Make table, chain and sets, and put the ledger's bans into them; FirewallError if the kernel will not.

    Before anything is judged. It takes seconds for a million bans, so it may run in a thread. In a pause all of ours
    is taken out of the kernel instead.
    """
    if enforcer.paused:
        enforcer.firewall.teardown()
        enforcer.hold((ban.source, ban.scope) for ban in enforcer.engine.ledger)
        enforcer.engine.unconfirm()
        return
    enforcer.firewall.setup(enforcer.upkeep.layout)
    bans = list(enforcer.engine.ledger)
    for start in range(0, len(bans), BATCH):
        piece = bans[start : start + BATCH]
        try:
            enforcer.firewall.apply([Change(Op.ADD, ban) for ban in piece], enforcer.now())
        except FirewallError as error:
            log.error("the kernel refused %d stored bans, trying again: %s", len(piece), error)  # noqa: TRY400
            enforcer.owe(piece)
        else:
            enforcer.hold((ban.source, ban.scope) for ban in piece)


def adopt(enforcer: Enforcer, found: Mapping[tuple[Source, Scope], float], at: Instant) -> int:
    """Take over what the kernel held at an instant, with seconds left; return how many bans it alone knew.

    Bans of the ledger that stand in a wrong set, or with a wrong end, are put right.
    """
    if enforcer.paused:
        return 0
    ledger, keeper, now = enforcer.engine.ledger, enforcer.recorder.keeper, enforcer.now()
    strange: dict[Scope, dict[tuple[Source, Scope], Duration]] = {}
    wrong, known = [], 0
    for (source, scope), left in found.items():
        ban = ledger.get(source)
        if ban is None and not enforcer.owes(source):
            length = Duration(int(min(left * SECOND, LONGEST)) - (now - at))
            strange.setdefault(scope, {})[source, scope] = length
        elif ban is not None and (ban.scope is not scope or abs((ban.until - at) / SECOND - left) > ROUNDED):
            wrong.append(source)
    for bans in strange.values():  # one scope after the other: somebody may have put a source into sets of several
        enforcer.hold(bans)
        taken = enforcer.engine.adopt(bans, now, *(() if keeper is None else (keeper.was_lifted,)))
        adopted = [ban for ban in map(ledger.get, {ban.source for ban in taken}) if ban is not None]
        enforcer.hold((ban.source, ban.scope) for ban in adopted)
        enforcer.settle()
        if keeper is not None:
            keeper.adopt(adopted)
        known += len(adopted)
        wrong += [source for source, scope in bans if _is_wrong(ledger.get(source), scope, bans[source, scope])]
    enforcer.rewrite(wrong)
    return known


def _is_wrong(ban: Ban | None, scope: Scope, left: Duration) -> bool:
    return ban is not None and (ban.scope is not scope or left >= ENDLESS)


def take_over(enforcer: Enforcer) -> None:
    """Do both, one after the other."""
    put_back(enforcer)
    adopt(enforcer, enforcer.firewall.held(), enforcer.now())
    enforcer.settle()
