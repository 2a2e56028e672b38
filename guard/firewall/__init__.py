"""The only code that changes the kernel.

A backend is a dozen methods and a name. All calls are synchronous: a batch is one `sendmsg` that the kernel carries out
before it returns, microseconds later (docs/decisions/0004), so there is nothing to await. Nobody else's table, chain,
set or rule is ever touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from guard.core.ledger import CAPACITY
from guard.core.rule import SIP_PORTS
from guard.core.units import Instant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from guard.core.address import Source
    from guard.core.ban import Ban, Change
    from guard.core.ledger import SetKey
    from guard.core.rule import Scope
    from guard.core.units import Duration

# Changes that go into one transaction. The kernel does 20,000 at 600,000 a second, a million at once at half that.
BATCH = 20_000
NEVER = Instant(0)
# Room in each set above `set_size`, for one batch of bans that take over from expired ones not yet collected.
SLACK = BATCH


@dataclass(frozen=True, slots=True)
class Layout:
    """What a backend builds besides the bans: accepted networks, the ports of the scope `sip`, the sets' size.

    `set_size` is the number of elements that one set (of one scope, family and prefix length) may hold; the ledger
    stays below it. `slow_rate` is how many packets per second the scope `slow` lets through to the SIP ports.
    """

    allow: Collection[Source] = ()
    sip_ports: Collection[int] = SIP_PORTS
    set_size: int = CAPACITY
    slow_rate: int = 5


@dataclass(frozen=True, slots=True)
class News:
    """What others did to what is ours since the last time; `bool(news)` tells whether it was anything.

    `shape`: table, chain, rules or sets may be missing or changed, which `look()` tells. `layout`: so were accepted
    networks or ports, which only setup() mends. `lost`: bans that were taken out. `found`: bans that somebody else put
    in, with seconds left (infinite: without end). `overflow`: more happened than could be told, so anything may be
    missing. `by`: who did it, fit to be shown.
    """

    shape: bool = False
    layout: bool = False
    lost: Collection[tuple[Source, Scope]] = ()
    found: Mapping[tuple[Source, Scope], float] = field(default_factory=dict)
    overflow: bool = False
    by: str = ""

    def __bool__(self) -> bool:
        """Tell whether anything happened."""
        return bool(self.shape or self.layout or self.lost or self.found or self.overflow)


class Monitor(Protocol):
    """Tells what others do to what is ours, as it happens. It says nothing of our own changes, nor of expiry."""

    def fileno(self) -> int:
        """Return the socket that becomes readable when there is news."""

    def drain(self) -> News:
        """Read what waits, at most a few dozen datagrams: what remains keeps the socket readable."""

    def close(self) -> None:
        """Listen no longer."""


class Firewall(Protocol):
    """A backend. Every method raises FirewallError when the kernel refuses, and then has changed nothing."""

    name: str
    why: str
    """Why it was chosen, for people."""

    @property
    def longest(self) -> Duration | None:
        """The longest time that an element can have, None if any: a longer ban has to be applied again before that."""

    def setup(self, layout: Layout, bans: Collection[Ban] = (), now: Instant = NEVER) -> None:
        """Make table, chain, sets and rules as `layout` says, in one transaction; bans already held are kept.

        `bans`, at most 20,000, are held from the first moment on, with what is left of them at `now`. The first
        setup() of a life refuses, naming it, whatever bears our name and is of another shape; a later one repairs it.
        """

    def close_ports(self, ports: Collection[int]) -> None:
        """Have the scopes `sip` and `slow` close these ports too, beside those of the layout. One small batch.

        A port is learnt from the attack that the next ban has to stop, so this may not cost what setup() does.
        """

    def accept(self, added: Collection[Source], gone: Collection[Source]) -> bool:
        """Let these networks in whatever is banned, and those no longer, beside the others of the layout.

        One small batch; False, and nothing has changed, if setup() is needed for it.
        """

    def apply(self, changes: Sequence[Change], now: Instant) -> None:
        """Carry out `add` and `remove` changes in order; an element's timeout is what is left of its ban at `now`.

        Idempotent: adding what is there replaces it, removing what is not there does nothing. Bans that have ended by
        `now` are skipped. The batch is one transaction up to 20,000 changes, and several above.
        """

    def restore(self, bans: Sequence[Ban], now: Instant) -> None:
        """Put back bans that may have been lost: those that are there stay as they are. Never refused for them."""

    def look(self) -> None:
        """Look, without listing a set, whether all of ours is as we made it. TableGone says what is missing or changed.

        Its `bans_kept` says that every set of bans is still the one we filled, so setup() alone is enough.
        """

    def watch(self) -> Monitor | None:
        """Listen to what others do to what is ours; None if this backend cannot be told: then look() now and then."""

    def tidy(self, in_use: Collection[SetKey]) -> None:
        """Remove the sets that were made on demand and are not in use: each costs every packet a look-up.

        `in_use` are scope, family and prefix length of all bans that are held.
        """

    def dropped(self) -> Mapping[Scope, tuple[int, int]]:
        """Return packets and bytes stopped since setup, by scope."""

    def held(self) -> Mapping[tuple[Source, Scope], float]:
        """List what the kernel holds, with seconds left. O(n^2) in the kernel: for tests, never while guarding."""

    def listing(self) -> Iterator[Mapping[tuple[Source, Scope], float]]:
        """List what the kernel holds in parts, for a thread: the socket of its own is opened by the call itself."""

    def teardown(self) -> bool:
        """Remove all that is ours, and only that; False if nothing was there."""

    def close(self) -> None:
        """Give up sockets; the kernel keeps the bans."""
