"""How many bans a second does the backend bring to the kernel, one by one and in batches, beside a bare loop and `nft`?

Each for itself in a fresh network namespace. One by one is a transaction for each; a batch is 20,000. The bare loop
sends the messages of the batches, packed before, and does nothing else; `nft -f` reads the same elements from a file,
one run of it for all.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.backends import NOW, adds
from bench.figure import Figure, interleave
from bench.restore import tools
from guard.firewall import BATCH, Layout
from guard.firewall.choice import choose
from tests.netns import namespace

NEEDS = ("ipset", "iptables")
SINGLES, BATCHED = 20_000, 100_000
SIZE = 1_000_000
FIRST, SECOND = 10 << 24, 20 << 24
BY_NFT = 40


def backend(name, *, batch):
    """Return how many bans a second it applies."""
    changes = adds(FIRST, BATCHED if batch > 1 else SINGLES)
    with namespace("bench") as place, place.inside():
        firewall = choose(name)
        firewall.setup(Layout(set_size=SIZE))
        firewall.apply(adds(SECOND, 100), NOW)  # sockets and sets are there, as in a daemon that runs
        started = time.perf_counter()
        for at in range(0, len(changes), batch):
            firewall.apply(changes[at : at + batch], NOW)
        seconds = time.perf_counter() - started
        firewall.teardown()
        firewall.close()
    return len(changes) / seconds


def by_nft():
    """Return how many bans a second `nft add element` makes, a process for each, as others do it."""
    with namespace("bench") as place, place.inside():
        choose("nftables").setup(Layout(set_size=SIZE))
        started = time.perf_counter()
        for number in range(BY_NFT):
            element = f"{{ 10.1.{number}.7 timeout 1h }}"
            place.run("nft", "add", "element", "inet", "astguard", "all4_32", element)
        return BY_NFT / (time.perf_counter() - started)


def from_file():
    """Return how many a second `nft -f` loads."""
    with tempfile.TemporaryDirectory(prefix="astguard-") as folder:
        return BATCHED / tools.nft(Path(folder), BATCHED)[0]


def bare():
    """Return how many a second go through when nothing is done but to send them."""
    return BATCHED / tools.bare_loop(BATCHED)[1]


def measure(*, quick):
    found = interleave(
        3 if quick else 7,
        {
            "one": lambda: backend("nftables", batch=1),
            "batch": lambda: backend("nftables", batch=BATCH),
            "ipset one": lambda: backend("iptables", batch=1),
            "ipset batch": lambda: backend("iptables", batch=BATCH),
            "nft": by_nft,
            "file": from_file,
            "bare": bare,
        },
    )
    yield Figure("one by one", found["one"], "/s", 10_000, 40_000, more=True, beside={"nft, one by one": found["nft"]})
    yield Figure(
        f"in batches of {BATCH:,}", found["batch"], "/s", 150_000, 400_000, more=True,
        beside={"a bare loop": found["bare"], "nft -f": found["file"]},
    )  # fmt: skip
    yield Figure("backend iptables, one by one", found["ipset one"], "/s", more=True)
    yield Figure("backend iptables, in batches", found["ipset batch"], "/s", more=True)
