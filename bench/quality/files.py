"""Reading what a recording consists of: files packed or not, and the addresses and networks in it."""

from __future__ import annotations

import lzma
from ipaddress import ip_network


def read(path):
    """Read a file, unpacking it if it is packed."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def source(text):
    """Write an address or a network in its one canonical form, without brackets and zone; None if it is neither."""
    try:
        network = ip_network(text.strip("[]").partition("%")[0], strict=False)
    except ValueError:
        return None
    if network.num_addresses > 1:
        return str(network)
    address = network.network_address
    return str(getattr(address, "ipv4_mapped", None) or address)


def covers(outer, inner):
    """Tell whether all of one source is in the other."""
    outer, inner = ip_network(outer, strict=False), ip_network(inner, strict=False)
    return outer.version == inner.version and inner.subnet_of(outer)


def overlaps(one, other):
    """Tell whether two sources have an address in common."""
    return ip_network(one, strict=False).overlaps(ip_network(other, strict=False))
