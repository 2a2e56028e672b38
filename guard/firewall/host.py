"""What this host filters packets with, for `backend: auto`: looked at without a change to it and without a process."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guard.errors import FirewallError
from guard.firewall.nfsocket import NetlinkSocket
from guard.wire import nfnetlink as wire

if TYPE_CHECKING:
    from collections.abc import Collection

_TABLES = (Path("/proc/net/ip_tables_names"), Path("/proc/net/ip6_tables_names"))
_FOLDERS = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
_NAME_LIMIT = 4096  # bytes read of each; a name has 31 at most, and the kernel has five of them


@dataclass(frozen=True, slots=True)
class Host:
    """What was found. `nf_tables`: whether the kernel has it; None if we may not ask (no CAP_NET_ADMIN).

    `iptables`: which one the command is, `nft`, `legacy`, or nothing if there is none or it cannot be told. `legacy`:
    the legacy tables that are in use in this network namespace; None if the kernel has none, or does not tell us.
    """

    nf_tables: bool | None
    iptables: str
    legacy: Collection[str] | None


def look_at_host() -> Host:
    """Look: one question to the kernel, one symbolic link, two files."""
    return Host(_has_nf_tables(), _which_iptables(), legacy_tables())


def _has_nf_tables() -> bool | None:
    """Ask for a table of nf_tables: whether it is there is no matter, but that somebody answers."""
    question = wire.Message(wire.Kind.GET_TABLE, wire.ACK, wire.INET_HEADER + wire.attribute(1, b"astguard\0"))
    netlink = NetlinkSocket()
    try:
        held = netlink.open()
        held.send(wire.request(question, 1))
        number = next(answer.errno for answer in wire.answers(held.recv(1 << 16)) if answer.sequence == 1)
    except (FirewallError, OSError, StopIteration):
        return False
    finally:
        netlink.close()
    return None if number == errno.EPERM else number in (0, errno.ENOENT)


def _which_iptables() -> str:
    """Tell by the file behind the command: Debian's alternatives lead to xtables-nft-multi or xtables-legacy-multi."""
    command = shutil.which("iptables", path=_FOLDERS)
    name = Path(command).resolve().name if command else ""
    return next((kind for kind in ("nft", "legacy") if kind in name), "")


def legacy_tables() -> Collection[str] | None:
    """Name the legacy tables that are in use in this network namespace; None if that cannot be told."""
    found: set[str] = set()
    known = False
    for path in _TABLES:
        try:
            with path.open("rb") as file:
                found.update(file.read(_NAME_LIMIT).decode("ascii", "replace").split())
            known = True
        except OSError:
            continue
    return sorted(found) if known else None
