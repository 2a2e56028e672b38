"""How many events a second does each stage of the way carry by itself, beside a loop that only cuts the bytes?

In this process, on one core, without TCP, kernel and store: what the strict grammar and the rules take of it. The first
stream is the recording tests/corpus/22.10.1/mixed-20k, a minute of everything; the second is the flood of `throughput`.
"""

from __future__ import annotations

import lzma
import time

from bench.figure import Figure, interleave
from bench.flood import CHUNK, Flood
from bench.guarded import TREE
from guard.core.engine import Engine
from guard.core.units import Instant, Wall
from guard.settings.rulefile import Folder, load_rules
from guard.wire.amievent import BlockReader, EventReader
from tests.scripted_asterisk import events_of

MIXED = TREE / "tests/corpus/22.10.1/mixed-20k.ami.xz"
ATTACKERS = 5_000


def stock_rules():
    return load_rules((Folder(TREE / "rules"),)).rules


class Stages:
    """One stream, cut into the pieces that each stage is given."""

    def __init__(self, data):
        self.rules = stock_rules()
        self.chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
        reader = BlockReader()
        self.blocks = [reader.feed(chunk) for chunk in self.chunks]
        events = EventReader()
        self.batches = [*map(events.read, self.blocks), events.finish()]
        self.count = sum(map(len, self.batches))

    def split(self):
        """Cut at empty lines and at line ends, and do nothing else: the limit."""
        rest = b""
        for chunk in self.chunks:
            *whole, rest = (rest + chunk).split(b"\r\n\r\n")
            for block in whole:
                block.decode().split("\r\n")

    def cut(self):
        reader = BlockReader()
        for chunk in self.chunks:
            reader.feed(chunk)

    def read(self):
        reader = EventReader()
        for batch in self.blocks:
            reader.read(batch)
        reader.finish()

    def judge(self):
        engine = Engine(self.rules)
        for batch in self.batches:
            handle(engine, batch)
        return len(engine.ledger)

    def everything(self):
        engine, reader, events = Engine(self.rules), BlockReader(), EventReader()
        for chunk in self.chunks:
            handle(engine, events.read(reader.feed(chunk)))
        handle(engine, events.finish())

    def rate(self, stage):
        """Return the events for each second of a processor."""
        started = time.process_time()
        stage()
        return self.count / (time.process_time() - started)


def handle(engine, batch):
    """Judge events at the time of the latest."""
    if batch:
        at = max(int(engine.now), *(event.at for event in batch))
        engine.handle(batch, Instant(at), Wall(at))
        engine.take_changes()


def streams(each):
    """Give names and bytes of both streams."""
    mixed = lzma.decompress(MIXED.read_bytes())
    yield "a minute of everything", b"\r\n\r\n".join([*events_of(mixed), b""])
    yield f"{ATTACKERS:,} attackers", b"".join(Flood(ATTACKERS, each).pieces())


def measure(*, quick):
    for name, data in streams(each=20 if quick else 40):
        one = Stages(data)
        stages = {
            "read and split alone": one.split,
            "blocks from bytes": one.cut,
            "events from blocks: the strict grammar": one.read,
            "engine with the stock rules": one.judge,
            "all together": one.everything,
        }
        works = {stage: lambda work=work, one=one: one.rate(work) for stage, work in stages.items()}
        found = interleave(3 if quick else 7, works)
        for stage, rates in found.items():
            beside = {} if stage == "read and split alone" else {"the loop": found["read and split alone"]}
            yield Figure(f"{name}: {stage}", rates, "/s", more=True, beside=beside)
