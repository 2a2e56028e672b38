"""Addresses that a ban by hand would better not touch: the caller's own, the gateways', the resolvers'.

Whoever bans them has locked himself out, and learns it when it is too late to type. The readers of the system's
files are pure; a line they do not understand is not theirs to complain of.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import Source, covers, host, parse_host, show_address
from guard.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ANCESTORS = 16
"""Processes to look at for the caller's login: sudo drops SSH_CONNECTION, the shell before it has it."""
FILE_LIMIT = 1 << 20
YOUR_OWN = "your own SSH address"

_RTF_GATEWAY = 0x2  # linux/route.h: the destination is reached through a gateway


class Lifeline(NamedTuple):
    """An address that something depends on."""

    source: Source
    what: str


def in_danger(source: Source, lifelines: Iterable[Lifeline]) -> list[str]:
    """Say what a ban of `source` would cut off."""
    return sorted({f"{line.what} {show_address(line.source)}" for line in lifelines if covers(source, line.source)})


def lifelines(environment: Mapping[str, str]) -> list[Lifeline]:
    """Return the lifelines of this machine and of whoever runs this."""
    return [
        *callers(environment),
        *(line for text in _environments_above() for line in callers(parse_environment(text))),
        *gateways(_read("/proc/net/route")),
        *gateways6(_read("/proc/net/ipv6_route")),
        *resolvers(_read("/etc/resolv.conf")),
        *resolvers(_read("/run/systemd/resolve/resolv.conf")),  # behind the stub 127.0.0.53
    ]


def callers(environment: Mapping[str, str]) -> Iterator[Lifeline]:
    """Read where the caller logged in from: sshd sets `SSH_CONNECTION=client port server port`."""
    for name in ("SSH_CONNECTION", "SSH_CLIENT"):
        yield from _lifelines([environment.get(name, "").partition(" ")[0]], YOUR_OWN)


def gateways(route: str, byteorder: str = sys.byteorder) -> Iterator[Lifeline]:
    """Read the default gateways of /proc/net/route: words of this machine's byte order, in hexadecimal."""
    for line in route.splitlines()[1:]:
        fields = line.split()
        try:
            target, gateway, flags, mask = (int(fields[column], 16) for column in (1, 2, 3, 7))
            packed = gateway.to_bytes(4, "little" if byteorder == "little" else "big")
        except (IndexError, ValueError, OverflowError):
            continue
        if target == mask == 0 and flags & _RTF_GATEWAY and gateway:
            yield Lifeline(host(packed), "the default gateway")


def gateways6(route: str) -> Iterator[Lifeline]:
    """Read the default gateways of /proc/net/ipv6_route: target, length, source, length, next hop, ..., flags, name."""
    for line in route.splitlines():
        fields = line.split()
        try:
            target, length, flags = (int(fields[column], 16) for column in (0, 1, 8))
            packed = bytes.fromhex(fields[4])
        except (IndexError, ValueError):
            continue
        if target == length == 0 and flags & _RTF_GATEWAY and len(packed) == 16 and any(packed):
            yield Lifeline(host(packed), "the default gateway")


def resolvers(conf: str) -> Iterator[Lifeline]:
    """Read the resolvers of a resolv.conf."""
    fields = (line.split() for line in conf.splitlines())
    return _lifelines((line[1] for line in fields if len(line) > 1 and line[0] == "nameserver"), "the resolver")


def parse_environment(text: str) -> dict[str, str]:
    """Read a /proc/PID/environ."""
    return {name: value for name, equals, value in (item.partition("=") for item in text.split("\0")) if equals}


def parse_parent(status: str) -> int:
    """Read the parent's process number from a /proc/PID/status; 0 if there is none."""
    found = [line.split()[-1] for line in status.splitlines() if line.startswith("PPid:")]
    return int(found[0]) if found and found[0].isdecimal() else 0


def _lifelines(addresses: Iterable[str], what: str) -> Iterator[Lifeline]:
    for address in addresses:
        try:
            yield Lifeline(parse_host(address), what)
        except AddressError:
            continue


def _environments_above() -> Iterator[str]:
    process: int | str = "self"
    for _ in range(ANCESTORS):
        process = parse_parent(_read(f"/proc/{process}/status"))
        if process < 2:  # 1 is init
            return
        yield _read(f"/proc/{process}/environ")


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(FILE_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""
