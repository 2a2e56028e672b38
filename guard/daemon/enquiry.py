"""Answers about one source, and about the past: nothing here changes anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guard.core.address import is_special, show
from guard.core.rule import Evidence
from guard.core.units import SECOND
from guard.errors import ControlError, StoreError
from guard.store.history import touches
from guard.wire.describe import describe_ban, describe_trace, show_time
from guard.wire.explanation import describe_delay, describe_explanation, trace_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.explain import Explanation
    from guard.core.ledger import Ledger
    from guard.daemon.allowance import Allowance
    from guard.daemon.enforcer import Enforcer
    from guard.store.history import Past
    from guard.wire.history import Wanted


async def explain(source: Source, enforcer: Enforcer, allowance: Allowance) -> dict[str, object]:
    """Tell all that is known of a source: its ban and how long that took, its events, what they count, what follows."""
    engine, now, wall = enforcer.engine, enforcer.now(), enforcer.wall()
    known = engine.explain(source, now)
    ban = _around(engine.ledger, source, known.site)
    observed = _around(engine.shadow, source, known.site)
    allowed = engine.allow.around(source)
    strikes = list(_strikes(engine.ledger, source, known, wall - now))
    about = {
        **describe_explanation(known, now),
        "special": is_special(source),
        "allowed": None if allowed is None else {"by": show(allowed), "origin": allowance.permits.origin(allowed)},
        "ban": None if ban is None else describe_ban(ban, now, wall)
        | describe_delay(ban, engine.ledger.confirmed(ban.source), now, wall),
        "observed": None if observed is None else describe_ban(observed, now, wall),
        "strikes": strikes,
    }  # fmt: skip
    is_known = any((known.events, known.trail, known.trusted, known.failing, known.standings, ban, observed, strikes))
    trail = [trace_row(trace) for trace in known.trail]
    keeper = enforcer.recorder.keeper
    if ban is not None and keeper is not None:  # what led to it was taken from the engine's memory when it was made
        trail = await keeper.trail(ban.source) + trail
    return {"source": show(source), "known": is_known, **about, "trail": [describe_trace(trace) for trace in trail]}


async def history(wanted: Wanted, enforcer: Enforcer) -> list[dict[str, object]]:
    """List bans past and present, the newest first; ControlError if they cannot be read."""
    keeper = enforcer.recorder.keeper
    if keeper is None:
        return []
    await keeper.stored()
    wall = enforcer.wall()
    try:
        # Of a file of 100,000 rows that takes a second or so, which the guard does not have.
        return await asyncio.to_thread(lambda: list(_choose(keeper.read_history(wall), wanted)))
    except StoreError as error:
        raise ControlError(str(error)) from None


def _choose(pasts: Iterator[Past], wanted: Wanted) -> Iterator[dict[str, object]]:
    found = 0
    for past in pasts:
        if (
            (not wanted.source or touches(past, wanted.source))
            and wanted.rule in ("", past.rule)
            and (wanted.since is None or past.since >= wanted.since)
            and (wanted.until is None or past.since < wanted.until)
        ):
            yield _describe(past)
            found += 1
            if found >= wanted.limit:
                return


def _describe(past: Past) -> dict[str, object]:
    return {
        **past._asdict(),
        "source": show(past.source),
        "since": show_time(past.since),
        "until": show_time(past.until),
        "length_seconds": max(0, past.until - past.since) // SECOND,
        "ended_at": None if past.ended_at is None else show_time(past.ended_at),
    }


def _around(ledger: Ledger, source: Source, site: Source) -> Ban | None:
    """Return the ban that shuts a source out, or else one of the site around it that counts as one source."""
    return ledger.get(source) or ledger.covering(source) or ledger.get(site)


def _strikes(ledger: Ledger, source: Source, known: Explanation, shift: int) -> Iterator[dict[str, object]]:
    sources = dict.fromkeys((source, known.site, *(standing.source for standing in known.standings)))
    for one in sources:
        for evidence in Evidence:
            if former := ledger.former(one, evidence):
                times, end = former
                yield {
                    "source": show(one), "evidence": evidence.value, "strikes": times, "until": show_time(end + shift),
                }  # fmt: skip
