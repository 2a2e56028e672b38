"""What does a packet of somebody who is not banned pay, for each prefix length in use and for the allowlist?

Packets of one address that is in no set go through our chain, and are dropped behind it, at the input hook, by a rule
that asks nothing. What they take with and without our table is compared in turn, on one core.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack

from bench.figure import Figure, interleave
from bench.frames import Mouth, frame, stay_on_one_core, wire_up
from guard.core.address import host, parse_source
from guard.core.ban import Ban, Change, Op
from guard.core.rule import Scope
from guard.core.units import HOUR, Instant
from guard.firewall import Layout
from guard.firewall.nftables import Nftables
from tests.netns import namespace

SOURCE = bytes((198, 51, 100, 7))
FRAMES = 20_000
LENGTHS = 24
BEHIND = "table ip behind { chain input { type filter hook input priority 0; drop\n}\n}\n"
ALLOWED = 1_000


def _table(*, lengths=0, scope=Scope.ALL, allowed=0):
    def fill():
        firewall = Nftables()
        firewall.setup(Layout(allow=tuple(host((10 << 24 | number).to_bytes(4, "big")) for number in range(allowed))))
        now = Instant(time.monotonic_ns())
        sources = [parse_source(f"{20 + length}.0.0.0/{length}") for length in range(32, 32 - lengths, -1)]
        bans = [Ban(source=one, rule="bench", since=now, until=Instant(now + HOUR), scope=scope) for one in sources]
        firewall.apply([Change(Op.ADD, ban) for ban in bans], now)
        firewall.close()

    return fill


CASES = {
    "no table": lambda: None,
    "our table": _table(),
    "one": _table(lengths=1),
    "all": _table(lengths=LENGTHS),
    "all, sip": _table(lengths=LENGTHS, scope=Scope.SIP),
    "allowed": _table(allowed=ALLOWED),
}


def measure(*, quick):
    affinity = os.sched_getaffinity(0)
    with ExitStack() as stack:
        mouths = {}
        for name, fill in CASES.items():
            place, far = (stack.enter_context(namespace(where)) for where in ("bench", "far"))
            header = wire_up(place, far)
            place.run("nft", "-f", "-", input=BEHIND)
            with place.inside():
                fill()
            mouths[name] = mouth = Mouth(far, [frame(header, SOURCE)] * FRAMES)
            stack.callback(mouth.close)
        stay_on_one_core()
        try:
            interleave(1, {name: mouth.nanoseconds for name, mouth in mouths.items()})
            found = interleave(15 if quick else 61, {name: mouth.nanoseconds for name, mouth in mouths.items()})
        finally:
            os.sched_setaffinity(0, affinity)
    yield Figure("a packet without our table", found["no table"], "ns")
    yield Figure("our table with nobody banned", _more(found, "our table", "no table"), "ns")
    yield Figure("one prefix length in use", _more(found, "one", "no table"), "ns", 300, 150)
    further = LENGTHS - 1
    yield Figure("each further one", _more(found, "all", "one", further), "ns", 150, 75)
    yield Figure("each one of the SIP ports only", _more(found, "all, sip", "our table", LENGTHS), "ns")
    yield Figure(f"an allow list of {ALLOWED:,}", _more(found, "allowed", "our table"), "ns", 200, 100)


def _more(found, name, than, parts=1):
    return tuple((one - other) / parts for one, other in zip(found[name], found[than], strict=True))
