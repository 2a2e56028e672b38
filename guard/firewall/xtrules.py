"""The rules of the iptables backend, packed as the kernel has them (linux/netfilter_ipv4/ip_tables.h and _ipv6).

    chain PREROUTING of table raw      -j ASTGUARD                       at position 1
    chain ASTGUARD
      -i lo                                           -j RETURN          our own traffic, whatever address it bears
      -p icmpv6 --icmpv6-type 133..137                -j RETURN          neighbours and routers (see nftopology)
      -m set --match-set astguard_allow4 src          -j RETURN          the allowlist, before any ban is looked at
      -m set --match-set astguard_all4_32 src         -j ASTGUARD_ALL
      ... _ports dst, astguard_sip4_32 src            -j ASTGUARD_SIP
      ... _ports dst, astguard_slow4_32 src, hashlimit above the rate for each source of this length
                                                      -j ASTGUARD_SLOW
    chains ASTGUARD_ALL, _SIP, _SLOW   -j DROP                           where it is counted, whatever rules come and go

RETURN, not ACCEPT: that would keep the packet from the rules that others have in this table.

They are packed here because python-iptables lets hashlimit's parser write into memory that is freed already
(Match.reset() drops the buffer behind `udata`, and the kernel refuses the rule), and reads a rule back by putting a
pipe in the place of file descriptor 1.
"""

from __future__ import annotations

from struct import Struct
from sys import byteorder
from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import HOST_LENGTH
from guard.core.rule import Scope
from guard.firewall.plan import SCOPES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from guard.firewall.ipsets import BanKey

CHAIN = "ASTGUARD"
DROPS = {scope: f"{CHAIN}_{scope.upper()}" for scope in SCOPES}
CHAINS = (CHAIN, *DROPS.values())
RETURN, DROP = "RETURN", "DROP"

_ADDRESSES = {4: 16, 6: 64}  # two addresses and two masks
_HEADER = {4: 84, 6: 136}  # struct ipt_ip, struct ip6t_ip6
_ENTRY = {4: 112, 6: 168}  # the same with offsets and counters
_OFFSETS = Struct("=IHHI")  # nfcache, target_offset, next_offset, comefrom
_EXTENSION = Struct("=H29sB")  # struct xt_entry_match and xt_entry_target: size, name, revision
_COUNTERS = Struct("=QQ")  # struct xt_counters, the end of an entry
_TARGET = 40  # with the verdict, aligned
_ICMPV6 = 58
_ND_TYPES = range(133, 138)

# Of each match the revision that `iptables` itself uses on kernels since 4.14: it shows no other.
_SRC, _DST = 2, 0  # struct xt_set_info: one dimension, and whether it is the source
_SET = Struct("=HBB44x")  # struct xt_set_info_match_v4, whose counters are not asked for
# struct xt_hashlimit_mtinfo3: name, avg, burst, mode, size, max, gc_interval, expire, interval, srcmask, dstmask; then
# a pointer of the kernel's own.
_LIMIT = Struct("=255sx2Q6I2B6x")
_LIMIT_MODE = 1 << 2 | 1 << 4  # by source address, "above"
_LIMIT_SCALE = 1_000_000  # avg is the pause between packets in microseconds
_LIMIT_BURST = 5  # as nft's limit has by itself
_LIMIT_SOURCES = 65_536
"""Slowed sources of one length whose rate is kept at a time; a packet of one more is dropped."""
_LIMIT_EXPIRE = 10_000  # ms; after burst / rate, at most 5 s, an idle source has its whole burst again


class Rule(NamedTuple):
    """One rule: what it looks at (address header, matches), and the chain or verdict it goes to."""

    header: bytes
    matches: bytes
    target: str


def pack(family: int, rule: Rule) -> bytes:
    """Write a rule as libiptc takes it; the target goes by its name, counters begin at zero."""
    matches_end = _ENTRY[family] + len(rule.matches)
    offsets = _OFFSETS.pack(0, matches_end, matches_end + _TARGET, 0)
    target = _EXTENSION.pack(_TARGET, rule.target.encode(), 0).ljust(_TARGET, b"\0")
    return (rule.header + offsets).ljust(_ENTRY[family], b"\0") + rule.matches + target


def unpack(family: int, entry: bytes, target: str) -> Rule:
    """Read a rule as libiptc gives it, without its counters and what the kernel keeps in it for itself."""
    matches_end = _OFFSETS.unpack_from(entry, _HEADER[family])[1]
    at, matches = _ENTRY[family], b""
    while at + _EXTENSION.size <= matches_end:
        size, name, revision = _EXTENSION.unpack_from(entry, at)
        if size < _EXTENSION.size:
            break
        name = name.partition(b"\0")[0]  # behind it is whatever was in memory
        data = entry[at + _EXTENSION.size : at + size]
        if name == b"hashlimit":
            data = data[:-8] + bytes(8)
        matches += _EXTENSION.pack(size, name, revision) + data
        at += size
    return Rule(entry[: _HEADER[family]], matches, target)


def counters(family: int, entry: bytes) -> tuple[int, int]:
    """Read the packets and bytes a rule has counted."""
    packets, size = _COUNTERS.unpack_from(entry, _ENTRY[family] - _COUNTERS.size)
    return packets, size


def jump(family: int) -> Rule:
    """Write the one rule we have in PREROUTING."""
    return Rule(_header(family), b"", CHAIN)


def drop(family: int) -> Rule:
    """Write the rule of a chain that drops."""
    return Rule(_header(family), b"", DROP)


def guard(
    family: int, numbers: Mapping[str, int], allow: str, ports: str, keys: Collection[BanKey], rate: int
) -> Iterator[Rule]:
    """Write the rules of our chain in order. `numbers` are the kernel's numbers of the sets, by their names."""
    plain = _header(family)
    yield Rule(_header(family, interface="lo"), b"", RETURN)
    if family == 6:
        for kind in _ND_TYPES:
            # struct ip6t_icmp: type, the range of codes, no inversion
            match = _match("icmp6", 0, bytes((kind, 0, 255, 0)))
            yield Rule(_header(6, protocol=_ICMPV6), match, RETURN)
    yield Rule(plain, _set(numbers[allow], _SRC), RETURN)
    for key in sorted(keys, key=lambda key: (SCOPES.index(key.scope), -key.length)):
        if key.family != family:
            continue
        match = _set(numbers[key.name], _SRC)
        if key.scope is not Scope.ALL:
            # Neither port nor match if it is not UDP, TCP or a first fragment, as in nftopology.
            match = _set(numbers[ports], _DST) + match
        if key.scope is Scope.SLOW:
            match += _limit(key, rate)
        yield Rule(plain, match, DROPS[key.scope])


def is_ours(chain: str, rules: Sequence[Rule]) -> bool:
    """Tell whether a chain named as one of ours is ours: empty (somebody flushed it), or it leads where ours leads."""
    targets = set(DROPS.values()) if chain == CHAIN else {DROP}
    return not rules or any(rule.target in targets for rule in rules)


def _header(family: int, *, interface: str = "", protocol: int = 0) -> bytes:
    name = interface.encode() + b"\0" if interface else b""
    mask = b"\xff" * len(name)  # with its end, or it would mean every name that begins so
    parts = bytes(_ADDRESSES[family]) + name.ljust(16, b"\0") + bytes(16) + mask.ljust(16, b"\0") + bytes(16)
    parts += protocol.to_bytes(2, byteorder)
    if family == 6:
        parts += bytes((0, 1 if protocol else 0))  # tos, IP6T_F_PROTO
    return parts.ljust(_HEADER[family], b"\0")


def _match(name: str, revision: int, data: bytes) -> bytes:
    padded = data.ljust(-(-len(data) // 8) * 8, b"\0")
    return _EXTENSION.pack(_EXTENSION.size + len(padded), name.encode(), revision) + padded


def _set(index: int, side: int) -> bytes:
    return _match("set", 4, _SET.pack(index, 1, side))


def _limit(key: BanKey, rate: int) -> bytes:
    # The kernel finds the table by this name, and gives the rates of its first rule to every later one: so the rate
    # is in the name.
    name = f"astguard{key.family}_{key.length}_{rate}".encode()
    sizes = (1024, _LIMIT_SOURCES, 1000, _LIMIT_EXPIRE, 0)
    data = _LIMIT.pack(
        name, _LIMIT_SCALE // rate, _LIMIT_BURST, _LIMIT_MODE, *sizes, key.length, HOST_LENGTH[key.family]
    )
    return _match("hashlimit", 3, data + bytes(8))
