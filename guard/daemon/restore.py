"""Takes back, at a start, what the store has kept: first what is allowed, then bans and what goes with them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from guard.core.memory import Former
from guard.core.units import MILLISECOND, Duration
from guard.daemon.allowance import NAMES_NOTE
from guard.daemon.pause import NOTE
from guard.daemon.takeover import put_back

if TYPE_CHECKING:
    from guard.core.ban import Ban
    from guard.core.memory import Memory
    from guard.core.units import Instant, Wall
    from guard.daemon.allowance import Allowance
    from guard.daemon.enforcer import Enforcer
    from guard.daemon.keeper import Keeper
    from guard.daemon.pause import Pause
    from guard.store.opening import Claim
    from guard.store.state import State

log = logging.getLogger("astguard")


async def restore(claim: Claim, keeper: Keeper, enforcer: Enforcer, allowance: Allowance, pause: Pause) -> State:
    """Read the store, take back what is still true, and put the bans into the kernel; return what was found.

    Reading and the kernel's part are done in a thread: a million bans take seconds. Nothing is judged meanwhile.
    FirewallError if the kernel will not.
    """
    began = enforcer.now()
    state, left_out = await asyncio.to_thread(_take_back, claim, enforcer, allowance)
    read = enforcer.now()
    pause.restore(state.notes.get(NOTE))
    await asyncio.to_thread(put_back, enforcer)
    filled = enforcer.now()
    found, state.bans = len(state.bans), []  # a million take room
    keeper.begin(state, claim.writer)
    keeper.read_trail, keeper.read_history = claim.trail, claim.history
    keeper.drop(left_out)
    if found or state.over or state.refused:
        log.info(
            "restore: bans=%d ended=%d left_out=%d unreadable=%d read_ms=%d kernel_ms=%d",
            len(enforcer.engine.ledger), len(state.over), len(left_out), state.refused,
            (read - began) // MILLISECOND, (filled - read) // MILLISECOND,
        )  # fmt: skip
    return state


def _remember(memory: Memory, rows: list[object], wall: Wall, now: Instant) -> int:
    """Take back what a clean stop has left; return how many rows could not be right."""
    match rows[0]:
        case ["wall", int(then)]:
            return memory.restore(rows[1:], Duration(max(0, wall - then)), now)
    return len(rows)


def _take_back(claim: Claim, enforcer: Enforcer, allowance: Allowance) -> tuple[State, list[Ban]]:
    now, engine = enforcer.now(), enforcer.engine
    state = claim.read(enforcer.wall(), now)
    allowed = allowance.restore(state.permits, state.notes.get(NAMES_NOTE))
    memory = engine.memory
    memory.restore_ports(state.ports)
    enforcer.know(allowed)
    left_out = memory.restore_bans(state.bans)
    memory.restore_formers((Former(*strike) for strike in state.strikes), now)
    memory.restore_trusted(state.trust)
    if state.memory:
        state.refused += _remember(memory, state.memory, enforcer.wall(), now)
    engine.tick(now)
    return state, left_out
