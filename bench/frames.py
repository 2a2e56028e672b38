"""Packets as fast as one core sends them: frames made before, thousands in one call of the kernel (sendmmsg).

Over a veth pair a frame is received, and dropped or not, before the call returns: its time is that of all of it.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import time
from pathlib import Path
from statistics import median

from tests.netns import link

AT_ONCE = 512
FAR, HERE = "192.0.2.66", "192.0.2.1"
PORT = 12_000
PAYLOAD = b"x" * 172  # 20 ms of RTP

_libc = ctypes.CDLL(None, use_errno=True)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):  # struct msghdr
    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)), ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t), ("flags", ctypes.c_int),
    )  # fmt: skip


class _Message(ctypes.Structure):  # struct mmsghdr
    _fields_ = (("header", _Header), ("sent", ctypes.c_uint))


def wire_up(place, far):
    """Join both by a veth pair; return the Ethernet header of a frame from `far`."""
    link(place, far, [f"{HERE}/24"], [f"{FAR}/24"])
    for name in ("all", "default", "eth0"):
        place.sysctl(f"net/ipv4/conf/{name}/rp_filter", 0)
    place.run("ip", "route", "add", "default", "via", FAR)
    macs = []
    for where in (place, far):
        words = where.run("ip", "-o", "link", "show", "eth0").split()
        macs.append(bytes.fromhex(words[words.index("link/ether") + 1].replace(":", "")))
    return b"".join(macs) + b"\x08\x00"


def frame(header, source, port=PORT):
    """Write a UDP packet from an address (packed) to HERE, without UDP's checksum, which IPv4 allows."""
    udp = struct.pack(">HHHH", 5060, port, 8 + len(PAYLOAD), 0) + PAYLOAD
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, source, socket.inet_aton(HERE))
    total = sum(struct.unpack(">10H", ip))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    return header + ip[:10] + struct.pack(">H", checksum) + ip[12:] + udp


class Mouth:
    """Sends the same frames again and again, from the namespace `far`."""

    def __init__(self, far, frames):
        with far.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind(("eth0", 0))
        self._bytes = ctypes.create_string_buffer(b"".join(frames))
        start, size = ctypes.addressof(self._bytes), len(frames[0])
        self._vectors = (_Vector * len(frames))(*((start + size * at, size) for at in range(len(frames))))
        self._messages = (_Message * len(frames))()
        for at, message in enumerate(self._messages):
            message.header.vectors = ctypes.pointer(self._vectors[at])
            message.header.count = 1
        self._count = len(frames)

    def nanoseconds(self):
        """Send all of them once; return what one took, the median of all calls: some are interrupted by others."""
        start, size = ctypes.addressof(self._messages), ctypes.sizeof(_Message)
        descriptor, clock, taken = self._socket.fileno(), time.perf_counter_ns, []
        for at in range(0, self._count, AT_ONCE):
            wanted = min(AT_ONCE, self._count - at)
            started = clock()
            done = _libc.sendmmsg(descriptor, ctypes.c_void_p(start + size * at), wanted, 0)
            taken.append((clock() - started) / wanted)
            if done != wanted:
                raise OSError(ctypes.get_errno(), f"{done} of {wanted} frames were sent")
        return median(taken)

    def close(self):
        self._socket.close()


def stay_on_one_core():
    """Keep this thread where it is, so that no frame waits for another core."""
    core = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[36])
    os.sched_setaffinity(0, {core})
