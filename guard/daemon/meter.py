"""Sends the meters: every ten seconds the differences of the tally, to one StatsD server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from guard.api.statsd import StatsdSender
from guard.wire.statsd import Meters

if TYPE_CHECKING:
    from guard.daemon.enforcer import Enforcer
    from guard.sensors.amilink import AmiLink
    from guard.settings.config import Statsd

FLUSH = 10.0
"""Seconds between two flushes of meters, StatsD's own default."""


async def meter(statsd: Statsd, enforcer: Enforcer, link: AmiLink) -> None:
    """Send until cancelled. What was counted before the beginning was sent by whoever sent then."""
    sender, meters = StatsdSender(statsd.host, statsd.port), Meters(statsd.prefix, statsd.meter_support)
    await sender.start()
    engine, tally = enforcer.engine, enforcer.engine.tally
    sent, failed = tally.counts["statsd.sent"], tally.counts["statsd.failed"]
    meters.collect({}, tally.counts, {}, enforcer.now())
    try:
        while True:
            await asyncio.sleep(FLUSH)
            gauges = {"bans.active": len(engine.ledger), "link.lag_ms": link.lag_ms}
            sender.send(meters.collect(tally.take_failed(), tally.counts, gauges, enforcer.now()))
            tally.counts["statsd.sent"], tally.counts["statsd.failed"] = sent + sender.sent, failed + sender.failed
    finally:
        await sender.close()
