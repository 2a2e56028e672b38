"""Lists what our sets hold: for tests, and once after a start, in a thread and on a socket of its own.

It is O(n^2) in the kernel, whose dump starts over every 32 KiB. Each start skips as many elements as were already told,
so a hash table that is being resized or cleaned meanwhile loses some and repeats others (nft_rhash_walk; 50,000 fresh
ones were listed as 39,480), and the kernel does not mark such a dump as interrupted. So a listing of several messages
is taken again until one has all there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.address import Source
from guard.core.rule import Scope
from guard.firewall import nftopology as topology
from guard.firewall.nftcodec import SetMessage, decode
from guard.firewall.nftopology import ALLOW, SetKey, parse_name
from guard.wire.nfnetlink import DUMP_INTERRUPTED, elements

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guard.firewall.nfsocket import NetlinkSocket

_LISTINGS = 6  # a resize takes milliseconds, a listing of 50,000 a tenth of a second


def bans_of(kernel: NetlinkSocket) -> Iterator[dict[tuple[Source, Scope], float]]:
    """List all bans in parts of one message each, with seconds left (infinite: without end)."""
    for body in kernel.ask(topology.ask_sets()):
        key = parse_name(str(decode(SetMessage, body)["NAME"]))
        if key is None or key.purpose == ALLOW:
            continue
        start, scope = bytes((key.family, key.length)), Scope(key.purpose)
        for part in parts_of(kernel, key):
            yield {
                (Source(start + address), scope): float("inf") if left is None else left / 1000
                for address, left in part.items()
            }


def parts_of(kernel: NetlinkSocket, key: SetKey) -> Iterator[dict[bytes, int | None]]:
    """List a set in parts: address bytes and milliseconds left; none is told twice."""
    told: set[bytes] = set()
    for again in range(_LISTINGS):
        messages = seen = 0
        interrupted = False
        for answer in kernel.listen(key.writer().listing()):
            interrupted = interrupted or bool(answer.flags & DUMP_INTERRUPTED)
            if not answer.body:
                continue
            listed = list(elements(answer.body))
            messages += 1
            seen += len(listed)
            fresh = {address: left for address, left in listed if address not in told}
            told.update(fresh)
            if fresh:
                yield fresh
        if not interrupted and (messages <= 1 or (again and seen == len(told))):
            return
