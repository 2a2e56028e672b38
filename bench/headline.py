"""How long do the events of half a year on one attacked server take: 21,055,537 failed authentications, all in a row?

One public Asterisk 12 server counted so many in the first half of 2014. They come from a generator, over TCP, from
5,000 attackers of whom all are banned for real; the daemon is that of `throughput`. The quick form plays a fiftieth
part and says what the whole would take.
"""

from __future__ import annotations

from bench.figure import Figure
from bench.throughput import ATTACKERS, EACH, astguard

EVENTS = 21_055_537
PASS = ATTACKERS * EACH


def measure(*, quick):
    passes = 2 if quick else -(-EVENTS // PASS)
    runs = [astguard(passes) for _ in range(2 if quick else 1)]
    share = [EVENTS / events for events, *_ in runs]
    note = f"reckoned from {passes * PASS:,}" if quick else ""
    seconds = tuple(run[1] * part for run, part in zip(runs, share, strict=True))
    yield Figure(f"{EVENTS:,} events", seconds, "s", must=125, aim=60, note=note)
    yield Figure("  seconds of its processor", tuple(run[2] * part for run, part in zip(runs, share, strict=True)), "s")
    yield Figure("  its memory at the end", tuple(run[3] for run in runs), "MB")
