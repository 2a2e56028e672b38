"""The backend that changes nothing: a model as strict as the kernel, for dry runs, replay and simulation.

Same layout, same refusals, same meaning of order, and a batch that is refused changes nothing. Its clock is the `now`
of the last apply(); apply((), now) moves it on. It can tell what the kernel would do with a packet.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from guard.core.address import covers, is_host, length, widen
from guard.core.ban import Change, Op
from guard.core.rule import Scope
from guard.core.units import SECOND, Instant
from guard.errors import FirewallError
from guard.firewall import BATCH, NEVER, SLACK
from guard.firewall.plan import check, check_source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from guard.core.address import Source
    from guard.core.ban import Ban
    from guard.core.ledger import SetKey
    from guard.firewall import Layout, Monitor

# On a packet that sets of several scopes match, the kernel carries out the strongest.
_STRONGEST_FIRST = (Scope.ALL, Scope.SIP, Scope.SLOW)


class Memory:
    """See guard.firewall.Firewall."""

    name = "memory"
    longest = None
    why = ""

    def __init__(self) -> None:
        self._layout: Layout | None = None
        self._ends: dict[tuple[Source, Scope], Instant] = {}
        self._now = Instant(0)

    def setup(self, layout: Layout, bans: Collection[Ban] = (), now: Instant = NEVER) -> None:
        """Take the layout; bans already held are kept."""
        for source in layout.allow:
            check_source(source)
        self._layout = layout
        if bans:
            self.apply([Change(Op.ADD, ban) for ban in bans], now)

    def restore(self, bans: Sequence[Ban], now: Instant) -> None:
        """Add the bans that are missing."""
        self.apply([Change(Op.ADD, ban) for ban in bans if (ban.source, ban.scope) not in self._ends], now)

    def look(self) -> None:
        """Find all as it was made: nobody else gets at it."""

    def watch(self) -> Monitor | None:
        """Return None: nobody else gets at it."""
        return None

    def tidy(self, in_use: Collection[SetKey]) -> None:
        """Do nothing: there are no sets."""

    def close_ports(self, ports: Collection[int]) -> None:
        """Close these ports too; FirewallError before setup()."""
        if self._layout is None:
            raise FirewallError("memory: close_ports() before setup()")
        self._layout = replace(self._layout, sip_ports={*self._layout.sip_ports, *ports})

    def accept(self, added: Collection[Source], gone: Collection[Source]) -> bool:
        """Change the accepted networks; FirewallError before setup()."""
        if self._layout is None:
            raise FirewallError("memory: accept() before setup()")
        for source in added:
            check_source(source)
        self._layout = replace(self._layout, allow=tuple(sorted({*self._layout.allow, *added}.difference(gone))))
        return True

    def apply(self, changes: Sequence[Change], now: Instant) -> None:
        """Carry out changes in order; FirewallError if a set is full or a source is no network."""
        if self._layout is None:
            raise FirewallError("memory: apply() before setup()")
        check(changes)
        self._expire(now)
        for start in range(0, len(changes), BATCH):
            ends = dict(self._ends)
            for op, ban in changes[start : start + BATCH]:
                if op is Op.ADD and ban.until > now:
                    for scope in Scope:
                        ends.pop((ban.source, scope), None)
                    ends[ban.source, ban.scope] = ban.until
                elif op is Op.REMOVE:
                    ends.pop((ban.source, ban.scope), None)
            self._check_room(ends, self._layout.set_size)
            self._ends = ends

    def _check_room(self, ends: Mapping[tuple[Source, Scope], Instant], size: int) -> None:
        if len(ends) <= size + SLACK:
            return
        for (scope, kind), count in Counter((scope, source[:2]) for source, scope in ends).items():
            if count > size + SLACK:
                raise FirewallError(
                    f"set {scope}{kind[0]}_{kind[1]} is full: it was made for {size} bans; nothing of this batch was "
                    "applied, raise firewall.bans_max or ban wider prefixes"
                )

    def _expire(self, now: Instant) -> None:
        self._now = now
        over = [key for key, until in self._ends.items() if until <= now]
        for key in over:
            del self._ends[key]

    def verdict(self, sender: Source, port: int | None = None) -> Scope | None:
        """Tell what stops a packet from a host to a UDP or TCP port (None: to something else); None lets it pass.

        `slow` means that it passes as long as the rate is kept.
        """
        assert is_host(sender), "a packet has one sender"
        layout = self._layout
        if layout is None or any(covers(network, sender) for network in layout.allow):
            return None
        networks = [widen(sender, bits) for bits in range(length(sender), -1, -1)]
        for scope in _STRONGEST_FIRST if port in layout.sip_ports else _STRONGEST_FIRST[:1]:
            if any((network, scope) in self._ends for network in networks):
                return scope
        return None

    def dropped(self) -> Mapping[Scope, tuple[int, int]]:
        """Return zeros: no packet comes through here."""
        return dict.fromkeys(Scope, (0, 0))

    def held(self) -> Mapping[tuple[Source, Scope], float]:
        """List what is held at the last apply()'s instant, with seconds left."""
        return {key: (until - self._now) / SECOND for key, until in self._ends.items()}

    def listing(self) -> Iterator[Mapping[tuple[Source, Scope], float]]:
        """List what is held in one part."""
        return iter([self.held()])

    def teardown(self) -> bool:
        """Forget everything; False if setup() was not called."""
        was_set_up, self._layout = self._layout is not None, None
        self._ends.clear()
        return was_set_up

    def close(self) -> None:
        """Keep the bans, as the kernel does."""
