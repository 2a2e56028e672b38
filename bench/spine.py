"""How fast is the way from an event to the kernel, and how many events a second does it carry?

    script/bench [path] [rate]        both if none is named

`path` runs the daemon with nftables in a network namespace of its own, writes the deciding event of one attacker after
the other to its AMI socket, and stamps two instants: when the kernel had acknowledged the element (in the daemon), and
when the kernel's own monitor told of it (here). Needs root. `rate` reads bytes as fast as they go, through each stage
alone and through all of them, beside a loop that only reads and splits. Nothing here judges the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import lzma
import os
import platform
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from guard.core.engine import Engine
from guard.core.units import Instant, Wall
from guard.settings.rulefile import Folder, load_rules
from guard.wire.amievent import BlockReader, EventReader
from tests.netns import namespace, reason_not_to_run
from tests.scripted_asterisk import ScriptedAsterisk, events_of

TREE = Path(__file__).parents[1]
MIXED = TREE / "tests/corpus/22.10.1/mixed-20k.ami.xz"
GUESSING = "pjsip-guessing"
BANS = 200
PAUSE = 0.02  # seconds between bans: the daemon sleeps in between, as it does in life
CHUNK = 65_536
REPEATS = 5

EVENT = """Event: ChallengeResponseFailed\r
Privilege: security,all\r
EventTV: {tv}\r
Severity: Error\r
Service: PJSIP\r
EventVersion: 1\r
AccountID: {account}\r
SessionID: {session}\r
LocalAddress: IPV4/TCP/203.0.113.10/5060\r
RemoteAddress: IPV4/TCP/{address}/5060\r
Challenge: 1795354577/ddc01744d5c6ba97ce924b484f8e6687\r
Response: a13697eb64d549a3367c5c300021bccb\r
ExpectedResponse: \r
\r
"""


def stock_rules():
    return load_rules((Folder(TREE / "rules"),)).rules


# The whole path.


def measure_path():
    """Measure in a fresh network namespace; print percentiles of both stamps."""
    reason = reason_not_to_run("nft")
    if reason:
        print(f"path: not measured, {reason}")
        return
    with namespace("bench") as place, place.inside(), tempfile.TemporaryDirectory(prefix="astguard-") as folder:
        told, acknowledged = asyncio.run(_path(Path(folder)))
        elements = place.run("nft", "list", "table", "inet", "astguard").count("expires")
    print(f"path: {BANS} bans, from the deciding event's write to the AMI socket until")
    for name, times in (("the kernel has acknowledged it", acknowledged), ("its monitor has told of it", told)):
        print(f"  {name:31} {percentiles(times)}")
    print(f"  nft lists {elements} elements")


async def _path(folder):
    rule = next(rule for rule in stock_rules() if rule.name == GUESSING)
    monitor = open_monitor()
    async with ScriptedAsterisk() as pbx:
        config = folder / "astguard.yaml"
        config.write_text(
            f"ami: {{port: {pbx.port}, secret: {pbx.secret}}}\nfirewall: {{backend: nftables}}\n"
            f"rules: [{TREE / 'rules'}]\ncontrol: {folder / 'control'}\nstate: {folder / 'state.db'}\n"
        )
        command = [sys.executable, "-m", "bench.spine", "--daemon", config]
        # In this thread, which is in the namespace.
        with subprocess.Popen(  # noqa: ASYNC220
            command, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as daemon:
            try:
                async with asyncio.timeout(20):
                    await pbx.logged_in()
                written, told = await _bans(pbx, monitor, rule.threshold)
            finally:
                daemon.terminate()
                out, err = daemon.communicate()
    stamps = dict(line.split() for line in out.splitlines())
    if len(stamps) != BANS:
        sys.exit(f"the daemon made {len(stamps)} bans, not {BANS}:\n{err[-2_000:]}")
    acknowledged = [int(stamps[source]) - at for source, at in written.items()]
    return [told[source] - at for source, at in written.items()], acknowledged


async def _bans(pbx, monitor, threshold):
    loop = asyncio.get_running_loop()
    (session,) = pbx.sessions
    written, told = {}, {}
    await asyncio.sleep(0.2)
    for number in range(BANS):
        address = f"198.18.{number}.7"  # each in a network of its own, or a rule bans them all together
        events = [
            EVENT.format(tv=_tv(), account=1_000 + number, session=f"{number}-{at}", address=address).encode()
            for at in range(threshold)
        ]
        await pbx.send(b"".join(events[:-1]))
        await asyncio.sleep(PAUSE)
        drop_all(monitor)
        written[address] = time.monotonic_ns()
        session.writer.write(events[-1])
        async with asyncio.timeout(5):
            while not has_element(await loop.sock_recv(monitor, 65_536)):
                pass
        told[address] = time.monotonic_ns()
    return written, told


def _tv():
    now = datetime.now(UTC)
    return f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03}+0000"


def open_monitor():
    """Listen to what the kernel says of nf_tables in this namespace (NETLINK_NETFILTER, group 7)."""
    monitor = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 12)
    monitor.bind((0, 0))
    monitor.setsockopt(270, 1, 7)  # SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, NFNLGRP_NFTABLES
    return monitor


def drop_all(monitor):
    try:
        while monitor.recv(65_536):
            pass
    except BlockingIOError:
        pass


def has_element(data):
    """Tell whether one of these messages is NFT_MSG_NEWSETELEM (nf_tables is subsystem 10, the message 12)."""
    while data:
        length, kind = struct.unpack_from("=IH", data)
        if kind == 10 << 8 | 12:
            return True
        data = data[(length + 3) & ~3 :]
    return False


def be_the_daemon(config):
    """Run `astguard run` and print for each ban when the kernel had acknowledged it."""
    from guard.cli import main  # noqa: PLC0415
    from guard.core.address import show_address  # noqa: PLC0415
    from guard.core.ban import Op  # noqa: PLC0415
    from guard.firewall.nftables import Nftables  # noqa: PLC0415

    real = Nftables.apply

    def apply(self, changes, now):
        real(self, changes, now)
        at = time.monotonic_ns()
        for op, ban in changes:
            if op is Op.ADD:
                print(show_address(ban.source), at, flush=True)

    Nftables.apply = apply
    sys.exit(main(["run", "--config", config]))


def percentiles(times):
    times = sorted(times)

    def at(share):
        return f"{times[min(int(share * len(times)), len(times) - 1)] / 1e6:6.2f}"

    return f"p50 {at(0.5)}  p90 {at(0.9)}  p99 {at(0.99)}  max {at(1)} ms"


# Events per second.


def measure_rate():
    """Print how many events a second each stage takes, for a recording and for a generated flood."""
    mixed = lzma.decompress(MIXED.read_bytes())
    for name, data in (
        ("a minute of everything (tests/corpus/22.10.1/mixed-20k)", b"\r\n\r\n".join([*events_of(mixed), b""])),
        ("5,000 attackers, 40 wrong answers each, in no order", flood(5_000, 40)),
    ):
        _rate(name, data)


def flood(attackers, each):
    """Write a flood, 10,000 events to the second."""
    dice = random.Random(1)
    order = [number for number in range(attackers) for _ in range(each)]
    dice.shuffle(order)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    pieces = []
    for at, number in enumerate(order):
        moment = start + timedelta(milliseconds=at // 10)
        tv = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}+0000"
        address = f"198.{18 + number // 65_536}.{number // 256 % 256}.{number % 256}"
        pieces.append(
            EVENT.format(tv=tv, account=dice.randint(100, 999), session=f"{dice.getrandbits(64):x}", address=address)
        )
    return "".join(pieces).encode()


def _rate(name, data):
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    reader = BlockReader()
    blocks = [reader.feed(chunk) for chunk in chunks]
    events = EventReader()
    batches = [events.read(batch) for batch in blocks]
    batches.append(events.finish())
    count = sum(map(len, batches))
    rules = stock_rules()

    def split():
        rest = b""
        for chunk in chunks:
            *whole, rest = (rest + chunk).split(b"\r\n\r\n")
            for block in whole:
                block.decode().split("\r\n")

    def cut():
        reader = BlockReader()
        for chunk in chunks:
            reader.feed(chunk)

    def read():
        reader = EventReader()
        for batch in blocks:
            reader.read(batch)
        reader.finish()

    def judge():
        engine = Engine(rules)
        for batch in batches:
            _handle(engine, batch)
        return len(engine.ledger)

    def everything():
        engine, reader, events = Engine(rules), BlockReader(), EventReader()
        for chunk in chunks:
            _handle(engine, events.read(reader.feed(chunk)))
        _handle(engine, events.finish())

    print(f"rate: {name}: {count:,} events, {len(data) / 1e6:.0f} MB, {judge():,} bans; best of {REPEATS}")
    base = best(split)
    for stage, work in (
        ("read and split alone", split),
        ("blocks from bytes", cut),
        ("events from blocks", read),
        ("engine", judge),
        ("all together", everything),
    ):
        seconds = best(work)
        print(
            f"  {stage:22} {count / seconds:>11,.0f} events/s {seconds / count * 1e6:7.2f} us {seconds / base:6.1f} x"
        )


def _handle(engine, batch):
    if batch:
        at = max(int(engine.now), *(event.at for event in batch))
        engine.handle(batch, Instant(at), Wall(at))
        engine.take_changes()


def best(work):
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def main():
    """Say on what it runs, then measure."""
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", metavar="path|rate", help="what to measure; both if none is named")
    parser.add_argument("--daemon", metavar="CONFIG", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.daemon:
        be_the_daemon(options.daemon)
    wanted = options.what or ["path", "rate"]
    if set(wanted) - {"path", "rate"}:
        parser.error("path and rate are what can be measured")
    model = next((line.partition(": ")[2] for line in cpuinfo() if line.startswith("model name")), platform.machine())
    print(
        f"{os.cpu_count()} x {model}, Linux {platform.release()}, Python {platform.python_version()}, "
        f"pyroute2 {version('pyroute2')}"
    )
    if "path" in wanted:
        measure_path()
    if "rate" in wanted:
        measure_rate()


def cpuinfo():
    return Path("/proc/cpuinfo").read_text().splitlines()


if __name__ == "__main__":
    main()
