"""What else this host runs that has a say in packets: services, their files, and what the kernel holds.

Nothing here changes anything or trusts what it reads; the readers of texts are pure.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from guard.asterisk.folder import read_text
from guard.core.address import Source, covers, host, is_special, parse_host, parse_network
from guard.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SECONDS = 10.0
RULESET_LIMIT = 64 << 20
"""Bytes of `nft -t list ruleset`, which leaves the elements of sets out."""
WHO_LIMIT = 256
NETWORKS_LIMIT = 32
"""Logins and networks that are told of."""

_RTF_UP, _RTF_GATEWAY = 0x1, 0x2  # linux/route.h
_VIRTUAL = re.compile(r"(?:lo|docker|br-|veth|virbr|lxc|cni|flannel|podman|cali)")
_PRIVATE = tuple(
    parse_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)


class Hook(NamedTuple):
    """A chain of somebody at prerouting or before: `ip nat/PREROUTING`, its priority, and what in it matters to us."""

    chain: str
    hook: str
    priority: int
    untracked: bool
    rewrites: bool


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What the kernel's nf_tables hold, of others than astguard. `offloaded` are flow tables, which go around hooks."""

    tables: tuple[str, ...] = ()
    hooks: tuple[Hook, ...] = ()
    offloaded: tuple[str, ...] = ()


def enabled_services(root: Path = Path("/")) -> frozenset[str]:
    """Name the services that systemd starts at boot."""
    folders = [folder for place in ("etc", "run") for folder in (root / place / "systemd/system").glob("*.wants")]
    return frozenset(link.name.removesuffix(".service") for folder in folders for link in folder.glob("*.service"))


def legacy_tables(root: Path = Path("/")) -> frozenset[str]:
    """Name the tables of iptables-legacy that the kernel holds, `ip filter`; whoever lists one makes it."""
    found = {
        f"{family} {name}"
        for family, file in (("ip", "ip_tables_names"), ("ip6", "ip6_tables_names"))
        for name in (read_text(root / "proc/net" / file) or "").split()
    }
    return frozenset(found)


def read_ruleset() -> Ruleset | None:
    """Ask `nft` for the rules of this network namespace; None if it cannot tell."""
    try:
        done = subprocess.run(
            ["nft", "-j", "-t", "list", "ruleset"],  # noqa: S607 - root's own PATH
            stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=True,
        )  # fmt: skip
        return parse_ruleset(json.loads(done.stdout[:RULESET_LIMIT]))
    except (OSError, subprocess.SubprocessError, ValueError, RecursionError):
        return None


def parse_ruleset(value: object) -> Ruleset:
    """Read what `nft -j list ruleset` wrote, leaving astguard's own table out."""
    items = value.get("nftables") if isinstance(value, dict) else None
    parts = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    chains: list[dict[str, Any]] = []
    tables: list[str] = []
    offloaded: list[str] = []
    rules: dict[str, list[str]] = {}
    for part in parts:
        for kind, what in part.items():
            if not isinstance(what, dict) or _name(what, "table" if kind != "table" else "name").endswith(" astguard"):
                continue
            if kind == "table":
                tables.append(_name(what, "name"))
            elif kind == "chain" and what.get("hook") in ("prerouting", "ingress"):
                chains.append(what)
            elif kind == "flowtable":
                offloaded.append(f"{_name(what, 'table')}/{what.get('name')}")
            elif kind == "rule":
                rules.setdefault(f"{_name(what, 'table')}/{what.get('chain')}", []).append(json.dumps(what.get("expr")))
    hooks = []
    for chain in chains:
        name, priority = f"{_name(chain, 'table')}/{chain.get('name')}", chain.get("prio")
        texts = rules.get(name, [])
        hooks.append(
            Hook(
                name,
                str(chain["hook"]),
                priority if isinstance(priority, int) else 0,
                any('"notrack"' in text for text in texts),
                any('"mangle"' in text and '"saddr"' in text for text in texts),
            )
        )
    return Ruleset(tuple(tables), tuple(hooks), tuple(offloaded))


def _name(what: dict[str, Any], key: str) -> str:
    return f"{what.get('family')} {what.get(key)}"


def flushes_all(root: Path = Path("/")) -> bool:
    """Tell whether a restart of nftables.service takes every table away, as Debian's own file does."""
    text = read_text(root / "etc/nftables.conf") or ""
    return any(line.split("#")[0].strip().rstrip(";") == "flush ruleset" for line in text.split("\n"))


def parse_who(text: str) -> Iterator[Source]:
    """Read where people are logged in from, of what `who` writes: `root pts/0 2026-11-22 13:36 (198.51.100.7)`."""
    for line in text.splitlines()[:WHO_LIMIT]:
        if line.endswith(")") and "(" in line:
            address = line.rpartition("(")[2][:-1].partition(":S.")[0]
            try:
                source = parse_host(address)
            except AddressError:
                continue
            if not is_special(source):
                yield source


def who() -> str:
    """Return what `who` writes."""
    try:
        done = subprocess.run(["who"], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:65_536].decode(errors="replace")


def own_networks(route: str, route6: str) -> list[Source]:
    """Read the private networks that this host is part of, of /proc/net/route and /proc/net/ipv6_route.

    A public one is the hosting company's, with strangers in it, and what is made for containers has nobody's phone.
    """
    found = [*_networks4(route), *_networks6(route6)]
    return list(dict.fromkeys(network for network in found if any(covers(outer, network) for outer in _PRIVATE)))[
        :NETWORKS_LIMIT
    ]


def _networks4(text: str) -> Iterator[Source]:
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            flags, words = int(fields[3], 16), [bytes.fromhex(fields[column])[::-1] for column in (1, 7)]
            bits = int.from_bytes(words[1], "big").bit_count()
        except (IndexError, ValueError):
            continue
        if flags & _RTF_UP and not flags & _RTF_GATEWAY and not _VIRTUAL.match(fields[0]) and 8 <= bits < 32:
            yield from _network(words[0], bits)


def _networks6(text: str) -> Iterator[Source]:
    for line in text.splitlines():
        fields = line.split()
        try:
            packed, bits, flags = bytes.fromhex(fields[0]), int(fields[1], 16), int(fields[8], 16)
        except (IndexError, ValueError):
            continue
        if not flags & _RTF_GATEWAY and not _VIRTUAL.match(fields[-1]) and 32 <= bits < 128:
            yield from _network(packed, bits)


def _network(packed: bytes, bits: int) -> Iterable[Source]:
    if len(packed) not in (4, 16):
        return ()
    whole = host(packed)
    return (Source(bytes((whole[0], bits)) + packed),)
