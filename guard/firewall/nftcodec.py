"""nf_tables messages through pyroute2's codecs: tables, chains, sets, rules, counters. Not elements (wire.nfnetlink).

Built from pyroute2's base types alone (asciiz, be32, be64, cdata), which mean the same in 0.7.2 and 0.9.7. Its NFTables
class and its own message classes do not: the one is broken or absent in every second version, of the other the flags
are an integer here and a set of names there. Attribute numbers are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING, cast

from pyroute2.netlink import NLA_F_NESTED, nla
from pyroute2.netlink.nfnetlink import nfgen_msg

from guard.wire.nfnetlink import Message

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Nested(nla):  # type: ignore[misc] # pyroute2 has no types
    nla_flags = NLA_F_NESTED


class _Value(_Nested):
    nla_map = ((1, "VALUE", "cdata"), (2, "VERDICT", "Verdict"))

    class Verdict(_Nested):
        nla_map = ((1, "CODE", "be32"),)


class _Expression(_Nested):
    """One step of a rule. All kinds share attribute 2, so the one we have to read back (limit) comes last."""

    nla_map = (
        (1, "NAME", "asciiz"),
        (2, "meta", "Meta"),
        (2, "cmp", "Compare"),
        (2, "payload", "Payload"),
        (2, "bitwise", "Bitwise"),
        (2, "lookup", "Lookup"),
        (2, "immediate", "Immediate"),
        (2, "objref", "Reference"),
        (2, "limit", "Limit"),
    )

    class Meta(_Nested):
        nla_map = ((1, "DREG", "be32"), (2, "KEY", "be32"))

    class Compare(_Nested):
        nla_map = ((1, "SREG", "be32"), (2, "OP", "be32"), (3, "DATA", "Data"))
        Data = _Value

    class Payload(_Nested):
        nla_map = ((1, "DREG", "be32"), (2, "BASE", "be32"), (3, "OFFSET", "be32"), (4, "LEN", "be32"))

    class Bitwise(_Nested):
        nla_map = (
            (1, "SREG", "be32"),
            (2, "DREG", "be32"),
            (3, "LEN", "be32"),
            (4, "MASK", "Data"),
            (5, "XOR", "Data"),
        )
        Data = _Value

    class Lookup(_Nested):
        nla_map = ((1, "SET", "asciiz"), (2, "SREG", "be32"))

    class Immediate(_Nested):
        nla_map = ((1, "DREG", "be32"), (2, "DATA", "Data"))
        Data = _Value

    class Reference(_Nested):
        nla_map = ((1, "TYPE", "be32"), (2, "NAME", "asciiz"))

    class Limit(_Nested):
        nla_map = (
            (1, "RATE", "be64"),
            (2, "UNIT", "be64"),
            (3, "BURST", "be32"),
            (4, "TYPE", "be32"),
            (5, "FLAGS", "be32"),
        )


class TableMessage(nfgen_msg):  # type: ignore[misc]
    """NFT_MSG_*TABLE."""

    nla_map = ((1, "NAME", "asciiz"), (2, "FLAGS", "be32"), (6, "USERDATA", "cdata"), (7, "OWNER", "be32"))


class ChainMessage(nfgen_msg):  # type: ignore[misc]
    """NFT_MSG_*CHAIN."""

    nla_map = (
        (1, "TABLE", "asciiz"),
        (3, "NAME", "asciiz"),
        (4, "HOOK", "Hook"),
        (5, "POLICY", "be32"),
        (7, "TYPE", "asciiz"),
    )

    class Hook(_Nested):
        """Where a base chain hangs; the priority is a signed number."""

        nla_map = ((1, "NUMBER", "be32"), (2, "PRIORITY", "be32"))


class RuleMessage(nfgen_msg):  # type: ignore[misc]
    """NFT_MSG_*RULE."""

    nla_map = (
        (1, "TABLE", "asciiz"),
        (2, "CHAIN", "asciiz"),
        (4, "EXPRESSIONS", "Expressions"),
        (7, "USERDATA", "cdata"),
    )

    class Expressions(_Nested):
        """The steps in order."""

        nla_map = ((1, "STEP", "Step"),)
        Step = _Expression


class SetMessage(nfgen_msg):  # type: ignore[misc]
    """NFT_MSG_*SET."""

    nla_map = (
        (1, "TABLE", "asciiz"),
        (2, "NAME", "asciiz"),
        (3, "FLAGS", "be32"),
        (4, "KEY_TYPE", "be32"),
        (5, "KEY_LEN", "be32"),
        (9, "DESC", "Description"),
        (10, "ID", "be32"),
        (17, "EXPRESSION", "Expression"),
    )
    Expression = _Expression

    class Description(_Nested):
        """How many elements, and how a key is put together."""

        nla_map = ((1, "SIZE", "be32"),)


class ObjectMessage(nfgen_msg):  # type: ignore[misc]
    """NFT_MSG_*OBJ, of counters."""

    nla_map = ((1, "TABLE", "asciiz"), (2, "NAME", "asciiz"), (3, "TYPE", "be32"), (4, "DATA", "Counter"))

    class Counter(_Nested):
        """What was counted."""

        nla_map = ((1, "BYTES", "be64"), (2, "PACKETS", "be64"))


class GenerationMessage(nfgen_msg):  # type: ignore[misc]
    """NFT_MSG_GETGEN."""


COUNTER = 1  # NFT_OBJECT_COUNTER


def encode(kind: int, flags: int, codec: type, **attrs: object) -> Message:
    """Build a message; a mapping becomes a nested attribute, a list of pairs one with its order and repetitions."""
    message = codec()
    message["nfgen_family"] = 1  # NFPROTO_INET
    message["attrs"] = _nest(attrs)
    message.encode()
    return Message(kind, flags, bytes(message.data[16:]))  # wire.nfnetlink writes the header itself


def _nest(attrs: Mapping[str, object] | list[tuple[str, object]]) -> list[tuple[str, object]]:
    pairs = list(attrs.items()) if isinstance(attrs, dict) else cast("list[tuple[str, object]]", attrs)
    return [(name, {"attrs": _nest(value)} if isinstance(value, dict | list) else value) for name, value in pairs]


def decode(codec: type, body: bytes) -> Mapping[str, object]:
    """Take a kernel's message apart; nested attributes become mappings."""
    message = codec(pack("=IHHII", 16 + len(body), 0, 0, 0, 0) + body)
    message.decode()
    return _flat(message)


def _flat(node: Mapping[str, object]) -> Mapping[str, object]:
    pairs = ((pair[0], pair[1]) for pair in cast("list[tuple[str, object]]", node.get("attrs", ())))
    return {name: _flat(value) if isinstance(value, dict) and "attrs" in value else value for name, value in pairs}
