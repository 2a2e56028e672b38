"""The monitor's socket: hears what others do to our table as they do it.

Our own batches would reach it too, at 90 bytes an element. A filter of four instructions has the kernel leave out what
bears the port of our batch socket, before it takes room in the buffer (netlink_broadcast, sk_filter). So the buffer is
for others alone, and what it may cost us is bounded: the kernel says ENOBUFS, and we look.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import TYPE_CHECKING

from guard.core.address import Source
from guard.core.rule import Scope
from guard.firewall import News
from guard.firewall.nfsocket import open_netfilter
from guard.firewall.nftopology import ALLOW, SIP_PORTS, TABLE, parse_name
from guard.wire.nfmonitor import LOST, MonitorReader, Notices

if TYPE_CHECKING:
    from guard.firewall.nfsocket import NetlinkSocket

READS = 32
"""Datagrams in one drain(): of 40 elements each, some 3 ms."""

_GROUP = 1 << 6  # NFNLGRP_NFTABLES is 7, counted from 1
_BUFFER = 8 << 20
_LARGEST = 1 << 17  # the kernel packs messages into datagrams of a page or two; one rule may be 64 KiB
_SO_ATTACH_FILTER = 26
_PORT_OFFSET = 12  # nlmsghdr.nlmsg_pid


class NftMonitor:
    """See guard.firewall.Monitor. OSError if the kernel lets us not listen. `kernel` is the socket of our batches."""

    def __init__(self, kernel: NetlinkSocket) -> None:
        self._kernel = kernel
        self._port = -1
        self._reader = MonitorReader(TABLE, kernel.ports)
        self._buffer = bytearray(_LARGEST)
        self._socket = open_netfilter(_BUFFER, _GROUP)
        self._socket.setblocking(False)
        self._leave_out_our_own()

    def fileno(self) -> int:
        """Return the socket's number."""
        return self._socket.fileno()

    def drain(self) -> News:
        """Read up to READS datagrams."""
        self._leave_out_our_own()
        notices = Notices()
        for _ in range(READS):
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: more happened than the buffer holds
                notices.overflow = True
                continue
            try:
                self._reader.read(bytes(self._buffer[:size]), notices)
            except ValueError:
                notices.overflow = True  # we did not understand it, so we look
        return _news(notices)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _leave_out_our_own(self) -> None:
        """Filter by the port of the batch socket, which is another one when that had to be opened anew."""
        port = self._kernel.port
        if port == self._port:
            return
        # A load from the packet takes four bytes as big-endian; the header has them in the machine's order.
        (loaded,) = struct.unpack(">I", struct.pack("=I", port))
        steps = ((0x20, 0, 0, _PORT_OFFSET), (0x15, 0, 1, loaded), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
        program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
        filter_ = struct.pack("@HP", len(steps), ctypes.addressof(program))  # struct sock_fprog
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
        self._port = port


def _news(notices: Notices) -> News:
    """Say in sources and scopes what was told in sets and keys."""
    layout, lost, found = False, [], {}
    for (name, address), left in notices.elements.items():
        key = parse_name(name)
        if key is None or key.purpose == ALLOW:
            layout = layout or key is not None or name == SIP_PORTS
            continue
        if len(address) != (4 if key.family == 4 else 16):
            continue
        banned = Source(bytes((key.family, key.length)) + address), Scope(key.purpose)
        if left == LOST:
            lost.append(banned)
        else:
            found[banned] = float("inf") if left is None else left / 1000
    return News(shape=notices.shape, layout=layout, lost=lost, found=found, overflow=notices.overflow, by=notices.by)
