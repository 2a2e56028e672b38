"""The iptables backend: bans in ipsets, which the legacy table `raw` looks up. For hosts without nf_tables.

setup() and teardown() are several steps where nftables has one transaction, and nobody is told when others change
ipsets or rules, so they have to be looked at (docs/decisions/0023).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from guard.core.ban import Change, Op
from guard.core.units import SECOND, Duration
from guard.errors import FirewallError, FirewallUnavailable, TableGone
from guard.firewall import BATCH, NEVER, ipsets
from guard.firewall import ipsetsetup as setups
from guard.firewall.host import legacy_tables
from guard.firewall.ipsetbans import BanSets, listing, order, set_gone
from guard.firewall.ipsets import HOST_SETS, PORTS, SPARE, BanKey, parse_name
from guard.firewall.ipsetsocket import IpsetSocket
from guard.firewall.plan import SCOPES, check, check_source
from guard.firewall.xtables import RawTable
from guard.wire.ipset import LONGEST, Command

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.ledger import SetKey
    from guard.core.rule import Scope
    from guard.core.units import Instant
    from guard.firewall import Layout
    from guard.firewall.ipsets import Header

_HAS_IPV6 = Path("/proc/net/if_inet6")
_ALLOW = (ipsets.allow_name(4), ipsets.allow_name(6))


class Iptables:
    """See guard.firewall.Firewall. Not to be shared between threads; talks to the network namespace of each call."""

    name = "iptables"
    longest = Duration(LONGEST * SECOND)
    why = ""

    def __init__(self) -> None:
        self._kernel = IpsetSocket()
        self._tables = [RawTable(4)]
        if _HAS_IPV6.exists():  # without IPv6 there are no such packets, and no such table
            self._tables.append(RawTable(6))
        self._layout: Layout | None = None
        self._ports: set[int] = set()
        self._bans = BanSets(self._kernel, self._make)
        self._numbers: dict[str, int] = {}

    def setup(self, layout: Layout, bans: Collection[Ban] = (), now: Instant = NEVER) -> None:
        """Make all that is missing; FirewallError names what stands in the way, and then nothing was changed.

        Whatever fails later between two steps, it may be called again.
        """
        for source in [*layout.allow, *(ban.source for ban in bans)]:
            check_source(source)
        standing = setups.survey(self._kernel, self._tables, repair=self._layout is not None)
        keys = dict.fromkeys([*HOST_SETS, *(BanKey(ban.scope, *ban.source[:2]) for ban in bans)])
        keys |= dict.fromkeys(key for key, header in standing.items() if header.elements > 1)
        names = [*(key.name for key in keys), *_ALLOW, PORTS]
        setups.make_sets(self._kernel, layout, names)
        setups.set_allow(self._kernel, layout.allow)
        setups.set_ports(self._kernel, layout.sip_ports)
        self._layout, self._ports = layout, set(layout.sip_ports)
        self._bans.forget()
        self._note(self._headers(names))
        if bans:
            self._bans.apply([Change(Op.ADD, ban) for ban in bans], now, layout)
        self._write_rules(layout, keys)
        setups.remove_sets(self._kernel, [key.name for key in standing if key not in keys])

    def _make(self, keys: Sequence[BanKey]) -> None:
        """Make sets for prefix lengths not in use so far, and the rules that look them up."""
        assert self._layout is not None, "bans come after setup()"
        self._look_at_sets()  # rules that name a set which is gone would be refused without saying so
        setups.make_sets(self._kernel, self._layout, [key.name for key in keys])
        found = self._headers([key.name for key in keys])
        self._write_rules(self._layout, [*(ban_set.key for ban_set in self._bans), *keys])
        self._note(found)

    def _headers(self, names: Iterable[str]) -> dict[str, Header]:
        """Ask what sets are, and keep the numbers by which rules know them."""
        found = {}
        for name in names:
            header = setups.header(self._kernel, name)
            if header is None:
                raise set_gone(name)
            found[name], self._numbers[name] = header, header.number
        return found

    def _note(self, found: Mapping[str, Header]) -> None:
        for name, header in found.items():
            key = parse_name(name)
            if key is not None:
                self._bans.note(key, header)

    def _write_rules(self, layout: Layout, keys: Collection[BanKey]) -> None:
        for table in self._tables:
            table.write(setups.rules_of(table.family, keys, self._numbers, layout.slow_rate))

    def close_ports(self, ports: Collection[int]) -> None:
        """Add ports to those that are closed."""
        if self._layout is None:
            raise FirewallError("iptables: close_ports() before setup()")
        writer = ipsets.writer(PORTS)
        order(self._kernel, writer.messages(Command.ADD, writer.ports(sorted(set(ports) - self._ports))), PORTS)
        self._ports.update(ports)

    def accept(self, added: Collection[Source], gone: Collection[Source]) -> bool:
        """Change the allow sets, which take networks of any length: never False. TableGone as above."""
        if self._layout is None:
            raise FirewallError("iptables: accept() before setup()")
        for source in [*added, *gone]:
            check_source(source)
        setups.change_allow(self._kernel, added, gone)
        return True

    def apply(self, changes: Sequence[Change], now: Instant) -> None:
        """Carry out changes, 20,000 at a time. TableGone if setup() is needed again.

        A timeout is in whole seconds, and 2,147,483 at most: whoever holds a longer ban applies it again in time.
        """
        if self._layout is None:
            raise FirewallError("iptables: apply() before setup()")
        if len(changes) > BATCH:
            check(changes)  # nothing is sent if any of them is wrong
        for start in range(0, len(changes), BATCH):
            self._bans.apply(changes[start : start + BATCH], now, self._layout)

    def restore(self, bans: Sequence[Ban], now: Instant) -> None:
        """Put back bans that may have been lost; those that are there keep their end, which is the same."""
        self.apply([Change(Op.ADD, ban) for ban in bans], now)

    def tidy(self, in_use: Collection[SetKey]) -> None:
        """Remove the sets that were made on demand and are not in use."""
        idle = [ban_set for ban_set in self._bans if ban_set.key not in in_use and ban_set.key not in HOST_SETS]
        if self._layout is None or not idle:
            return
        self._write_rules(self._layout, [ban_set.key for ban_set in self._bans if ban_set not in idle])
        for ban_set in idle:
            ban_set.exists = ban_set.filled = False
        setups.remove_sets(self._kernel, [ban_set.key.name for ban_set in idle])

    def look(self) -> None:
        """Look whether sets and rules are as we made them, in half a millisecond."""
        if self._layout is None:
            raise FirewallError("iptables: look() before setup()")
        self._look_at_sets()
        keys = [ban_set.key for ban_set in self._bans]
        for table in self._tables:
            wanted = setups.rules_of(table.family, keys, self._numbers, self._layout.slow_rate)
            changed = table.difference(wanted)
            if changed:
                raise TableGone(f"{changed} in table raw ({table.command}): somebody changed it", bans_kept=True)

    def _look_at_sets(self) -> None:
        for name in [*(ban_set.key.name for ban_set in self._bans), *_ALLOW]:
            if self._kernel.order(ipsets.writer(name).messages(Command.TEST, ipsets.mark_entry(name))):
                raise set_gone(name)
        writer = ipsets.writer(PORTS)
        if self._kernel.order([m for port in self._ports for m in writer.messages(Command.TEST, writer.ports([port]))]):
            raise set_gone(PORTS)

    def watch(self) -> None:
        """Return None: ipset and the legacy tables tell nobody when they are changed."""

    def dropped(self) -> Mapping[Scope, tuple[int, int]]:
        """Return packets and bytes by scope, counted since our chains were made: a second setup() resets nothing."""
        counted = [table.counted() for table in self._tables]
        if any(scope not in found for found in counted for scope in SCOPES):
            raise TableGone("our chains in table raw are gone: somebody flushed iptables; they have to be set up again")
        return {
            scope: (sum(found[scope][0] for found in counted), sum(found[scope][1] for found in counted))
            for scope in SCOPES
        }

    def held(self) -> Mapping[tuple[Source, Scope], float]:
        """List all bans in the kernel, with seconds left. Needs no setup(); nothing if there is no set."""
        return {banned: left for part in self.listing() for banned, left in part.items()}

    def listing(self) -> Iterator[Mapping[tuple[Source, Scope], float]]:
        """List what the kernel holds in parts, through a socket of its own that is open when this returns."""
        kernel = IpsetSocket()
        kernel.open()
        return listing(kernel)

    def teardown(self) -> bool:
        """Remove our chains and sets; False if there are none."""
        self._layout = None
        self._bans.forget()
        ours = {name: setups.header(self._kernel, name) for name in setups.names_of_ours(self._kernel)}
        removed = self._remove_rules(needed=bool(ours))
        names = [name for name, seen in ours.items() if seen and (name == SPARE or seen.shape == ipsets.shape_of(name))]
        setups.remove_sets(self._kernel, names)
        return removed or bool(names)

    def _remove_rules(self, *, needed: bool) -> bool:
        # A rule holds the sets it looks up, so without sets of ours there are empty chains at the most. The table is
        # not even asked for them where it is not in use: asking brings it up.
        if not needed and "raw" not in (legacy_tables() or ()):
            return False
        try:
            removed = [table.remove() for table in self._tables]
        except FirewallUnavailable:
            if needed:
                raise
            return False
        return any(removed)

    def close(self) -> None:
        """Close the socket; bans stay in the kernel and end on time."""
        self._kernel.close()
