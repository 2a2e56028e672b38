"""The only code that changes the kernel.

A backend is eight methods and a name. All calls are synchronous: a batch is one `sendmsg` that the kernel carries out
before it returns, microseconds later (docs/decisions/0004), so there is nothing to await. Nobody else's table, chain,
set or rule is ever touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from guard.core.ledger import CAPACITY
from guard.core.rule import SIP_PORTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from guard.core.address import Source
    from guard.core.ban import Change
    from guard.core.rule import Scope
    from guard.core.units import Instant

# Changes that go into one transaction. The kernel does 20,000 at 600,000 a second, a million at once at half that.
BATCH = 20_000
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


class Firewall(Protocol):
    """A backend. Every method raises FirewallError when the kernel refuses, and then has changed nothing."""

    name: str

    def setup(self, layout: Layout) -> None:
        """Make table, chain, sets and rules as `layout` says, in one transaction; bans already held are kept."""

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

    def dropped(self) -> Mapping[Scope, tuple[int, int]]:
        """Return packets and bytes stopped since setup, by scope."""

    def held(self) -> Mapping[tuple[Source, Scope], float]:
        """List what the kernel holds, with seconds left. O(n^2) in the kernel: for tests and a start, never to poll."""

    def teardown(self) -> None:
        """Remove all that is ours, and only that. Succeeds if nothing is there."""

    def close(self) -> None:
        """Give up sockets; the kernel keeps the bans."""
