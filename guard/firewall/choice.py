"""Which backend serves: the one place that knows them by name. Their libraries load only when they are chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.errors import FirewallError
from guard.firewall.host import look_at_host

if TYPE_CHECKING:
    from guard.firewall import Firewall
    from guard.firewall.host import Host

KERNEL_BACKENDS = ("nftables", "iptables")
"""Those that leave something in the kernel."""
BACKENDS = ("auto", "nftables", "iptables", "memory")


def choose(backend: str) -> Firewall:
    """Make a backend by its name in the configuration, without touching the kernel; FirewallError if it is none."""
    name, why = resolve(backend)
    made = _make(name)
    made.why = why
    return made


def resolve(backend: str) -> tuple[str, str]:
    """Say which backend a name in the configuration means here, and why."""
    if backend not in BACKENDS:
        raise FirewallError(f"{backend!r} is no firewall backend, expected one of {', '.join(BACKENDS)}")
    return pick(look_at_host()) if backend == "auto" else (backend, "configured")


def pick(host: Host) -> tuple[str, str]:
    """Choose for `auto`, and say why: nftables wherever the kernel has it, and never both.

    It works beside the rules of either `iptables`, has transactions, and tells when somebody flushes it
    (docs/decisions/0024).
    """
    legacy = f"legacy tables in use: {', '.join(host.legacy)}" if host.legacy else "no legacy table is in use"
    if host.nf_tables is False:
        return "iptables", f"this kernel has no nf_tables; {legacy}"
    if host.iptables == "nft":
        return "nftables", "the command iptables is iptables-nft here, which keeps its rules in nf_tables as well"
    if host.iptables == "legacy" and host.legacy is None:
        return "nftables", "the command iptables is the legacy one here, but this kernel has no legacy tables"
    if host.iptables == "legacy":
        return "nftables", f"the command iptables is the legacy one here, and nf_tables works beside it; {legacy}"
    return "nftables", f"there is no command iptables here; {legacy}"


def _make(name: str) -> Firewall:
    if name == "memory":
        from guard.firewall.memory import Memory  # noqa: PLC0415 - each backend brings its own libraries

        return Memory()
    if name == "iptables":
        from guard.firewall.iptables import Iptables  # noqa: PLC0415

        return Iptables()
    from guard.firewall.nftables import Nftables  # noqa: PLC0415

    return Nftables()
