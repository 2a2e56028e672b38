"""Which attacks are run against whom."""

from __future__ import annotations

from dataclasses import replace

from bench.race.astguard import Astguard
from bench.race.attack import Attack
from bench.race.crowdsec import CrowdSec
from bench.race.fail2ban import Fail2ban
from bench.race.nobody import Nobody

TOOLS = {tool.name: tool for tool in (Nobody, Fail2ban, CrowdSec, Astguard)}

SVCRACK = Attack("svcrack", None, 30)
SVCRACK_FASTEST = Attack("svcrack -t 0", None, 30, pause=0)
"""It waits for no answer at all: a flood in which every other request is a guess."""

FLOODS = (Attack("200/s", 200, 30), Attack("1,000/s", 1_000, 30))
LOAD = Attack("5,000/s", 5_000, 30, load=True)
SATURATING = Attack("20,000/s", 20_000, 30)
"""More than Asterisk answers on two cores."""

UNGUARDED_SECONDS = 5.0
"""Of the attacks that nobody stops; long enough to see their speed."""


def attacks(tool, *, short, series):
    """Give the attacks of one round, the heaviest last; astguard's targets are of many attacks, hence the series."""
    floods = FLOODS[1:] if short else FLOODS
    chosen = [SVCRACK, *floods, replace(LOAD, seconds=10.0) if short else LOAD, SVCRACK_FASTEST, SATURATING]
    if tool == Nobody.name:
        return [each if each.load else replace(each, seconds=UNGUARDED_SECONDS) for each in chosen]
    if tool == Astguard.name:
        quick = [replace(each, idle=0.5) for each in (SVCRACK, SVCRACK_FASTEST, SATURATING)]
        return [*chosen, *(each for each in quick for _ in range(series))]
    return chosen
