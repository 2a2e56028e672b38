"""The bans in the ipsets: what is known of each set, and batches of changes to them.

ipset has no transactions. What is refused is therefore one of two things, and the error says which: nothing at all, if
a set has no room (that is counted before anything is sent), or a part, in which case every change may be sent again:
adding what is there moves its end, removing what is not there does nothing. Adds go before removals, so a source whose
scope changes is held by both sets for microseconds, and the stronger counts.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from guard.core.address import Source
from guard.errors import FirewallError, TableGone
from guard.firewall import ipsets
from guard.firewall.ipsets import BanKey, parse_name
from guard.firewall.ipsetsetup import header, names_of_ours
from guard.firewall.ipsetsocket import refusal
from guard.firewall.plan import SCOPES, fold
from guard.wire.ipset import Command, Refused, entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from guard.core.ban import Change
    from guard.core.rule import Scope
    from guard.core.units import Instant
    from guard.firewall import Layout
    from guard.firewall.ipsetsocket import IpsetSocket
    from guard.firewall.plan import Fold
    from guard.wire.nfnetlink import Message

_MILLISECONDS = 1000


class BanSet:
    """What is known of one set; `filled` is false as long as nothing of ours can be in it: then it is not searched.

    `room` is how many elements it can take at least; what has ended by itself is only found out by asking.
    """

    __slots__ = ("exists", "filled", "key", "room", "writer")

    def __init__(self, key: BanKey) -> None:
        self.key = key
        self.writer = ipsets.writer(key.name)
        self.exists = self.filled = False
        self.room = 0


class BanSets:
    """All sets of bans. `make` is called with those that a batch needs and that are not there yet."""

    def __init__(self, kernel: IpsetSocket, make: Callable[[Sequence[BanKey]], None]) -> None:
        self._kernel = kernel
        self._make = make
        self._sets: dict[bytes, tuple[BanSet, ...]] = {}  # by family and prefix length, in the order of SCOPES

    def __iter__(self) -> Iterator[BanSet]:
        """Give the sets that exist."""
        return (ban_set for sets in self._sets.values() for ban_set in sets if ban_set.exists)

    def note(self, key: BanKey, found: ipsets.Header) -> None:
        """Take note of a set that stands."""
        ban_set = self._of_kind(bytes(key[1:]))[SCOPES.index(key.scope)]
        ban_set.exists, ban_set.filled = True, found.elements > 1
        ban_set.room = found.size - found.elements

    def forget(self) -> None:
        """Know of no set."""
        self._sets.clear()

    def _of_kind(self, kind: bytes) -> tuple[BanSet, ...]:
        sets = self._sets.get(kind)
        if sets is None:
            sets = self._sets[kind] = tuple(BanSet(BanKey(scope, *kind)) for scope in SCOPES)
        return sets

    def apply(self, changes: Sequence[Change], now: Instant, layout: Layout) -> None:
        """Carry out changes; TableGone if a set is gone, FirewallError as said above."""
        adds: list[tuple[BanSet, list[tuple[bytes, int]]]] = []
        gone: list[tuple[BanSet, list[bytes]]] = []
        for kind, folded in fold(changes, now).items():
            last = folded.last
            for index, ban_set in enumerate(self._sets.get(kind) or self._of_kind(kind)):
                added = [
                    # In whole seconds, rounded up: nobody is let in early.
                    (address, -(-(outcome >> 2) // _MILLISECONDS))
                    for address, outcome in last.items()
                    if outcome & 3 == index
                ]
                lifted = _only_lifted(folded, index) if folded.lifted else []
                if ban_set.filled and len(added) < len(last):
                    lifted += [address for address, outcome in last.items() if outcome & 3 != index]
                if added:
                    adds.append((ban_set, added))
                if lifted and ban_set.exists:
                    gone.append((ban_set, lifted))
        new = [ban_set.key for ban_set, _ in adds if not ban_set.exists]
        if new:
            self._make(new)
        for ban_set, added in adds:
            if len(added) > ban_set.room:
                self._count_room(ban_set, added, layout)
        for ban_set, added in adds:
            ban_set.filled = True
            ban_set.room -= len(added)
            order(self._kernel, ban_set.writer.messages(Command.ADD, ban_set.writer.timed(added)), ban_set.key.name)
        for ban_set, lifted in gone:
            order(self._kernel, ban_set.writer.messages(Command.DELETE, ban_set.writer.bare(lifted)), ban_set.key.name)

    def _count_room(self, ban_set: BanSet, added: Sequence[tuple[bytes, int]], layout: Layout) -> None:
        """Count what a set holds and how much of a batch is new to it; FirewallError if that is too much."""
        found = header(self._kernel, ban_set.key.name)
        if found is None:
            raise set_gone(ban_set.key.name)
        room, new = found.size - found.elements, len(added)
        if new > room:
            there = ban_set.writer.bare(address for address, _ in added)
            tests = (ban_set.writer.messages(Command.TEST, [entry]) for entry in there)
            new = sum(self._kernel.order(test) is not None for test in tests)
        if new > room:
            raise FirewallError(
                f"set {ban_set.key.name} is full: it was made for {layout.set_size} bans; nothing of this batch was "
                "applied, raise the number of bans allowed or ban wider prefixes"
            )
        ban_set.room = room + len(added) - new


def order(kernel: IpsetSocket, messages: Sequence[Message], name: str) -> None:
    """Carry out messages to one set."""
    refused = kernel.order(messages)
    if refused is None:
        return
    if refused.errno == errno.ENOENT:
        raise set_gone(name)
    what = f"the kernel refused message {refused.message + 1} of {len(messages)} to ipset {name}"
    if refused.errno == Refused.HASH_FULL:
        # There was room when it was counted: what has ended in the last second is not collected yet.
        raise FirewallError(f"{what}, which is full for a moment; those before it are applied, the rest will be")
    raise refusal(refused.errno, f"{what}; those before it are applied")


def listing(kernel: IpsetSocket) -> Iterator[Mapping[tuple[Source, Scope], float]]:
    """List all bans in the kernel in parts, with seconds left, and close the socket."""
    try:
        for key in filter(None, map(parse_name, names_of_ours(kernel))):
            start, mark = bytes(key[1:]), ipsets.mark(key.name)
            for body in kernel.ask(ipsets.ask_elements(key.name)):
                yield {
                    (Source(start + entry.key), key.scope): entry.left or float("inf")
                    for entry in entries(body)
                    if entry.key != mark
                }
    finally:
        kernel.close()


def set_gone(name: str) -> TableGone:
    """Say that a set is not as we left it; one of bans has to be filled again."""
    kept = parse_name(name) is None
    return TableGone(f"ipset {name} is gone or was emptied: somebody changed it", bans_kept=kept)


def _only_lifted(folded: Fold, index: int) -> list[bytes]:
    return [address for address, scopes in folded.lifted.items() if scopes >> index & 1 and address not in folded.last]
