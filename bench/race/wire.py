"""What reached Asterisk and what it answered: logged by the kernel behind the chains of all guards.

astguard drops at prerouting, CrowdSec at input -10 and fail2ban at input -1; the chain here is at input 500, in a table
of its own, so what it sees goes to Asterisk's socket. A packet is logged (NFLOG) with the time of the kernel's clock,
which does not care when the listener gets to run. Replies are seen at output; the kernel gives those no time.
What the kernel's monitor tells of nf_tables is written down beside it, with the time when the listener heard it.
"""

from __future__ import annotations

import re
import select
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

TREE = Path(__file__).parents[2]
ARRIVED, ANSWERED = 41, 42  # NFLOG groups
RULESET = 0  # what the monitor told of
TABLE = """\
table inet race {{
  chain arrived {{
    type filter hook input priority 500; policy accept;
    ip saddr {network} udp dport 5060 log group {arrived} queue-threshold 64
  }}
  chain answered {{
    type filter hook output priority 500; policy accept;
    ip daddr {network} udp sport 5060 log group {answered} queue-threshold 64
  }}
}}
"""
SNAPLEN, SHORT = 1400, 400  # svcrack's last header is the one that counts; of a flood the first ones are

# linux/netfilter/nfnetlink.h and nfnetlink_log.h
_NETFILTER, _ULOG = 12, 4
_CONFIG, _PACKET, _HEARD = 1, 0, 99  # the last is our own: what the monitor told, behind the time
_NEW_ELEMENT = 10 << 8 | 12  # linux/netfilter/nf_tables.h
_CFG_CMD, _CFG_MODE, _CFG_TIMEOUT, _BIND, _COPY_PACKET = 1, 2, 4, 1, 2
_TIMESTAMP, _PAYLOAD = 3, 9
_RCVBUFFORCE, _TIMESTAMPS = 33, 29
_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES = 270, 1, 7

_CALL = re.compile(rb"\r\nCall-ID: *([^\r]+)", re.IGNORECASE)
_ATTACKER = re.compile(rb"\xc6\x12.\x07", re.DOTALL)  # 198.18.*.7
_NUMBER = re.compile(rb"\r\nCSeq: *(\d+)", re.IGNORECASE)


class Packet(NamedTuple):
    """One SIP message; `at` is the kernel's wall clock in seconds, None for a reply."""

    group: int
    at: float | None
    source: str  # the attacker's address, whichever way it goes
    call: str
    number: int
    proof: bool  # it answers a challenge


def watch(host, network, folder):
    """Make the table. It goes with the namespace: Debian 12's nft dies on rulesets that a newer one wrote."""
    table = Path(folder) / "race.nft"
    table.write_text(TABLE.format(network=network, arrived=ARRIVED, answered=ANSWERED))
    host.run("nft", "-f", table, check=True)


@contextmanager
def listening(host, folder, snaplen=SNAPLEN):
    """Write down what the table logs while the block runs; gives the file it is written to."""
    file = Path(folder) / "packets"
    command = host.command(sys.executable, "-m", "bench.race.wire", file, str(snaplen))
    with subprocess.Popen(command, cwd=TREE, stdout=subprocess.PIPE) as listener:
        try:
            listener.stdout.readline()  # it listens
            yield file
            time.sleep(0.4)  # the kernel holds what is few for a tenth of a second
        finally:
            listener.terminate()


def read(file):
    """Give the packets of a file in the order they were logged, which is that of their times but for a hair."""
    data, at = file.read_bytes(), 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if length < 16 or at + length > len(data):
            break
        if kind == _ULOG << 8 | _PACKET:
            yield _packet(data[at + 16 : at + length])
        elif kind == _HEARD:
            yield from _elements(data[at + 16 : at + length])
        at += (length + 3) & ~3


def _elements(heard):
    """Give an entry for every address of an attacker in the set elements that the monitor told of."""
    (at,), message = struct.unpack_from("=d", heard), heard[8:]
    if struct.unpack_from("=H", message, 4)[0] == _NEW_ELEMENT:
        for address in set(_ATTACKER.findall(message)):
            yield Packet(RULESET, at, socket.inet_ntoa(address), "", 0, proof=False)


def _packet(message):
    (group,) = struct.unpack_from("!H", message, 2)
    stamp, payload, at = None, b"", 4
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if kind & 0x3FFF == _TIMESTAMP:
            seconds, micros = struct.unpack_from("!QQ", message, at + 4)
            stamp = seconds + micros / 1e6
        elif kind & 0x3FFF == _PAYLOAD:
            payload = message[at + 4 : at + length]
        at += max((length + 3) & ~3, 4)
    sip = payload[(payload[0] & 15) * 4 + 8 :]
    call, number = _CALL.search(sip), _NUMBER.search(sip)
    return Packet(
        group,
        stamp,
        socket.inet_ntoa(payload[12:16] if group == ARRIVED else payload[16:20]),
        call[1].decode("latin-1") if call else "",
        int(number[1]) if number else 0,
        b"\r\nAuthorization:" in sip,
    )


def listen(path, snaplen):
    """Write what the kernel logs to a file until somebody ends this process."""
    line = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
    line.setsockopt(socket.SOL_SOCKET, _RCVBUFFORCE, 256 << 20)
    line.bind((0, 0))
    for group in (ARRIVED, ANSWERED):
        for kind, value in (
            (_CFG_CMD, struct.pack("B", _BIND)),
            (_CFG_MODE, struct.pack("!IBB", snaplen, _COPY_PACKET, 0)),
            (_CFG_TIMEOUT, struct.pack("!I", 10)),  # hundredths of a second
        ):
            attribute = struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)
            body = struct.pack("!BBH", 0, 0, group) + attribute
            line.send(struct.pack("=IHHII", 16 + len(body), _ULOG << 8 | _CONFIG, 5, 0, 0) + body)
            (error,) = struct.unpack_from("=i", line.recv(4096), 16)
            if error:
                raise OSError(-error, "NFLOG")
    stamped = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # while somebody wants stamps, every packet gets one
    stamped.setsockopt(socket.SOL_SOCKET, _TIMESTAMPS, 1)
    monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
    monitor.bind((0, 0))
    monitor.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES)
    print("ready", flush=True)
    with stamped, Path(path).open("wb", buffering=0) as file:
        while True:
            for ready in select.select([monitor, line], [], [])[0]:
                heard = ready.recv(1 << 20)
                file.write(heard if ready is line else with_time(heard, time.time()))


def with_time(heard, now):
    """Wrap each message in one of our own that holds the time too."""
    wrapped, stamp = b"", struct.pack("=d", now)
    while len(heard) >= 16:
        length = (struct.unpack_from("=I", heard)[0] + 3) & ~3
        wrapped += struct.pack("=IHHII", 24 + length, _HEARD, 0, 0, 0) + stamp + heard[:length]
        heard = heard[max(length, 16) :]
    return wrapped


if __name__ == "__main__":
    listen(sys.argv[1], int(sys.argv[2]))
