"""nf_tables messages packed by hand: element batches out, acks and element dumps in.

One ban is the hot path of the daemon. An object tree per message (pyroute2) takes 0.4 to 0.8 ms for it, an `nft`
process 3 ms; joined bytes take a microsecond, and the kernel's own work is what remains. No socket is here: this module
turns values into bytes and bytes into values.

The grammar is linux/netlink.h, linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h. A message is a header in
the machine's byte order, four bytes nfgenmsg (family, version, big-endian resource id) and attributes, each a length
and a type in the machine's order, padded to four bytes; the values inside are big-endian. A transaction is a datagram
of messages between BATCH_BEGIN and BATCH_END, carried out whole or not at all.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NF_TABLES = 10  # NFNL_SUBSYS_NFTABLES
_SUBSYSTEM = NF_TABLES << 8
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
NLMSG_ERROR, NLMSG_DONE = 2, 3

REQUEST, ACK, DUMP_INTERRUPTED = 0x1, 0x4, 0x10
DUMP = 0x300  # NLM_F_ROOT | NLM_F_MATCH
EXCLUSIVE, CREATE, APPEND = 0x200, 0x400, 0x800

NESTED = 0x8000
_TYPE_MASK = 0x3FFF  # without the flags "nested" and "network byte order"

INET_HEADER = b"\x01\0\0\0"  # nfgenmsg of family NFPROTO_INET
_BATCH_HEADER = b"\0\0\0\x0a"  # nfgenmsg whose big-endian resource id says which subsystem the batch is for

_HEADER = Struct("=IHHII")  # length, type, flags, sequence number, port
_ERROR = Struct("=IHHIIi")  # the same with nlmsgerr.error, a negated errno
_ATTRIBUTE = Struct("=HH")

# nla_len is 16 bits, and it counts the four bytes of the list's own header.
LIST_LIMIT = 0xFFFF - 4


class Kind(IntEnum):
    """Message types of nf_tables that are used here (enum nf_tables_msg_types)."""

    NEW_TABLE = 0
    GET_TABLE = 1
    DEL_TABLE = 2
    NEW_CHAIN = 3
    GET_CHAIN = 4
    NEW_RULE = 6
    GET_RULE = 7
    DEL_RULE = 8
    NEW_SET = 9
    GET_SET = 10
    DEL_SET = 11
    NEW_ELEMENT = 12
    GET_ELEMENT = 13
    DEL_ELEMENT = 14
    GET_GENERATION = 16
    NEW_OBJECT = 18
    GET_OBJECT = 19


class Message(NamedTuple):
    """One request: its kind, its flags besides REQUEST, and everything behind the netlink header."""

    kind: int
    flags: int
    body: bytes


class Answer(NamedTuple):
    """One message of the kernel's; `errno` is 0 unless this is a refusal, `body` is empty for acks and ends."""

    type: int
    flags: int
    sequence: int
    errno: int
    body: bytes


def transaction(messages: Sequence[Message], sequence: int) -> bytes:
    """Wrap messages into one batch. They are numbered from `sequence` + 1, and the last one asks for an ack.

    BATCH_BEGIN has the number `sequence`: a batch refused as a whole is answered under it. The ack is asked for on the
    last message because kernels before 6.10 do not answer for BATCH_END.
    """
    last = sequence + len(messages)
    pack = _HEADER.pack
    parts = [pack(20, _BATCH_BEGIN, REQUEST, sequence, 0), _BATCH_HEADER]
    number = sequence
    for kind, flags, body in messages:
        number += 1
        flags |= REQUEST | ACK if number == last else REQUEST  # noqa: PLW2901 - the tuple is not changed
        parts.append(pack(16 + len(body), _SUBSYSTEM | kind, flags, number, 0))
        parts.append(body)
    parts.append(pack(20, _BATCH_END, REQUEST, last + 1, 0))
    parts.append(_BATCH_HEADER)
    return b"".join(parts)


def request(message: Message, sequence: int, subsystem: int = NF_TABLES) -> bytes:
    """Write one message that goes without a batch."""
    kind = subsystem << 8 | message.kind  # nfnetlink.h: the upper byte of a type says for whom it is
    return _HEADER.pack(16 + len(message.body), kind, REQUEST | message.flags, sequence, 0) + message.body


def answers(data: bytes) -> Iterator[Answer]:
    """Read what one recv() brought; ValueError if it is no netlink."""
    offset, end = 0, len(data)
    while offset < end:
        if end - offset < 16:
            raise ValueError(f"{end - offset} bytes left, expected a netlink header of 16")
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if not 16 <= length <= end - offset:
            raise ValueError(f"a netlink message of {length} bytes, expected 16 to {end - offset}")
        if kind in (NLMSG_ERROR, NLMSG_DONE):
            if kind == NLMSG_ERROR and length < 20:
                raise ValueError(f"a netlink error of {length} bytes, expected at least 20")
            # NLMSG_DONE too carries the errno of a dump that failed midway (af_netlink.c, netlink_dump_done).
            error = -_ERROR.unpack_from(data, offset)[5] if length >= 20 else 0
            yield Answer(kind, flags, sequence, error, b"")
        else:
            yield Answer(kind, flags, sequence, 0, data[offset + 16 : offset + length])
        offset += (length + 3) & ~3


def attributes(data: bytes, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """Read a run of attributes as type and value; ValueError if one reaches past the end."""
    end = len(data)
    while offset + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if not 4 <= length <= end - offset:
            raise ValueError(f"a netlink attribute of {length} bytes, expected 4 to {end - offset}")
        yield kind & _TYPE_MASK, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """Write one attribute, padded."""
    return _ATTRIBUTE.pack(4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


class ElementWriter:
    """Writes the elements of one set and the messages that carry them.

    Keys must have exactly `key_size` bytes (a multiple of four): that is the caller's to check, once per source.
    """

    def __init__(self, table: str, name: str, key_size: int) -> None:
        assert key_size % 4 == 0, "keys are whole registers"
        # NFTA_SET_ELEM_LIST_TABLE and _SET, then the list itself.
        self._head = INET_HEADER + attribute(1, table.encode() + b"\0") + attribute(2, name.encode() + b"\0")
        # NFTA_LIST_ELEM { NFTA_SET_ELEM_KEY { NFTA_DATA_VALUE key } NFTA_SET_ELEM_TIMEOUT milliseconds }
        key_part = _ATTRIBUTE.pack(8 + key_size, 1 | NESTED) + _ATTRIBUTE.pack(4 + key_size, 1)
        self._bare_prefix = _ATTRIBUTE.pack(12 + key_size, 1 | NESTED) + key_part
        self._timed_prefix = _ATTRIBUTE.pack(24 + key_size, 1 | NESTED) + key_part
        self._timeout = _ATTRIBUTE.pack(12, 4)
        self._pack = Struct(f">12s{key_size}s4sQ").pack

    def timed(self, entries: Iterable[tuple[bytes, int]]) -> list[bytes]:
        """Write elements that end by themselves after some milliseconds, which the kernel takes for "never" if 0."""
        pack, prefix, timeout = self._pack, self._timed_prefix, self._timeout
        return [pack(prefix, key, timeout, milliseconds or 1) for key, milliseconds in entries]

    def bare(self, keys: Iterable[bytes]) -> list[bytes]:
        """Write elements without a time: what is to be deleted, and the entries of allow sets."""
        prefix = self._bare_prefix
        return [prefix + key for key in keys]

    def messages(self, kind: Kind, flags: int, elements: Sequence[bytes]) -> list[Message]:
        """Spread elements, all written by one of the two methods, over as few messages as may carry them."""
        if len(elements) == 1:
            (element,) = elements
            return [Message(kind, flags, self._head + _ATTRIBUTE.pack(4 + len(element), 3 | NESTED) + element)]
        each = LIST_LIMIT // len(elements[0]) if elements else 1
        return [
            Message(kind, flags, b"".join((self._head, _ATTRIBUTE.pack(4 + len(run), 3 | NESTED), run)))
            for run in (b"".join(elements[i : i + each]) for i in range(0, len(elements), each))
        ]

    def listing(self) -> Message:
        """Write the question for all elements."""
        return Message(Kind.GET_ELEMENT, DUMP, self._head)


def elements(body: bytes) -> Iterator[tuple[bytes, int | None]]:
    """Read one message of an element dump: each key, and the milliseconds it has left (None if it has no timeout)."""
    for kind, entries in attributes(body, 4):
        if kind != 3:  # NFTA_SET_ELEM_LIST_ELEMENTS
            continue
        for _, entry in attributes(entries):
            key, left = b"", None
            for part, value in attributes(entry):
                if part == 1:  # NFTA_SET_ELEM_KEY, in it NFTA_DATA_VALUE
                    key = value[4:]
                elif part == 5:  # NFTA_SET_ELEM_EXPIRATION
                    left = int.from_bytes(value, "big")
            yield key, left
