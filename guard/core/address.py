"""The one place where a string becomes an address.

A Source is a network packed into bytes: family (4 or 6), prefix length, then the 4 or 16 address bytes with all host
bits zero. It hashes and compares at C speed, which `ipaddress` objects do not (2 us an event), so
`ipaddress` appears only here, at the edge. A host is the Source of full length, /32 or /128.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING, NewType

from guard.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Mapping

Source = NewType("Source", bytes)

HOST_LENGTH = {4: 32, 6: 128}
SITE_LENGTH = {4: 32, 6: 64}
"""What one source is, unless a rule says otherwise: an IPv6 site owns its /64."""

_SIZE = {4: 4, 6: 16}


def parse_host(text: str) -> Source:
    """Read one address; IPv4-mapped IPv6 becomes IPv4, a zone is dropped. AddressError if it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise AddressError(f"{text!r} is not an address; write it like 198.51.100.7 or 2001:db8::7") from None
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return host(address.packed)


def parse_source(text: str) -> Source:
    """Read an address or a network such as 198.51.100.0/24, without a zone; AddressError names the remedy."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise AddressError(
            f"{text!r} is not an address or network; write it like 198.51.100.7, 198.51.100.0/24 or 2001:db8::/64"
        ) from None
    if "/" in text and str(network.network_address) != str(ipaddress.ip_address(text.partition("/")[0])):
        raise AddressError(f"{text!r} has bits set behind its prefix; did you mean {network}?")
    if "%" in text:
        raise AddressError(f"{text!r} has a zone, which a packet's source has not; write it without")
    packed, length = network.network_address.packed, network.prefixlen
    if isinstance(network, ipaddress.IPv6Network) and length >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            packed, length = mapped.packed, length - 96
    return Source(bytes((4 if len(packed) == 4 else 6, length)) + packed)


def parse_network(text: str) -> Source:
    """Read a network as other programs' files have it: with a dotted mask or bits behind its prefix. AddressError."""
    try:
        return parse_source(str(ipaddress.ip_network(text, strict=False)))
    except ValueError:
        raise AddressError(f"{text!r} is not an address or network") from None


def packed(data: bytes) -> Source:
    """Check packed bytes that come from outside; ValueError if they are no network with all its host bits zero."""
    bits = HOST_LENGTH.get(data[0], 0) if len(data) >= 2 else 0
    spare = bits - data[1] if bits else -1
    if spare < 0 or len(data) != bits // 8 + 2 or (spare and int.from_bytes(data[2:], "big") & ((1 << spare) - 1)):
        raise ValueError(f"{data.hex()} is no packed network")
    return Source(data)


def host(packed: bytes) -> Source:
    """Make the Source of one host from its 4 or 16 address bytes."""
    return Source((b"\x04\x20" if len(packed) == 4 else b"\x06\x80") + packed)


def family(source: Source) -> int:
    """Tell 4 or 6."""
    return source[0]


def length(source: Source) -> int:
    """Tell the prefix length."""
    return source[1]


def is_host(source: Source) -> bool:
    """Tell whether this is a single address."""
    return source[1] == HOST_LENGTH[source[0]]


@lru_cache(maxsize=256)
def mask(family: int, length: int) -> bytes:
    """Return the netmask of a prefix length as address bytes."""
    bits = HOST_LENGTH[family]
    return ((1 << bits) - (1 << (bits - length))).to_bytes(_SIZE[family], "big")


def widen(source: Source, length: int) -> Source:
    """Return the network of this (not longer) prefix length around a source."""
    have = source[1]
    if length == have:
        return source
    assert length < have, "a source is never narrowed by guessing bits"
    size = len(source) - 2
    whole, rest = divmod(length, 8)
    kept = source[2 : 2 + whole]
    if rest:
        kept += bytes((source[2 + whole] & (0xFF00 >> rest) & 0xFF,))
    return Source(bytes((source[0], length)) + kept.ljust(size, b"\0"))


def site(host: Source, lengths: Mapping[int, int] = SITE_LENGTH) -> Source:
    """Return what counts as one source around a host; `lengths` is a prefix length for each family.

    Neighbours on the link are all in fe80::/64 and told apart: a ban of that would cut off the whole link. So are the
    senders behind a translator, whose /64 is all of IPv4.
    """
    if host[0] == 6 and ((host[2] == 0xFE and host[3] & 0xC0 == 0x80) or host.startswith(_TRANSLATED)):
        return host
    return widen(host, lengths[host[0]])


def covers(outer: Source, inner: Source) -> bool:
    """Tell whether every address of `inner` lies in `outer`."""
    return outer[0] == inner[0] and outer[1] <= inner[1] and widen(inner, outer[1]) == outer


def overlap(one: Source, other: Source) -> bool:
    """Tell whether two sources share an address; networks do so only by one covering the other."""
    return covers(one, other) or covers(other, one)


def is_special(source: Source) -> bool:
    """Tell whether a source can never be a remote party: loopback, unspecified, multicast, broadcast, reserved.

    The kernel drops packets from such addresses as martians (docs/asterisk.md), so a claim to the contrary is a
    forgery or a fault. A network is special if it touches one.
    """
    if source[0] == 4 and source[1] >= 8:
        return source[2] in _SPECIAL_FIRST
    if source[0] == 6 and source[1] == 128:
        return source[2] == 0xFF or (source[2:17] == bytes(15) and source[17] <= 1)
    return any(overlap(source, special) for special in _SPECIAL)


def show(source: Source) -> str:
    """Write a source with its prefix length: `198.51.100.7/32`, `2001:db8:5::/64`."""
    return f"{show_address(source)}/{source[1]}"


def show_short(source: Source) -> str:
    """Write a source for people: a host without its prefix length."""
    return show_address(source) if is_host(source) else show(source)


def show_address(source: Source) -> str:
    """Write the (first) address of a source."""
    if source[0] == 4:  # ten times as fast, and a list of bans has thousands
        return ".".join(map(str, source[2:]))
    return str(ipaddress.ip_address(source[2:]))


_TRANSLATED = (bytes.fromhex("06800064ff9b") + bytes(8), bytes.fromhex("06800064ff9b0001"))
"""How hosts in 64:ff9b::/96 (RFC 6052) and 64:ff9b:1::/48 (RFC 8215) begin."""
_SPECIAL_FIRST = frozenset((0, 127, *range(224, 256)))
_SPECIAL = tuple(parse_source(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8"))
