"""What the kernel's monitor of nf_tables tells of one table: bytes of its multicast group to what others did there.

The kernel sends, for each transaction, the messages that would make it (linux/netfilter/nf_tables.h, nf_tables_commit)
and at the end a NEWGEN that names the process. Every message bears the port of the socket that asked for it, by which
our own are told apart. A datagram that does not hold the table's name is not taken apart: on a host where others
change their rules all day, looking for eight bytes is all they cost us.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import TYPE_CHECKING

from guard.core.text import printable
from guard.wire.nfnetlink import INET_HEADER, Kind, attributes, elements

if TYPE_CHECKING:
    from collections.abc import Container

ELEMENTS_LIMIT = 10_000
"""Elements whose change is noted one by one; beyond that it is cheaper to bring back all."""
LOST = -1
"""In place of the milliseconds left: the element was deleted."""

_HEADER = Struct("=IHHII")  # length, type, flags, sequence number, port
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_NEW_GENERATION = 15
_ELEMENTS = (Kind.NEW_ELEMENT, Kind.DEL_ELEMENT)
_QUESTIONS = (1, 4, 7, 10, 13, 16, 17, 19, 21, 23)  # the GET kinds, and traces: nothing is changed by them


@dataclass
class Notices:
    """What others did to the table since the last time.

    `shape`: table, chain, rule, set or counter was made, changed or deleted. `elements`: by set and key the last thing
    that happened to it: LOST, or added with so many milliseconds left (None: without end). `overflow`: more happened
    than was noted. `by`: who did the last of it, fit to be shown. `foreign` counts messages about this table.
    """

    shape: bool = False
    overflow: bool = False
    elements: dict[tuple[str, bytes], int | None] = field(default_factory=dict)
    by: str = ""
    foreign: int = 0

    def __bool__(self) -> bool:
        """Tell whether anything happened."""
        return self.shape or self.overflow or bool(self.elements)


class MonitorReader:
    """Reads datagrams of the monitor group, about one table of the family inet, changed by other ports than `own`."""

    def __init__(self, table: str, own: Container[int]) -> None:
        self._name = table.encode() + b"\0"
        self._own = own
        self._unnamed = False  # something was noted, and the NEWGEN that says whose it is has not come yet

    def read(self, datagram: bytes, notices: Notices) -> None:
        """Note what one datagram tells; ValueError if it is no netlink, or an attribute reaches past its end."""
        if not self._unnamed and self._name not in datagram:
            return
        offset, end = 0, len(datagram)
        while offset < end:
            if end - offset < 20:
                raise ValueError(f"{end - offset} bytes left, expected a netlink header and nfgenmsg of 20")
            length, kind, _, _, port = _HEADER.unpack_from(datagram, offset)
            if not 20 <= length <= end - offset:
                raise ValueError(f"a netlink message of {length} bytes, expected 20 to {end - offset}")
            if kind >> 8 == _SUBSYSTEM and port not in self._own:
                self._note(kind & 0xFF, datagram[offset + 16 : offset + length], notices)
            offset += (length + 3) & ~3

    def _note(self, kind: int, body: bytes, notices: Notices) -> None:
        if kind == _NEW_GENERATION:
            if self._unnamed:
                notices.by, self._unnamed = _who(body), False
            return
        if kind in _QUESTIONS or body[:1] != INET_HEADER[:1]:
            return
        # NFTA_*_TABLE and NFTA_TABLE_NAME are all attribute 1, NFTA_SET_ELEM_LIST_SET is 2.
        names = {number: value for number, value in attributes(body, 4) if number in (1, 2)}
        if names.get(1) != self._name:
            return
        self._unnamed = True
        notices.foreign += 1
        if kind not in _ELEMENTS:
            notices.shape = True
            return
        name = names.get(2, b"").rstrip(b"\0").decode("ascii", "replace")
        for key, left in elements(body):
            if len(notices.elements) >= ELEMENTS_LIMIT:
                notices.overflow = True
                return
            notices.elements[name, key] = LOST if kind == Kind.DEL_ELEMENT else left


def _who(body: bytes) -> str:
    """Read NFTA_GEN_PROC_PID and _NAME, which every program chooses for itself."""
    told = dict(attributes(body, 4))
    name = printable(told.get(3, b"").rstrip(b"\0").decode("utf-8", "replace"), 32) or "somebody"
    return f"{name}, pid {int.from_bytes(told[2], 'big')}" if 2 in told else name
