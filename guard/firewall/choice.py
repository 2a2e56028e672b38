"""Which backend serves: the one place that knows them by name. Their libraries load only when they are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.errors import FirewallError

if TYPE_CHECKING:
    from guard.firewall import Firewall

KERNEL_BACKENDS = ("nftables", "iptables")
"""Those that leave something in the kernel."""
BACKENDS = ("auto", "nftables", "iptables", "memory")


def choose(backend: str) -> Firewall:
    """Make a backend by its name in the configuration, without touching the kernel; FirewallError if it is none."""
    if backend == "memory":
        from guard.firewall.memory import Memory  # noqa: PLC0415 - each backend brings its own libraries

        return Memory()
    if backend in ("auto", "nftables"):
        from guard.firewall.nftables import Nftables  # noqa: PLC0415

        return Nftables()
    if backend == "iptables":
        raise FirewallError(
            "the backend iptables comes with a later version; use nftables, which works beside iptables"
        )
    raise FirewallError(f"{backend!r} is no firewall backend, expected one of {', '.join(BACKENDS)}")
