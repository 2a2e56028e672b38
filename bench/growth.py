"""Does anything cost more for each of many than for each of few? The slope of time against size, both as logarithms.

1.0 is a cost in proportion: twice as many take twice as long. A slope of 2 would be a table that is searched through.
Each size runs in turn with the others, and the slope is fitted through their medians.
"""

from __future__ import annotations

import tempfile
import time
from math import log
from pathlib import Path

from bench import packet
from bench.backends import NOW, adds
from bench.figure import Figure, Line, interleave
from bench.flood import CHUNK, event
from bench.memory import tracked
from bench.restore.daemon import restored
from guard.core.engine import Engine
from guard.core.units import Instant, Wall
from guard.firewall import BATCH, Layout
from guard.firewall.choice import choose
from guard.settings.rulefile import Folder, load_rules
from guard.wire.amievent import BlockReader, EventReader
from tests.netns import namespace

NEEDS = ("ipset", "iptables")
STEEPEST = 1.1
TREE = Path(__file__).parents[1]


def slope(points):
    """Fit a line through the logarithms of points of (size, value)."""
    xs, ys = zip(*((log(size), log(value)) for size, value in points), strict=True)
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)


def judged(attackers):
    """Return the seconds that reader and engine take for four answers of each attacker."""
    rules = load_rules((Folder(TREE / "rules"),)).rules
    data = b"".join(event(number & 0xFFFF, f"{turn}-{number}") for turn in range(4) for number in range(attackers))
    engine, blocks, events = Engine(rules), BlockReader(), EventReader()
    started = time.process_time()
    for at in range(0, len(data), CHUNK):
        batch = events.read(blocks.feed(data[at : at + CHUNK]))
        if batch:
            now = max(int(engine.now), *(one.at for one in batch))
            engine.handle(batch, Instant(now), Wall(now))
            engine.take_changes()
    return time.process_time() - started


def applied(count):
    """Return the seconds of a processor, the kernel's too, that bans take in batches."""
    with namespace("bench") as place, place.inside():
        firewall = choose("nftables")
        firewall.setup(Layout(set_size=2_000_000))
        batches = [adds((10 << 24) + at, min(BATCH, count - at)) for at in range(0, count, BATCH)]
        started = time.process_time()
        for batch in batches:
            firewall.apply(batch, NOW)
        seconds = time.process_time() - started
        firewall.close()
    return seconds


def came_back(count):
    """Return the seconds in which the store's bans are read and brought to the kernel."""
    with tempfile.TemporaryDirectory(prefix="astguard-") as folder:
        found = restored(Path(folder), count)
    return found.read + found.filled


def measure(*, quick):
    rounds = 2 if quick else 5
    most = 100_000 if quick else 1_000_000
    works = {
        "events, by attackers": (judged, (500, 5_000, 50_000), "s"),
        "bans in batches": (applied, (1_000, 10_000, 100_000) if quick else (10_000, 100_000, most), "s"),
        "bans restored": (came_back, (10_000, most) if quick else (10_000, 100_000, most), "s"),
    }
    for name, (work, sizes, unit) in works.items():
        found = interleave(rounds, {size: lambda size=size, work=work: work(size) for size in sizes})
        yield from _slopes(name, found, unit)
    idle, *grown = tracked((0, 10_000, 100_000))
    yield from _slopes("memory, by sources tracked", {10_000: (grown[0] - idle,), 100_000: (grown[1] - idle,)}, "MB")
    sizes = packet.SIZES[:2] if quick else packet.SIZES
    cases = {name: case for name, case in packet.CASES.items() if case[1] in sizes and name.startswith("nftables")}
    costs = packet.costs(5 if quick else 21, cases)
    yield from _slopes("a dropped packet, by bans", {cases[name][1]: found for name, found in costs.items()}, "ns")


def _slopes(name, found, unit):
    """Give the slope of each round, and the curve."""
    rounds = zip(*found.values(), strict=True)
    slopes = tuple(slope(list(zip(found, values, strict=True))) for values in rounds)
    yield Figure(name, slopes, "", must=STEEPEST)
    points = tuple((size, Figure("", values).value) for size, values in found.items())
    yield Line(name, points, unit)
