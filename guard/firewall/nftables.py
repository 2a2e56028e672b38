"""The nftables backend: our table, made and looked after in one place.

How bans become elements is told in nftbans.py, what stands besides them in nftopology.py.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, cast

from guard.errors import FirewallError, TableGone
from guard.firewall import BATCH, NEVER
from guard.firewall import nftopology as topology
from guard.firewall.nfsocket import NetlinkSocket, refused
from guard.firewall.nftbans import CHANGE_BYTES, BanSets, batch_refused, table_gone
from guard.firewall.nftcodec import ObjectMessage, decode
from guard.firewall.nftlisting import bans_of
from guard.firewall.nftlook import difference, generation, look
from guard.firewall.nftmonitor import NftMonitor
from guard.firewall.nftopology import TABLE, SetKey
from guard.firewall.nftsetup import allow_sets, build, setup_refused, without
from guard.firewall.plan import SCOPES, check, left_of
from guard.wire.nfnetlink import CREATE, EXCLUSIVE, Kind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from guard.core.address import Source
    from guard.core.ban import Ban, Change
    from guard.core.ledger import SetKey as InUse
    from guard.core.rule import Scope
    from guard.core.units import Instant
    from guard.firewall import Layout
    from guard.firewall.nftbans import Batch
    from guard.firewall.nftlook import Standing
    from guard.wire.nfnetlink import Message

_PUT, _TAKE = Kind.NEW_ELEMENT, Kind.DEL_ELEMENT


class Nftables:
    """See guard.firewall.Firewall. Not to be shared between threads; talks to the network namespace of its setup()."""

    name = "nftables"
    longest = None
    why = ""

    def __init__(self) -> None:
        self._kernel = NetlinkSocket()
        self._layout: Layout | None = None
        self._allow: frozenset[SetKey] = frozenset()
        self._standing: Standing | None = None  # as we made it; None: not made yet, or others had a hand in it
        self._sets = BanSets()

    def setup(self, layout: Layout, bans: Collection[Ban] = (), now: Instant = NEVER) -> None:
        """Make everything in one transaction, or change nothing: FirewallError names what stands in the way."""
        held = {SetKey(scope, *kind): left for (kind, scope), left in left_of(bans, now).items() if left}
        empty = [one.key for one in self._sets if one.exists and not one.filled]
        before = generation(self._kernel)
        built = build(self._kernel, layout, more=held, unused=empty, ours=self._layout is not None)
        messages = list(built.messages)
        for key, entries in held.items():
            writer = key.writer()
            messages += writer.messages(_PUT, CREATE, writer.timed(entries))
        refusal = self._kernel.commit(messages)
        if refusal is not None:
            raise setup_refused(refusal, messages)
        self._layout = layout
        self._allow = frozenset(allow_sets(layout.allow))
        self._sets.note(built.ban_sets, built.found.difference(empty).union(held))
        self._has_changed(before)

    def close_ports(self, ports: Collection[int]) -> None:
        """Add elements to the set of ports, 0.1 ms where setup() takes 10 to 30; TableGone if setup() is needed."""
        if self._layout is None:
            raise FirewallError("nftables: close_ports() before setup()")
        messages = topology.more_ports(ports)
        refusal = self._kernel.commit(messages) if messages else None
        if refusal is not None:
            raise batch_refused(refusal, messages, self._layout)

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
            raise batch_refused(refusal, messages, self._layout)
        return True

    def apply(self, changes: Sequence[Change], now: Instant) -> None:
        """Carry out changes in transactions of up to 20,000. TableGone if setup() is needed again.

        If a later one of several transactions is refused, the earlier ones stand.
        """
        if self._layout is None:
            raise FirewallError("nftables: apply() before setup()")
        if len(changes) > self._most:
            check(changes)  # nothing is sent if any of them is wrong
        most = self._most
        for start in range(0, len(changes), most):
            piece = changes[start : start + most] if len(changes) > most else changes
            self._transact(self._sets.batch(piece, now, self._layout), self._layout)

    def restore(self, bans: Sequence[Ban], now: Instant) -> None:
        """Add bans in a form that takes no offence at those that are there: neither refused nor moved."""
        if self._layout is None:
            raise FirewallError("nftables: restore() before setup()")
        most = self._most
        for start in range(0, len(bans), most):
            self._transact(self._sets.additions(bans[start : start + most], now, self._layout), self._layout, CREATE)

    @property
    def _most(self) -> int:
        return min(BATCH, max(self._kernel.room // CHANGE_BYTES, 1))

    def _transact(self, batch: Batch, layout: Layout, flags: int = CREATE | EXCLUSIVE) -> None:
        messages = batch.plain(flags)
        if not messages:
            return
        before = generation(self._kernel) if batch.made else 0
        refusal = self._kernel.commit(messages)
        if refusal is not None and refusal.errno == errno.EEXIST:
            messages = batch.sturdy()
            refusal = self._kernel.commit(messages)
        if refusal is not None:
            raise batch_refused(refusal, messages, layout)
        batch.done()
        if batch.made:
            self._has_changed(before, self._standing)

    def look(self) -> None:
        """Compare table, chain, rules, sets and counters with what was made; TableGone names what differs."""
        if self._layout is None:
            raise FirewallError("nftables: look() before setup()")
        if self._standing is None:
            raise TableGone(f"somebody changed table inet {TABLE} just when we did; it has to be set up again")
        differs = difference(self._standing, look(self._kernel))
        if differs is not None:
            text, kept = differs
            raise TableGone(text, bans_kept=kept)

    def watch(self) -> NftMonitor | None:
        """Join the monitor group; None if the kernel does not let us."""
        try:
            return NftMonitor(self._kernel)
        except OSError:
            return None

    def tidy(self, in_use: Collection[InUse]) -> None:
        """Remove sets that were made on demand and hold nothing; TableGone if setup() is needed."""
        self._sets.use(in_use)
        unused = self._sets.unused()
        if not unused or self._layout is None:
            return
        self.look()  # what somebody did to chain or sets is not to be taken for ours
        before = generation(self._kernel)
        messages = without(self._kernel, unused)
        refusal = self._kernel.commit(messages)
        if refusal is not None:
            raise batch_refused(refusal, messages, self._layout)
        for key in unused:
            self._sets.of(key).exists = False
        self._has_changed(before)

    def _has_changed(self, before: int, grown_from: Standing | None = None) -> None:
        """Take what stands for what we made, unless others had a hand in it since that generation."""
        standing = look(self._kernel)
        ours = standing.follows(before) or standing.makes_sense()
        self._standing = standing if ours and (grown_from is None or standing.has_all_of(grown_from)) else None

    def dropped(self) -> Mapping[Scope, tuple[int, int]]:
        """Return packets and bytes by scope, counted since the table was made: a second setup() does not reset them."""
        found = {}
        for body in self._kernel.ask(topology.ask_counters()):
            attrs = decode(ObjectMessage, body)
            found[attrs["NAME"]] = cast("Mapping[str, int]", attrs["DATA"])
        try:
            counters = [(scope, found[topology.counter_name(scope)]) for scope in SCOPES]
        except KeyError:
            raise table_gone() from None
        return {scope: (counter["PACKETS"], counter["BYTES"]) for scope, counter in counters}

    def held(self) -> Mapping[tuple[Source, Scope], float]:
        """List all bans in the kernel, with seconds left. Needs no setup(); nothing if there is no table."""
        return {banned: left for part in bans_of(self._kernel) for banned, left in part.items()}

    def listing(self) -> Iterator[Mapping[tuple[Source, Scope], float]]:
        """List all bans in parts, on a socket of its own that is open when this returns."""
        kernel = NetlinkSocket()
        kernel.open()
        return _listed(kernel)

    def teardown(self) -> bool:
        """Remove the table with all that is in it; False if there is none."""
        refusal = self._kernel.commit([topology.drop_table()])
        if refusal is not None and refusal.errno != errno.ENOENT:
            raise refused(refusal.errno, f"the kernel does not let table inet {topology.TABLE} go")
        self._layout, self._standing, self._sets = None, None, BanSets()
        return refusal is None

    def close(self) -> None:
        """Close the socket; bans stay in the kernel and end on time."""
        self._kernel.close()


def _listed(kernel: NetlinkSocket) -> Iterator[Mapping[tuple[Source, Scope], float]]:
    try:
        yield from bans_of(kernel)
    finally:
        kernel.close()
