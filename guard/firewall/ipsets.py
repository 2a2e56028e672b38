"""The ipsets of the iptables backend: their names and shapes, and the messages that make, ask and unmake them.

    astguard_all4_32, _all6_64, ...     hash:ip with a netmask, a timeout on every ban: one for each scope, family and
                                        prefix length, so that `slow` can limit each element as a whole
    astguard_allow4, astguard_allow6    hash:net: the allowlist
    astguard_ports                      bitmap:port: what the scopes `sip` and `slow` close

ipset tells nobody of what is done to it, and counting a set walks through all of it. So every set has a mark, an
element that no packet can come from (the broadcast address, an all-ones multicast address) and that never ends: who
flushes the set or puts another in its place takes the mark with it, and looking for one element costs microseconds.

pyroute2's IPSet class does not serve: in 0.9 it cannot be used while an event loop runs. Its codecs do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, cast

from pyroute2.netlink import NLA_F_NESTED, NLA_F_NET_BYTEORDER, nla
from pyroute2.netlink.nfnetlink import nfgen_msg

from guard.core.address import HOST_LENGTH
from guard.core.rule import Scope
from guard.firewall import SLACK
from guard.firewall.nftcodec import decode, encode
from guard.wire.ipset import PROTOCOL, Command, EntryWriter

if TYPE_CHECKING:
    from guard.firewall import Layout
    from guard.wire.nfnetlink import Message

PREFIX = "astguard_"
PORTS = PREFIX + "ports"
SPARE = PREFIX + "spare"
"""Where the elements of a set move whose size has to change."""
ALLOW_SIZE = 1 << 20
_FAMILY = {4: 2, 6: 10}  # AF_INET, AF_INET6
_NAME = re.compile(rf"{PREFIX}(all|sip|slow)([46])_(\d{{1,3}})")
_ALLOW = re.compile(rf"{PREFIX}allow([46])")
_LIST_NAMES, _LIST_HEADER = 1 << 1, 1 << 2  # IPSET_FLAG_LIST_SETNAME, IPSET_FLAG_LIST_HEADER


class _Nested(nla):  # type: ignore[misc] # pyroute2 has no types
    nla_flags = NLA_F_NESTED


class IpsetMessage(nfgen_msg):  # type: ignore[misc]
    """Messages about sets; attribute numbers are those of linux/netfilter/ipset/ip_set.h."""

    nla_map = (
        (1, "PROTOCOL", "uint8"),
        (2, "NAME", "asciiz"),
        (3, "OTHER", "asciiz"),  # IPSET_ATTR_SETNAME2 is the same number; the one we have to read back comes last
        (3, "TYPE", "asciiz"),
        (4, "REVISION", "uint8"),
        (5, "FAMILY", "uint8"),
        (6, "FLAGS", "be32", NLA_F_NET_BYTEORDER),
        (7, "DATA", "Data"),
        (11, "INDEX", "be16"),
    )

    class Data(_Nested):
        """What a set is made with, and how full it is."""

        nla_map = (
            (4, "PORT_FROM", "be16", NLA_F_NET_BYTEORDER),
            (5, "PORT_TO", "be16", NLA_F_NET_BYTEORDER),
            (6, "TIMEOUT", "be32", NLA_F_NET_BYTEORDER),
            (19, "MAXELEM", "be32", NLA_F_NET_BYTEORDER),
            (20, "NETMASK", "uint8"),
            (24, "ELEMENTS", "be32", NLA_F_NET_BYTEORDER),
        )


class BanKey(NamedTuple):
    """Which set of bans: scope, family, prefix length."""

    scope: Scope
    family: int
    length: int

    @property
    def name(self) -> str:
        """Say what the kernel calls it: `astguard_all4_32`."""
        return f"{PREFIX}{self.scope}{self.family}_{self.length}"


class Shape(NamedTuple):
    """What a set is: its type, family (2, 10, or 0 for ports), netmask (0: none), and whether elements can end."""

    type: str
    family: int
    netmask: int = 0
    timeout: bool = False

    def __str__(self) -> str:
        """Say it as `ipset list` does."""
        family = {2: " family inet", 10: " family inet6"}.get(self.family, "")
        return f"{self.type}{family}{f' netmask {self.netmask}' if self.netmask else ''}" + " timeout" * self.timeout


class Header(NamedTuple):
    """What the kernel says of a set: shape, the number by which rules know it, room, elements (the mark included)."""

    shape: Shape
    number: int
    size: int
    elements: int


HOST_SETS = tuple(BanKey(scope, family, bits) for scope in Scope for family, bits in ((4, 32), (6, 64)))
"""They exist from the start; every other prefix length costs each packet one more lookup and is made on demand."""


def parse_name(name: str) -> BanKey | None:
    """Read the name of a set of bans; None if it is none."""
    match = _NAME.fullmatch(name)
    if match is None or not 1 <= int(match[3]) <= HOST_LENGTH[int(match[2])]:
        return None
    return BanKey(Scope(match[1]), int(match[2]), int(match[3]))


def allow_name(family: int) -> str:
    """Name the set of a family's allowlist."""
    return f"{PREFIX}allow{family}"


def shape_of(name: str) -> Shape | None:
    """Say what a set of this name has to look like; None if the name is none of ours."""
    key = parse_name(name)
    if key is not None:
        netmask = key.length if key.length < HOST_LENGTH[key.family] else 0
        return Shape("hash:ip", _FAMILY[key.family], netmask, timeout=True)
    match = _ALLOW.fullmatch(name)
    if match is not None:
        return Shape("hash:net", _FAMILY[int(match[1])])
    return Shape("bitmap:port", 0) if name == PORTS else None


def writer(name: str) -> EntryWriter:
    """Make the writer of a set's elements."""
    shape = shape_of(name)
    assert shape is not None, "only for sets of ours"
    return EntryWriter(name, 16 if shape.family == _FAMILY[6] else 4)


def mark(name: str) -> bytes:
    """Return the address that marks a set as the one we made; the kernel cuts it to the netmask."""
    shape = shape_of(name)
    assert shape is not None, "only for sets of ours"
    bits = 128 if shape.family == _FAMILY[6] else 32
    length = shape.netmask or bits
    return ((1 << bits) - (1 << bits - length)).to_bytes(bits // 8, "big")


def mark_entry(name: str) -> list[bytes]:
    """Write the mark as an element."""
    key = parse_name(name)
    if key is not None:
        return writer(name).bare([mark(name)])
    return writer(name).networks([(mark(name), 8 * len(mark(name)))])


def size_of(layout: Layout) -> int:
    """Say how many elements a set of bans may have: the stated number, a batch to spare, the mark."""
    return layout.set_size + SLACK + 1


def create(name: str, like: str, size: int) -> Message:
    """`create NAME hash:ip family inet maxelem SIZE timeout 0`, or what `like`, a name of ours, is.

    One that is there and was made so stays as it is. Revision 0 of the types has all that is needed, and every kernel.
    """
    shape = shape_of(like)
    assert shape is not None, "only sets of ours are made"
    data: dict[str, object] = {"MAXELEM": size} if shape.family else {"PORT_FROM": 0, "PORT_TO": 65535}
    if shape.timeout:
        data["TIMEOUT"] = 0  # no end unless an element says otherwise
    if shape.netmask:
        data["NETMASK"] = shape.netmask
    return _message(Command.CREATE, NAME=name, TYPE=shape.type, REVISION=0, FAMILY=shape.family, DATA=data)


def destroy(name: str) -> Message:
    """`destroy NAME`; refused while a rule looks it up."""
    return _message(Command.DESTROY, NAME=name)


def swap(one: str, other: str) -> Message:
    """`swap ONE OTHER`: each has the other's elements, and rules follow the name."""
    return _message(Command.SWAP, NAME=one, OTHER=other)


def ask_names() -> Message:
    """Ask for the names of all sets."""
    return _message(Command.LIST, FLAGS=_LIST_NAMES)


def ask_header(name: str) -> Message:
    """Ask what a set is. With its elements counted: O(n) in the kernel."""
    return _message(Command.LIST, NAME=name, FLAGS=_LIST_HEADER)


def ask_elements(name: str) -> Message:
    """Ask for a whole set; O(n), not squared as with nf_tables."""
    return _message(Command.LIST, NAME=name)


def read_name(body: bytes) -> str:
    """Read one answer to ask_names()."""
    return str(decode(IpsetMessage, body)["NAME"])


def read_header(body: bytes) -> Header:
    """Read the answer to ask_header()."""
    attrs = decode(IpsetMessage, body)
    data = cast("dict[str, int]", attrs["DATA"])
    shape = Shape(str(attrs["TYPE"]), cast("int", attrs["FAMILY"]), data.get("NETMASK", 0), timeout="TIMEOUT" in data)
    return Header(shape, cast("int", attrs["INDEX"]), data.get("MAXELEM", 0), data.get("ELEMENTS", 0))


def _message(command: Command, **attrs: object) -> Message:
    return encode(command, 0, IpsetMessage, PROTOCOL=PROTOCOL, **attrs)
