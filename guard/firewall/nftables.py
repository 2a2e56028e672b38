"""The nftables backend: our table, and the bans as elements that the kernel itself ends.

An add is first sent so that the kernel refuses it if the element is there (NLM_F_EXCL), which is nearly never. If it
refuses, the batch goes again in the sturdy form add, delete, add. A plain second add would not do: before kernel 6.12
it keeps the old timeout silently, and since then it moves the end only if the timeout is another one than before
(nft_add_set_elem; a test shows it). The refused batch costs a grace period of the kernel, 10 to 20 ms.

A removal is add, delete, because deleting what is not there fails the whole batch with ENOENT. So ENOENT has one
meaning left: table or set are gone.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, cast

from guard.core.address import Source
from guard.core.rule import Scope
from guard.errors import FirewallError, TableGone
from guard.firewall import BATCH, SLACK
from guard.firewall import nftopology as topology
from guard.firewall.nfsocket import NetlinkSocket, Refusal, refused
from guard.firewall.nftcodec import ObjectMessage, SetMessage, decode
from guard.firewall.nftopology import ALLOW, TABLE, SetKey, parse_name
from guard.firewall.nftsetup import allow_sets, build, elements_of, setup_refused
from guard.firewall.plan import SCOPES, check, fold
from guard.wire.nfnetlink import CREATE, EXCLUSIVE, Kind, Message, attributes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from guard.core.ban import Change
    from guard.core.units import Instant
    from guard.firewall import Layout
    from guard.firewall.plan import Fold

_CHANGE_BYTES = 256  # at most: an IPv6 ban in the sturdy form (3 x 40) that replaces elements of two scopes (4 x 28)
_PUT, _TAKE = Kind.NEW_ELEMENT, Kind.DEL_ELEMENT


class _BanSet:
    """What is known of one set; `filled` is false as long as nothing of ours can be in it: then it is not searched."""

    __slots__ = ("exists", "filled", "key", "writer")

    def __init__(self, key: SetKey) -> None:
        self.key = key
        self.writer = key.writer()
        self.exists = self.filled = False


class Nftables:
    """See guard.firewall.Firewall. Not to be shared between threads; talks to the network namespace of its setup()."""

    name = "nftables"

    def __init__(self) -> None:
        self._kernel = NetlinkSocket()
        self._layout: Layout | None = None
        self._allow: frozenset[SetKey] = frozenset()
        self._sets: dict[bytes, tuple[_BanSet, ...]] = {}  # by family and prefix length, in the order of SCOPES

    def setup(self, layout: Layout) -> None:
        """Make everything in one transaction, or change nothing: FirewallError names what stands in the way."""
        built = build(self._kernel, layout)
        refusal = self._kernel.commit(built.messages)
        if refusal is not None:
            raise setup_refused(refusal, built.messages)
        self._layout = layout
        self._allow = frozenset(allow_sets(layout.allow))
        self._sets = {}
        for key in built.ban_sets:
            kind = bytes((key.family, key.length))
            ban_set = (self._sets.get(kind) or self._add_kind(kind))[SCOPES.index(Scope(key.purpose))]
            ban_set.exists, ban_set.filled = True, key in built.filled

    def close_ports(self, ports: Collection[int]) -> None:
        """Add elements to the set of ports, 0.1 ms where setup() takes 10 to 30; TableGone if setup() is needed."""
        if self._layout is None:
            raise FirewallError("nftables: close_ports() before setup()")
        messages = topology.more_ports(ports)
        refusal = self._kernel.commit(messages) if messages else None
        if refusal is not None:
            raise _refused(refusal, messages, self._layout)

    def accept(self, added: Collection[Source], gone: Collection[Source]) -> bool:
        """Change elements of the allow sets; False if there is no set for a prefix length yet. TableGone as above."""
        if self._layout is None:
            raise FirewallError("nftables: accept() before setup()")
        coming, going = allow_sets(added), allow_sets(gone)
        if not self._allow.issuperset(coming):
            return False
        messages: list[Message] = []
        for sets, steps in ((coming, (_PUT,)), (going, (_PUT, _TAKE))):
            for key in self._allow.intersection(sets):
                writer = key.writer()
                bare = writer.bare(source[2:] for source in sets[key])
                for step in steps:
                    messages += writer.messages(step, CREATE if step is _PUT else 0, bare)
        refusal = self._kernel.commit(messages) if messages else None
        if refusal is not None:
            raise _refused(refusal, messages, self._layout)
        return True

    def apply(self, changes: Sequence[Change], now: Instant) -> None:
        """Carry out changes in transactions of up to 20,000. TableGone if setup() is needed again.

        If a later one of several transactions is refused, the earlier ones stand.
        """
        if self._layout is None:
            raise FirewallError("nftables: apply() before setup()")
        most = min(BATCH, max(self._kernel.room // _CHANGE_BYTES, 1))
        if len(changes) <= most:
            self._transact(changes, now, self._layout)
            return
        check(changes)  # nothing is sent if any of them is wrong
        for start in range(0, len(changes), most):
            self._transact(changes[start : start + most], now, self._layout)

    def _transact(self, changes: Sequence[Change], now: Instant, layout: Layout) -> None:
        first: list[Message] = []  # what has to be there or away before the adds
        adds: list[tuple[_BanSet, list[bytes]]] = []
        for kind, folded in fold(changes, now).items():
            sets = self._sets.get(kind) or self._add_kind(kind)
            last = folded.last
            for index, ban_set in enumerate(sets):
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
                        first += _make(ban_set.key, len(adds), layout)
        messages = first[:]
        for ban_set, entries in adds:
            messages += ban_set.writer.messages(_PUT, CREATE | EXCLUSIVE, entries)
        if not messages:
            return
        refusal = self._kernel.commit(messages)
        if refusal is not None and refusal.errno == errno.EEXIST:
            messages = first
            for ban_set, entries in adds:
                for step in (_PUT, _TAKE, _PUT):
                    messages += ban_set.writer.messages(step, CREATE, entries)
            refusal = self._kernel.commit(messages)
        if refusal is not None:
            raise _refused(refusal, messages, layout)
        for ban_set, _ in adds:
            ban_set.exists = ban_set.filled = True

    def _add_kind(self, kind: bytes) -> tuple[_BanSet, ...]:
        sets = self._sets[kind] = tuple(_BanSet(SetKey(scope, *kind)) for scope in SCOPES)
        return sets

    def dropped(self) -> Mapping[Scope, tuple[int, int]]:
        """Return packets and bytes by scope, counted since the table was made: a second setup() does not reset them."""
        found = {}
        for body in self._kernel.ask(topology.ask_counters()):
            attrs = decode(ObjectMessage, body)
            found[attrs["NAME"]] = cast("Mapping[str, int]", attrs["DATA"])
        try:
            counters = [(scope, found[topology.counter_name(scope)]) for scope in SCOPES]
        except KeyError:
            raise _table_gone() from None
        return {scope: (counter["PACKETS"], counter["BYTES"]) for scope, counter in counters}

    def held(self) -> Mapping[tuple[Source, Scope], float]:
        """List all bans in the kernel, with seconds left. Needs no setup(); nothing if there is no table."""
        held = {}
        for body in self._kernel.ask(topology.ask_sets()):
            key = parse_name(str(decode(SetMessage, body)["NAME"]))
            if key is not None and key.purpose != ALLOW:
                start, scope = bytes((key.family, key.length)), Scope(key.purpose)
                for address, left in elements_of(self._kernel, key).items():
                    held[Source(start + address), scope] = float("inf") if left is None else left / 1000
        return held

    def teardown(self) -> None:
        """Remove the table with all that is in it; fine if there is none."""
        refusal = self._kernel.commit([topology.drop_table()])
        if refusal is not None and refusal.errno != errno.ENOENT:
            raise refused(refusal.errno, f"the kernel does not let table inet {topology.TABLE} go")
        self._layout, self._sets = None, {}

    def close(self) -> None:
        """Close the socket; bans stay in the kernel and end on time."""
        self._kernel.close()


def _only_lifted(folded: Fold, index: int) -> list[bytes]:
    return [address for address, scopes in folded.lifted.items() if scopes >> index & 1 and address not in folded.last]


def _make(key: SetKey, number: int, layout: Layout) -> list[Message]:
    """Make a set for a prefix length not in use so far."""
    return [topology.new_set(key, number, layout.set_size + SLACK, layout.slow_rate), topology.set_rule(key)]


def _table_gone() -> TableGone:
    return TableGone(f"table inet {TABLE} is gone: somebody flushed nftables; it has to be set up again")


def _refused(refusal: Refusal, messages: Sequence[Message], layout: Layout) -> FirewallError:
    if refusal.errno == errno.ENOENT:
        return _table_gone()
    if refusal.errno == errno.ENFILE:
        name = dict(attributes(messages[refusal.message].body, 4))[2].rstrip(b"\0").decode()
        return FirewallError(
            f"set {name} is full: it was made for {layout.set_size} bans; nothing of this batch was applied, "
            "raise the number of bans allowed or ban wider prefixes"
        )
    return refused(refusal.errno, f"the kernel refused a batch of {len(messages)} element messages")
