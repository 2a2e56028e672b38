"""What does a dropped packet cost, by the number of bans, beside linear rules, ipset and a drop without any question?

Packets of banned sources, drawn at random from all of them, go over a veth pair into a namespace that drops them; sent
and dropped on one core, in turn with those of the other cases. The floor is the same packet dropped by a rule that asks
nothing, at the same hook. XDP, which would drop it earlier, is not measured: a program for it needs a compiler for BPF.
"""

from __future__ import annotations

import os
import random
from contextlib import ExitStack

from bench.backends import NOW, adds
from bench.figure import Figure, Line, interleave
from bench.frames import Mouth, frame, stay_on_one_core, wire_up
from guard.firewall import BATCH, Layout
from guard.firewall.choice import choose
from tests.netns import namespace

NEEDS = ("ipset", "iptables")
FIRST = 10 << 24
FRAMES = 50_000
SIZES = (100, 100_000, 1_000_000)
RULES = 1_000
RAW = "table ip other { chain raw { type filter hook prerouting priority raw;\n"


def _sets(name):
    def fill(_place, count):
        firewall = choose(name)
        firewall.setup(Layout(set_size=2_000_000))
        for at in range(0, count, BATCH):
            firewall.apply(adds(FIRST + at, min(BATCH, count - at)), NOW)
        firewall.close()

    return fill


def _rules(place, count):
    lines = "".join(f"ip saddr {_shown(FIRST + number)} drop\n" for number in range(count))
    place.run("nft", "-f", "-", input=f"{RAW}{lines}}}\n}}\n")


def _floor(place, _count):
    place.run("nft", "-f", "-", input=f"{RAW}drop\n}}\n}}\n")


def _shown(packed):
    return ".".join(str(packed >> shift & 255) for shift in (24, 16, 8, 0))


CASES = {
    "floor": (_floor, 100_000),
    **{f"nftables {size:,}": (_sets("nftables"), size) for size in SIZES},
    "ipset 100,000": (_sets("iptables"), 100_000),
    f"{RULES:,} rules": (_rules, RULES),
}


def costs(rounds, cases=CASES):
    """Return the nanoseconds of each case, round by round."""
    dice = random.Random(1)
    affinity = os.sched_getaffinity(0)
    with ExitStack() as stack:
        mouths = {}
        for name, (fill, count) in cases.items():
            place, far = (stack.enter_context(namespace(where)) for where in ("bench", "far"))
            header = wire_up(place, far)
            with place.inside():
                fill(place, count)
            sources = [(FIRST + dice.randrange(count)).to_bytes(4, "big") for _ in range(FRAMES)]
            mouths[name] = mouth = Mouth(far, [frame(header, source) for source in sources])
            stack.callback(mouth.close)
        stay_on_one_core()
        try:
            interleave(1, {name: mouth.nanoseconds for name, mouth in mouths.items()})
            return interleave(rounds, {name: mouth.nanoseconds for name, mouth in mouths.items()})
        finally:
            os.sched_setaffinity(0, affinity)


def measure(*, quick):
    found = costs(7 if quick else 41)
    floor, small, large = (found[name] for name in ("floor", "nftables 100", "nftables 1,000,000"))
    beside = {name: found[name] for name in ("ipset 100,000", f"{RULES:,} rules", "floor")}
    for size in SIZES:
        name = f"nftables {size:,}"
        yield Figure(f"{size:,} bans", found[name], "ns", beside=beside if size == 100_000 else {})
    above = _less(found["nftables 100,000"], floor)
    yield Figure("  100,000 bans, above the floor", above, "ns", must=500, aim=350)
    yield Figure("  1,000,000 bans, times 100", tuple(map(_ratio, large, small)), "x", must=1.6)
    middles = [(size, Figure("", found[f"nftables {size:,}"]).value) for size in SIZES]
    yield Line("a dropped packet", tuple(middles), "ns")


def _less(ones, others):
    return tuple(one - other for one, other in zip(ones, others, strict=True))


def _ratio(one, other):
    return one / other
