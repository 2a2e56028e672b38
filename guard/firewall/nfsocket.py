"""The held socket to nf_tables: transactions and questions, and what the kernel's refusals mean.

A transaction is carried out inside send() (nfnetlink_rcv_batch), so its answer already waits when send() returns, and
nothing here ever waits on another process. Answers are told by their sequence number: after a batch that failed early,
acks of its other messages stay queued and would be taken for those of the next one.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from guard.errors import FirewallError, FirewallMissing, FirewallUnavailable
from guard.wire import nfnetlink as wire

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from guard.wire.nfnetlink import Answer, Message

# 20,000 changes of the costliest kind (an IPv6 ban that replaces elements in all three scopes, in the sturdy form) are
# 4.4 MB; setup() with an allowlist of 100,000 entries is 3 MB.
_BUFFER = 8 << 20
_TIMEOUT = struct.pack("@ll", 5, 0)  # struct timeval; never waited for in practice, see above
_SEQUENCES = 1 << 31
_TRIES = 5
_PORTS = 16
_NETLINK_NETFILTER = 12
_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10  # linux/netlink.h: an error does not carry the whole refused message (64 KiB) back

# What a kernel without nf_tables, or without a part of it, answers: the family unknown, the subsystem not there.
NO_NF_TABLES = (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP)


class Refusal(NamedTuple):
    """Why a transaction was refused, and at which of its messages (-1: as a whole)."""

    errno: int
    message: int


class NetlinkSocket:
    """One AF_NETLINK socket, opened on first use and after every fault, in the network namespace of that moment."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._sequence = 1
        self.room = 0  # bytes that one send() may have; known once the socket is open
        self.ports: deque[int] = deque(maxlen=_PORTS)  # the kernel's numbers of our sockets, the present one last

    def open(self) -> socket.socket:
        """Return the socket; FirewallUnavailable if the kernel has no netfilter netlink."""
        if self._socket is not None:
            return self._socket
        try:
            self._socket = open_netfilter(_BUFFER)
        except OSError as fault:
            raise _broken(fault) from fault
        self.room = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) - 32  # netlink_sendmsg keeps 32 bytes
        self.ports.append(self._socket.getsockname()[0])
        return self._socket

    @property
    def port(self) -> int:
        """The kernel's number of this socket, by which it marks what was done through it; opens the socket."""
        self.open()
        return self.ports[-1]

    def close(self) -> None:
        """Close it; the next use opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def commit(self, messages: Sequence[Message]) -> Refusal | None:
        """Carry out a transaction: None, or why the kernel refused it and changed nothing."""
        held = self._socket or self.open()
        first = self._sequence
        last = first + len(messages)
        self._sequence = (last + 2) % _SEQUENCES or 1
        try:
            held.send(wire.transaction(messages, first))
            refusal = None
            while True:
                for answer in wire.answers(held.recv(8192)):
                    number = answer.sequence
                    if answer.type != wire.NLMSG_ERROR or not first <= number <= last:
                        continue  # left over from a batch that failed before
                    if answer.errno and refusal is None:
                        refusal = Refusal(answer.errno, number - first - 1)
                    if number == last or (number == first and answer.errno):
                        return refusal
        except OSError as fault:
            self.close()
            raise _broken(fault) from fault

    def ask(self, message: Message) -> list[bytes]:
        """Return the bodies of all messages that answer a question; nothing if what it asks about is not there."""
        # A dump that a change interrupted may miss entries or hold them twice: it says so, and is asked for again.
        for _ in range(_TRIES):
            answers = list(self.listen(message))
            if not any(answer.flags & wire.DUMP_INTERRUPTED for answer in answers):
                return [answer.body for answer in answers if answer.body]
        raise FirewallError(f"the kernel's tables changed during each of {_TRIES} listings; try again later")

    def listen(self, message: Message) -> Generator[Answer, None, None]:
        """Yield the messages that answer a question as they come, the end of a listing included."""
        held = self._socket or self.open()
        number = self._sequence
        self._sequence = (number + 1) % _SEQUENCES or 1
        finished = False
        try:
            held.send(wire.request(message, number))
            while not finished:
                for answer in wire.answers(held.recv(1 << 16)):
                    if answer.sequence != number:
                        continue
                    if answer.errno not in (0, errno.ENOENT):
                        raise refused(answer.errno, "the kernel refused to say what it holds")
                    finished = answer.type in (wire.NLMSG_ERROR, wire.NLMSG_DONE)
                    yield answer
        except OSError as fault:
            raise _broken(fault) from fault
        finally:
            if not finished:
                self.close()  # whoever leaves a listing early leaves the rest of it in the queue


def open_netfilter(buffer: int, groups: int = 0) -> socket.socket:
    """Open a netfilter socket with buffers of this many bytes, which hears these groups; OSError if that is refused."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    try:
        for forced, plain in ((32, socket.SO_SNDBUF), (33, socket.SO_RCVBUF)):  # SO_SNDBUFFORCE, SO_RCVBUFFORCE
            try:
                opened.setsockopt(socket.SOL_SOCKET, forced, buffer)
            except PermissionError:
                # Root of an unprivileged container may change its own tables, but on older kernels not go over
                # net.core.wmem_max. Whether we may at all is told by the first transaction.
                opened.setsockopt(socket.SOL_SOCKET, plain, buffer)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEOUT)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        opened.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        opened.bind((0, groups))
    except OSError:
        opened.close()
        raise
    return opened


def refused(number: int, what: str) -> FirewallError:
    """Say a refusal in words. What only the caller can know (ENOENT, EEXIST, ENFILE) it has to say itself."""
    if number == errno.EPERM:
        return FirewallUnavailable("changing nftables needs root or CAP_NET_ADMIN in this network namespace")
    if number in NO_NF_TABLES:
        return FirewallMissing(
            f"this kernel has no nf_tables ({_describe(number)}); load it with `modprobe nf_tables`, "
            "or take a kernel that has it"
        )
    return FirewallError(f"{what}: {_describe(number)}")


def _broken(fault: OSError) -> FirewallError:
    if fault.errno == errno.EMSGSIZE:
        return FirewallError("the transaction is larger than the socket's buffer; raise net.core.wmem_max")
    return refused(fault.errno or 0, "the kernel's netlink socket failed")


def _describe(number: int) -> str:
    return f"{errno.errorcode.get(number, number)}, {os.strerror(number)}"
