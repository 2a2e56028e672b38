"""How long do bans take to come back after a reboot, and what do they weigh?

Each number of them in a network namespace of its own that was just made: an empty kernel, as after a reboot. The bare
loop sends the messages that astguard sends and nothing more; `nft -f` and `ipset restore` read the same addresses, and
the newest fail2ban those in its database. Seconds of a processor have the kernel's in them; on a busy machine they say
more than those of the clock.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.figure import Figure, Line, interleave
from bench.restore import fail2ban, tools
from bench.restore.daemon import restored

NEEDS = ("ipset",)
TARGETS = {10_000: (0.2, 0.05), 100_000: (0.8, 0.4), 1_000_000: (8, 4)}
OF_FAIL2BAN = {True: 200, False: 10_000}
"""Bans that fail2ban restores, in the quick form and else: it takes minutes for ten thousand."""


def measure(*, quick):
    curve = []
    with tempfile.TemporaryDirectory(prefix="astguard-") as made:
        folder = Path(made)
        for count, (must, aim) in list(TARGETS.items())[: 2 if quick else 3]:
            contenders = {
                "astguard": lambda count=count: restored(folder, count),
                "bare": lambda count=count: tools.bare_loop(count)[1:],
                "nft": lambda count=count: tools.nft(folder, count),
                "ipset": lambda count=count: tools.ipset(folder, count),
            }
            rounds = 2 if quick else 3
            found = interleave(rounds, contenders)
            ours = tuple(run.read + run.filled for run in found["astguard"])
            names = {"a bare loop": "bare", "nft -f": "nft", "ipset restore": "ipset"}
            beside = {name: tuple(run[0] for run in found[key]) for name, key in names.items()}
            yield Figure(f"{count:,} bans, store read and kernel filled", ours, "s", must, aim, beside=beside)
            yield Figure("  from exec to READY", tuple(run.seconds for run in found["astguard"]), "s")
            yield Figure("  of a processor, all in", tuple(run.cpu for run in found["astguard"]), "s")
            yield Figure("  memory", tuple(run.mb for run in found["astguard"]), "MB")
            curve.append((count, Figure("", ours).value))
    count = OF_FAIL2BAN[quick]
    name, seconds, *_ = fail2ban.restored(count)
    yield Figure(f"a thousand of {name}'s {count:,}", (seconds / count * 1000,), "s")
    yield Line("bans restored", tuple(curve), "s")
