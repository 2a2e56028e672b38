"""Takes the kernel over at a start: puts the ledger's bans into it, then adopts what it alone knows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from guard.core.ban import Change, Op
from guard.core.units import SECOND, Duration
from guard.errors import FirewallError
from guard.firewall import BATCH
from guard.wire.control import LONGEST

if TYPE_CHECKING:
    from guard.daemon.enforcer import Enforcer

log = logging.getLogger("astguard")


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
    enforcer.firewall.setup(enforcer.layout)
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


def adopt(enforcer: Enforcer) -> None:
    """Take over the bans that the kernel alone knows, and begin to enforce."""
    if enforcer.paused:
        enforcer.settle()
        return
    ledger, keeper = enforcer.engine.ledger, enforcer.recorder.keeper
    found = {key: Duration(int(min(left * SECOND, LONGEST))) for key, left in enforcer.firewall.held().items()}
    strange = {key: left for key, left in found.items() if ledger.get(key[0]) is None}
    enforcer.hold(strange)
    adopted = enforcer.engine.adopt(strange, enforcer.now(), *(() if keeper is None else (keeper.was_lifted,)))
    if strange:
        log.info("adopt: held=%d bans that the kernel alone knows, adopted=%d", len(strange), len(adopted))
    if keeper is not None:
        keeper.adopt(adopted)
    enforcer.settle()
    for (source, scope), left in found.items():  # what somebody put there by hand: without an end, or in two sets
        ban = ledger.get(source)
        if ban is not None and (left == LONGEST or ban.scope is not scope):
            enforcer.owe([ban])
    enforcer.settle()


def take_over(enforcer: Enforcer) -> None:
    """Do both, one after the other."""
    put_back(enforcer)
    adopt(enforcer)
