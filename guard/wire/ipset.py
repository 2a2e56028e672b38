"""ipset messages packed by hand: elements out in batches, listings in. No socket is here.

The grammar is linux/netfilter/ipset/ip_set.h: a netfilter message as in wire.nfnetlink, whose attributes are the
protocol's version, the set's name, and either one element or a list of them. Numbers are big-endian, and the kernel
wants them marked so. Unlike nf_tables, ipset has no transactions: a message is carried out element by element, and
ends at the first that is refused.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

from guard.wire.nfnetlink import NESTED, Message, attribute, attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SUBSYSTEM = 6
"""NFNL_SUBSYS_IPSET."""
PROTOCOL = 7
"""The version that tells a set's index, which a rule needs: kernel 4.20 and newer."""

HEADER = b"\x02\0\0\0"  # nfgenmsg as the command `ipset` sends it: AF_INET, version 0
_NET = 0x4000  # NLA_F_NET_BYTEORDER
_IP, _CIDR, _PORT, _TIMEOUT, _DATA, _ADT, _LINE = 1, 3, 4, 6, 7, 8, 9
_ATTRIBUTE = Struct("=HH")

LONGEST = 2_147_483
"""Seconds that an element may last: 2^31 - 1 milliseconds (IPSET_MAX_TIMEOUT), not quite 25 days."""
RUN = 1_000
"""Elements in one message. 36 bytes each at most, of the 65,535 that one attribute may have."""


class Command(IntEnum):
    """Message types of ipset that are used here (enum ipset_cmd)."""

    CREATE = 2
    DESTROY = 3
    SWAP = 6
    LIST = 7
    ADD = 9
    DELETE = 10
    TEST = 11


class Refused(IntEnum):
    """What ipset answers beside the system's errno (enum ipset_errno, and of its hash types)."""

    PROTOCOL = 4097
    FIND_TYPE = 4098
    BUSY = 4100  # something refers to the set
    EXIST = 4103
    HASH_FULL = 4352


class Entry(NamedTuple):
    """One element of a listing: address or port, prefix length (0: not told), seconds left (0: no end)."""

    key: bytes
    length: int
    left: int


class EntryWriter:
    """Writes the elements of one set and the messages that carry them.

    Addresses must have 4 or 16 bytes as the set's family wants: that is the caller's to check, once per source.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self._head = HEADER + attribute(1, bytes((PROTOCOL,))) + attribute(2, name.encode() + b"\0")
        # IPSET_ATTR_DATA { IPSET_ATTR_IP { IPSET_ATTR_IPADDR_IPV4 or _IPV6 } IPSET_ATTR_TIMEOUT seconds }
        address = _ATTRIBUTE.pack(4 + size, (1 if size == 4 else 2) | _NET)
        within = _ATTRIBUTE.pack(8 + size, _IP | NESTED) + address
        self._bare_prefix = _ATTRIBUTE.pack(12 + size, _DATA | NESTED) + within
        self._timed_prefix = _ATTRIBUTE.pack(20 + size, _DATA | NESTED) + within
        self._timeout = _ATTRIBUTE.pack(8, _TIMEOUT | _NET)
        self._pack = Struct(f">12s{size}s4sI").pack

    def timed(self, entries: Iterable[tuple[bytes, int]]) -> list[bytes]:
        """Write elements that end by themselves after some seconds, which the kernel takes for "never" if 0."""
        pack, prefix, timeout = self._pack, self._timed_prefix, self._timeout
        return [pack(prefix, address, timeout, min(seconds, LONGEST) or 1) for address, seconds in entries]

    def bare(self, addresses: Iterable[bytes]) -> list[bytes]:
        """Write elements without a time."""
        prefix = self._bare_prefix
        return [prefix + address for address in addresses]

    def networks(self, networks: Iterable[tuple[bytes, int]]) -> list[bytes]:
        """Write networks without a time, each an address and its prefix length."""
        return [
            attribute(_DATA | NESTED, self._bare_prefix[4:] + address + attribute(_CIDR, bytes((length,))))
            for address, length in networks
        ]

    def ports(self, ports: Iterable[int]) -> list[bytes]:
        """Write ports."""
        return [attribute(_DATA | NESTED, attribute(_PORT | _NET, port.to_bytes(2, "big"))) for port in ports]

    def messages(self, command: Command, entries: Sequence[bytes]) -> list[Message]:
        """Spread elements over messages. What is there may be added again, what is not there may be deleted."""
        if len(entries) == 1:
            return [Message(command, 0, self._head + entries[0])]
        # The kernel wants a line number beside a list; in the elements it is left out, and so is not answered.
        head = self._head + attribute(_LINE | _NET, bytes(4))
        runs = (b"".join(entries[start : start + RUN]) for start in range(0, len(entries), RUN))
        return [Message(command, 0, head + attribute(_ADT | NESTED, run)) for run in runs]


def entries(body: bytes) -> Iterator[Entry]:
    """Read one message of a listing."""
    for kind, listed in attributes(body, 4):
        if kind != _ADT:
            continue
        for _, data in attributes(listed):
            key, length, left = b"", 0, 0
            for part, value in attributes(data):
                if part == _IP:
                    key = value[4:]
                elif part == _PORT:
                    key = value
                elif part == _CIDR:
                    length = int.from_bytes(value, "big")
                elif part == _TIMEOUT:
                    left = int.from_bytes(value, "big")
            yield Entry(key, length, left)
