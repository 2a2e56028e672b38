"""The held socket to ipset: orders and questions, each carried out within send(), and what its refusals mean."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from guard.errors import FirewallError, FirewallMissing, FirewallUnavailable
from guard.firewall.nfsocket import NetlinkSocket, Refusal
from guard.wire import ipset
from guard.wire import nfnetlink as wire

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from guard.wire.nfnetlink import Message

_SEQUENCES = 1 << 31
_DATAGRAM = 1 << 16


class IpsetSocket:
    """One socket, opened on first use and after every fault, in the network namespace of that moment."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket()
        self._sequence = 1

    def open(self) -> None:
        """Open it now, in the network namespace of this moment."""
        self._netlink.open()

    def close(self) -> None:
        """Close it; the next use opens another."""
        self._netlink.close()

    def order(self, messages: Sequence[Message]) -> Refusal | None:
        """Carry out messages one after the other: None, or the first refusal and at which of them.

        What stood before the refused one is done, and of the refused one the elements before the one at fault.
        """
        held = self._netlink.open()
        try:
            for number, (kind, flags, body) in enumerate(messages):
                sequence = self._next()
                held.send(wire.request(wire.Message(kind, flags | wire.ACK, body), sequence, ipset.SUBSYSTEM))
                refused = None
                while refused is None:
                    for answer in wire.answers(held.recv(_DATAGRAM)):
                        if answer.sequence == sequence:
                            refused = answer.errno
                if refused:
                    return Refusal(refused, number)
        except OSError as fault:
            self.close()
            raise refusal(fault.errno or 0, "the kernel's netlink socket failed") from fault
        return None

    def ask(self, message: Message) -> Generator[bytes, None, None]:
        """Yield the bodies of the messages that answer a question; nothing if what it asks about is not there."""
        held = self._netlink.open()
        sequence = self._next()
        finished = False
        try:
            question = wire.Message(message.kind, message.flags | wire.DUMP, message.body)
            held.send(wire.request(question, sequence, ipset.SUBSYSTEM))
            while not finished:
                for answer in wire.answers(held.recv(_DATAGRAM)):
                    if answer.sequence != sequence:
                        continue
                    if answer.errno not in (0, errno.ENOENT):
                        raise refusal(answer.errno, "the kernel refused to say what its sets hold")
                    finished = answer.type in (wire.NLMSG_ERROR, wire.NLMSG_DONE)
                    if answer.body:
                        yield answer.body
        except OSError as fault:
            raise refusal(fault.errno or 0, "the kernel's netlink socket failed") from fault
        finally:
            if not finished:
                self.close()  # whoever leaves a listing early leaves the rest of it in the queue

    def _next(self) -> int:
        self._sequence = (self._sequence + 1) % _SEQUENCES or 1
        return self._sequence


def refusal(number: int, what: str) -> FirewallError:
    """Say a refusal in words. What only the caller can know it has to say itself."""
    if number == errno.EPERM:
        return FirewallUnavailable("changing ipsets needs root or CAP_NET_ADMIN in this network namespace")
    if number in (errno.EINVAL, errno.EPROTONOSUPPORT, ipset.Refused.FIND_TYPE):
        # EINVAL is nfnetlink's word for a subsystem that is not there and whose module could not be loaded.
        return FirewallMissing(
            f"this kernel has no ipset of the types that are needed ({_describe(number)}); load them with "
            "`modprobe -a ip_set ip_set_hash_ip ip_set_hash_net ip_set_bitmap_port`, or use the backend nftables"
        )
    if number == ipset.Refused.PROTOCOL:
        return FirewallUnavailable(
            "this kernel speaks an older protocol of ipset than 7 (kernel 4.20); use the backend nftables"
        )
    return FirewallError(f"{what}: {_describe(number)}")


def _describe(number: int) -> str:
    if number in ipset.Refused.__members__.values():
        return f"ipset error {number}, {ipset.Refused(number).name.lower().replace('_', ' ')}"
    return f"{errno.errorcode.get(number, number)}, {os.strerror(number)}"
