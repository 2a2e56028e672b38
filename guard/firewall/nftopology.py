"""What stands in the kernel besides the bans: table, chain, sets, counters and rules, as netlink messages.

    table inet astguard                       chain guard: filter, prerouting, priority raw (-300), policy accept
      iif lo                      accept      our own traffic, whatever address it bears
      icmpv6 133..137             accept      neighbours and routers: without them a banned /64 on our own link would
                                              take the host off IPv6; the kernel ignores those that crossed a router
      saddr @allow*               accept      the allowlist, before any ban is looked at
      saddr @all*                 drop        counter dropped_all
      proto . port @sip_ports saddr @sip*     drop    counter dropped_sip
      proto . port @sip_ports saddr @slow*    drop    counter dropped_slow; the element's own limit says whether

Priority raw is before conntrack, so an established UDP flow dies too. A set holds one family and one prefix length, and
a shorter prefix is matched as `saddr & mask`: an interval set costs O(n) per insertion.
"""

from __future__ import annotations

import re
from functools import lru_cache
from sys import byteorder
from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import HOST_LENGTH, mask
from guard.core.rule import Scope
from guard.firewall.nftcodec import (
    ChainMessage,
    GenerationMessage,
    ObjectMessage,
    RuleMessage,
    SetMessage,
    TableMessage,
    encode,
)
from guard.wire.nfnetlink import ACK, APPEND, CREATE, DUMP, ElementWriter, Kind, Message

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TABLE, CHAIN, SIP_PORTS, ALLOW = "astguard", "guard", "sip_ports", "allow"
CHAIN_SHAPE = {"TYPE": "filter", "HOOK": {"NUMBER": 0, "PRIORITY": -300 & 0xFFFFFFFF}}  # NF_INET_PRE_ROUTING
_TIMEOUT, _DYNAMIC = 0x10, 0x20  # NFT_SET_TIMEOUT, NFT_SET_EVAL
_IPV4, _IPV6, _PROTO, _PORT = 7, 8, 12, 13  # nft's own type numbers: only for `nft list` to show keys as what they are
PORTS_SHAPE = {"FLAGS": 0, "KEY_TYPE": _PROTO << 6 | _PORT, "KEY_LEN": 8}
DORMANT, OWNED = 1, 2  # NFT_TABLE_F_DORMANT, NFT_TABLE_F_OWNER
_COUNTER = 1  # NFT_OBJECT_COUNTER
COMMENT = "astguard"  # every rule of ours has a comment that begins with it: one without is somebody else's
RULES_OF_NO_SET = (f"{COMMENT} own traffic", f"{COMMENT} neighbours and routers")
_REMARK = "made and kept by astguard: see `astguard status`"
_NAME = re.compile(r"(allow|all|sip|slow)([46])_(\d{1,3})")

Step = tuple[str, "Mapping[str, object]"]


# pyroute2 takes 50 ms to encode what setup() sends. A flushed table must not wait for that, so messages are kept.
_once = lru_cache(1_024)


class SetKey(NamedTuple):
    """Which set: `allow` or a scope, family, prefix length."""

    purpose: str
    family: int
    length: int

    @property
    def name(self) -> str:
        """Say what the kernel calls it: `all4_32`."""
        return f"{self.purpose}{self.family}_{self.length}"

    @property
    def shape(self) -> Mapping[str, int]:
        """Say what it has to look like if it exists."""
        flags = 0 if self.purpose == ALLOW else _TIMEOUT
        if self.purpose == Scope.SLOW:
            flags |= _DYNAMIC  # each element carries a limit of its own
        key_type, size = (_IPV4, 4) if self.family == 4 else (_IPV6, 16)
        return {"FLAGS": flags, "KEY_TYPE": key_type, "KEY_LEN": size}

    def writer(self) -> ElementWriter:
        """Make the writer of its elements."""
        return ElementWriter(TABLE, self.name, 4 if self.family == 4 else 16)


def parse_name(name: str) -> SetKey | None:
    """Read a set's name; None if it is not one of ours."""
    match = _NAME.fullmatch(name)
    return SetKey(match[1], int(match[2]), int(match[3])) if match else None


# Host sets exist from the start; every other prefix length costs each packet one more lookup and is made on demand.
HOST_SETS = tuple(SetKey(scope, family, bits) for scope in Scope for family, bits in ((4, 32), (6, 64)))


COUNTED = frozenset(f"dropped_{scope}" for scope in Scope)


def counter_name(scope: str) -> str:
    """Name the counter of what a scope dropped."""
    return f"dropped_{scope}"


def comment_of(name: str) -> str:
    """Say what is written at the rule that looks a set up."""
    return f"{COMMENT} {name}"


def read_comment(userdata: bytes) -> str:
    """Read nft's comment: type 0, length, text that ends in NUL (libnftnl, udata.h); nothing if there is none."""
    if len(userdata) < 3 or userdata[0] != 0:
        return ""
    return userdata[2 : 2 + userdata[1]].rstrip(b"\0").decode("utf-8", "replace")


def _comment(text: str) -> bytes:
    return bytes((0, len(text) + 1)) + text.encode() + b"\0"


@_once
def new_table() -> Message:
    """`add table inet astguard { comment "..." }`; kernels before 5.10 leave the comment out."""
    return encode(Kind.NEW_TABLE, CREATE, TableMessage, NAME=TABLE, USERDATA=_comment(_REMARK))


@_once
def drop_table() -> Message:
    """`delete table inet astguard`, with all that is in it."""
    return encode(Kind.DEL_TABLE, 0, TableMessage, NAME=TABLE)


@_once
def new_chain() -> Message:
    """`add chain inet astguard guard { type filter hook prerouting priority raw; policy accept; }`."""
    return encode(Kind.NEW_CHAIN, CREATE, ChainMessage, TABLE=TABLE, NAME=CHAIN, POLICY=1, **CHAIN_SHAPE)


@_once
def flush_chain() -> Message:
    """`flush chain inet astguard guard`."""
    return encode(Kind.DEL_RULE, 0, RuleMessage, TABLE=TABLE, CHAIN=CHAIN)


@_once
def new_counter(scope: str) -> Message:
    """`add counter inet astguard dropped_all`; one that is there goes on counting."""
    counter = {"BYTES": 0, "PACKETS": 0}
    return encode(
        Kind.NEW_OBJECT, CREATE, ObjectMessage, TABLE=TABLE, NAME=counter_name(scope), TYPE=_COUNTER, DATA=counter
    )


@_once
def new_set(key: SetKey, number: int, size: int, rate: int) -> Message:
    """`add set`: `size` elements at most (0: no limit); `rate` packets per second for the scope `slow`.

    The kernel wants a `number` that no other set of the transaction has. A set that is there keeps its elements and,
    from kernel 6.5 on, takes the new size (nf_tables_newset); before, it keeps the old one.
    """
    attrs: dict[str, object] = {"TABLE": TABLE, "NAME": key.name, **key.shape, "ID": number}
    if size:
        attrs["DESC"] = {"SIZE": size}
    if key.purpose == Scope.SLOW:
        # `limit rate over N/second`: unit 1 s, nft's own burst, type packets, flag "inverted": matches what is over.
        limit = {"RATE": rate, "UNIT": 1, "BURST": 5, "TYPE": 0, "FLAGS": 1}
        attrs["EXPRESSION"] = {"NAME": "limit", "limit": limit}
    return encode(Kind.NEW_SET, CREATE, SetMessage, **attrs)


def new_ports(number: int, ports: Iterable[int]) -> list[Message]:
    """`add set inet astguard sip_ports { type inet_proto . inet_service; elements = { udp . 5060, ... } }`."""
    return [
        encode(Kind.NEW_SET, CREATE, SetMessage, TABLE=TABLE, NAME=SIP_PORTS, **PORTS_SHAPE, ID=number),
        *more_ports(ports),
    ]


def more_ports(ports: Iterable[int]) -> list[Message]:
    """`add element inet astguard sip_ports { udp . 5080, tcp . 5080 }`; one that is there may be added again."""
    # A concatenated key is a run of four-byte registers, each value at its start.
    keys = [bytes((proto, 0, 0, 0)) + port.to_bytes(2, "big") + b"\0\0" for proto in (17, 6) for port in sorted(ports)]
    writer = ElementWriter(TABLE, SIP_PORTS, 8)
    return writer.messages(Kind.NEW_ELEMENT, CREATE, writer.bare(keys))


@_once
def drop_set(name: str) -> Message:
    """`delete set inet astguard NAME`; refused while a rule looks it up."""
    return encode(Kind.DEL_SET, 0, SetMessage, TABLE=TABLE, NAME=name)


@_once
def ask_table() -> Message:
    """Ask whether our table is there."""
    return encode(Kind.GET_TABLE, ACK, TableMessage, NAME=TABLE)


@_once
def ask_chain() -> Message:
    """Ask what our chain looks like."""
    return encode(Kind.GET_CHAIN, ACK, ChainMessage, TABLE=TABLE, NAME=CHAIN)


@_once
def ask_rules() -> Message:
    """Ask for the rules of our chain, in order."""
    return encode(Kind.GET_RULE, DUMP, RuleMessage, TABLE=TABLE, CHAIN=CHAIN)


@_once
def ask_generation() -> Message:
    """Ask how many transactions this namespace has seen."""
    return encode(Kind.GET_GENERATION, ACK, GenerationMessage)


@_once
def ask_sets() -> Message:
    """Ask for all sets of our table, without their elements."""
    return encode(Kind.GET_SET, DUMP, SetMessage, TABLE=TABLE)


@_once
def ask_counters() -> Message:
    """Ask for all counters of our table."""
    return encode(Kind.GET_OBJECT, DUMP, ObjectMessage, TABLE=TABLE, TYPE=_COUNTER)


@_once
def first_rules() -> tuple[Message, ...]:
    """`iif lo accept` and `icmpv6 type 133-137 accept`."""
    icmp_type = {"DREG": 1, "BASE": 2, "OFFSET": 0, "LEN": 1}
    accept = _verdict(1)
    return (
        _rule(
            RULES_OF_NO_SET[0], ("meta", {"DREG": 1, "KEY": 4}), _compare((1).to_bytes(4, byteorder)), accept
        ),  # lo is always ifindex 1
        _rule(
            RULES_OF_NO_SET[1],
            ("meta", {"DREG": 1, "KEY": 16}),  # l4proto
            _compare(b"\x3a"),
            ("payload", icmp_type),
            _compare(b"\x85", 5),  # at least 133, router solicitation
            _compare(b"\x89", 3),  # at most 137, redirect
            accept,
        ),
    )


@_once
def set_rule(key: SetKey) -> Message:
    """Write the rule that looks a packet's source up in a set, as in the table above."""
    size, offset, nfproto = (4, 12, 2) if key.family == 4 else (16, 8, 10)
    steps: list[Step] = [("meta", {"DREG": 1, "KEY": 15}), _compare(bytes((nfproto,)))]
    if key.purpose in (Scope.SIP, Scope.SLOW):
        # `meta l4proto . th dport @sip_ports`. No fragment but the first matches: without it the rest is never whole.
        steps += [
            ("meta", {"DREG": 1, "KEY": 16}),
            ("payload", {"DREG": 9, "BASE": 2, "OFFSET": 2, "LEN": 2}),  # NFT_REG32_01, the four bytes behind
            ("lookup", {"SET": SIP_PORTS, "SREG": 1}),
        ]
    steps.append(("payload", {"DREG": 1, "BASE": 1, "OFFSET": offset, "LEN": size}))
    if key.length < HOST_LENGTH[key.family]:
        masks = {"MASK": {"VALUE": mask(key.family, key.length)}, "XOR": {"VALUE": bytes(size)}}
        steps.append(("bitwise", {"SREG": 1, "DREG": 1, "LEN": size, **masks}))
    steps.append(("lookup", {"SET": key.name, "SREG": 1}))
    if key.purpose == ALLOW:
        return _rule(comment_of(key.name), *steps, _verdict(1))
    return _rule(
        comment_of(key.name), *steps, ("objref", {"TYPE": _COUNTER, "NAME": counter_name(key.purpose)}), _verdict(0)
    )


def _rule(comment: str, *steps: Step) -> Message:
    listed = [("STEP", {"NAME": name, name: attrs}) for name, attrs in steps]
    attrs = {"TABLE": TABLE, "CHAIN": CHAIN, "EXPRESSIONS": listed, "USERDATA": _comment(comment)}
    return encode(Kind.NEW_RULE, CREATE | APPEND, RuleMessage, **attrs)


def _compare(value: bytes, operator: int = 0) -> Step:
    return "cmp", {"SREG": 1, "OP": operator, "DATA": {"VALUE": value}}


def _verdict(code: int) -> Step:
    return "immediate", {"DREG": 0, "DATA": {"VERDICT": {"CODE": code}}}
