"""Bans as elements of sets: the transactions that bring changes to the kernel, which itself ends them.

An add is first sent so that the kernel refuses it if the element is there (NLM_F_EXCL), which is nearly never. If it
refuses, the batch goes again in the sturdy form add, delete, add. A plain second add would not do: before kernel 6.12
it keeps the old timeout silently, and since then it moves the end only if the timeout is another one than before
(nft_add_set_elem; a test shows it). The refused batch costs a grace period of the kernel, 10 to 20 ms.

A removal is add, delete, because deleting what is not there fails the whole batch with ENOENT. So ENOENT has one
meaning left: table or set are gone.
"""

from __future__ import annotations

import errno
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from guard.core.rule import Scope
from guard.errors import FirewallError, TableGone
from guard.firewall import SLACK
from guard.firewall import nftopology as topology
from guard.firewall.nfsocket import refused
from guard.firewall.nftopology import HOST_SETS, TABLE, SetKey
from guard.firewall.plan import SCOPES, fold, left_of
from guard.wire.nfnetlink import CREATE, EXCLUSIVE, Kind, Message, attributes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from guard.core.ban import Ban, Change
    from guard.core.ledger import SetKey as InUse
    from guard.core.units import Instant
    from guard.firewall import Layout
    from guard.firewall.nfsocket import Refusal
    from guard.firewall.plan import Fold

CHANGE_BYTES = 256
"""At most: an IPv6 ban in the sturdy form (3 x 40) that replaces elements of two scopes (4 x 28)."""

_PUT, _TAKE = Kind.NEW_ELEMENT, Kind.DEL_ELEMENT


class BanSet:
    """What is known of one set; `filled` is false as long as nothing of ours can be in it: then it is not searched."""

    __slots__ = ("exists", "filled", "key", "writer")

    def __init__(self, key: SetKey) -> None:
        self.key = key
        self.writer = key.writer()
        self.exists = self.filled = False


class Batch(NamedTuple):
    """One transaction in both forms, and the sets that it fills; those in `made` it makes."""

    first: list[Message]  # what has to be there or away before the adds
    adds: list[tuple[BanSet, list[bytes]]]
    made: int

    def plain(self, flags: int = CREATE | EXCLUSIVE) -> list[Message]:
        """Write it so that the kernel refuses an element that is there, or with other flags leaves it as it is."""
        messages = self.first[:]
        for ban_set, entries in self.adds:
            messages += ban_set.writer.messages(_PUT, flags, entries)
        return messages

    def sturdy(self) -> list[Message]:
        """Write it so that an element that is there is replaced."""
        messages = self.first[:]
        for ban_set, entries in self.adds:
            for step in (_PUT, _TAKE, _PUT):
                messages += ban_set.writer.messages(step, CREATE, entries)
        return messages

    def done(self) -> None:
        """Note that the kernel has carried it out."""
        for ban_set, _ in self.adds:
            ban_set.exists = ban_set.filled = True


class BanSets:
    """The sets of bans, by family and prefix length and in the order of SCOPES, and what is known of each."""

    def __init__(self) -> None:
        self._sets: dict[bytes, tuple[BanSet, ...]] = {}

    def __iter__(self) -> Iterator[BanSet]:
        return chain.from_iterable(self._sets.values())

    def of(self, key: SetKey) -> BanSet:
        """Return one set; it need not exist."""
        return self._kind(bytes((key.family, key.length)))[SCOPES.index(Scope(key.purpose))]

    def note(self, keys: Iterable[SetKey], filled: Collection[SetKey]) -> None:
        """Note which sets there are, and in which of them there may be something."""
        self._sets = {}
        for key in keys:
            ban_set = self.of(key)
            ban_set.exists, ban_set.filled = True, key in filled

    def use(self, in_use: Collection[InUse]) -> None:
        """Note in which sets there is something."""
        for ban_set in self:
            ban_set.filled = tuple(ban_set.key) in in_use

    def unused(self) -> list[SetKey]:
        """List the sets that were made on demand and are empty."""
        return [one.key for one in self if one.exists and not one.filled and one.key not in HOST_SETS]

    def additions(self, bans: Iterable[Ban], now: Instant, layout: Layout) -> Batch:
        """Write bans as a transaction that takes no source out of a set; FirewallError if a source is no network."""
        batch = Batch([], [], 0)
        made = 0
        for (kind, scope), entries in left_of(bans, now).items():
            ban_set = self._kind(kind)[SCOPES.index(scope)]
            if not entries:
                continue
            if not ban_set.exists:
                made += 1
                batch.first.extend(_make(ban_set.key, made, layout))
            batch.adds.append((ban_set, ban_set.writer.timed(entries)))
        return batch._replace(made=made)

    def batch(self, changes: Iterable[Change], now: Instant, layout: Layout) -> Batch:
        """Write changes as a transaction; FirewallError if a source is no network."""
        batch = Batch([], [], 0)
        first, adds = batch.first, batch.adds
        made = 0
        for kind, folded in fold(changes, now).items():
            last = folded.last
            for index, ban_set in enumerate(self._kind(kind)):
                added = [(address, outcome >> 2) for address, outcome in last.items() if outcome & 3 == index]
                lifted = _only_lifted(folded, index) if folded.lifted else []
                if ban_set.filled and len(added) < len(last):
                    lifted += [address for address, outcome in last.items() if outcome & 3 != index]
                if lifted and ban_set.exists:
                    bare = ban_set.writer.bare(lifted)
                    first += ban_set.writer.messages(_PUT, CREATE, bare)
                    first += ban_set.writer.messages(_TAKE, 0, bare)
                if added:
                    adds.append((ban_set, ban_set.writer.timed(added)))
                    if not ban_set.exists:
                        made += 1
                        first += _make(ban_set.key, made, layout)
        return batch._replace(made=made)

    def _kind(self, kind: bytes) -> tuple[BanSet, ...]:
        found = self._sets.get(kind)
        if found is None:
            found = self._sets[kind] = tuple(BanSet(SetKey(scope, *kind)) for scope in SCOPES)
        return found


def _only_lifted(folded: Fold, index: int) -> list[bytes]:
    return [address for address, scopes in folded.lifted.items() if scopes >> index & 1 and address not in folded.last]


def _make(key: SetKey, number: int, layout: Layout) -> list[Message]:
    """Make a set for a prefix length not in use so far."""
    return [topology.new_set(key, number, layout.set_size + SLACK, layout.slow_rate), topology.set_rule(key)]


def table_gone() -> TableGone:
    """Say that the table is gone."""
    return TableGone(f"table inet {TABLE} is gone: somebody flushed nftables; it has to be set up again")


def batch_refused(refusal: Refusal, messages: Sequence[Message], layout: Layout) -> FirewallError:
    """Say why the kernel refused a transaction of elements."""
    if refusal.errno == errno.ENOENT:
        return table_gone()
    if refusal.errno == errno.ENFILE:
        name = dict(attributes(messages[refusal.message].body, 4))[2].rstrip(b"\0").decode()
        return FirewallError(
            f"set {name} is full: it was made for {layout.set_size} bans; nothing of this batch was applied, "
            "raise firewall.bans_max or ban wider prefixes"
        )
    return refused(refusal.errno, f"the kernel refused a batch of {len(messages)} element messages")
