"""Every parser of what comes from outside, as a function of bytes, with the only errors that may come out of it.

Each has some inputs of its own to begin with; what a fuzzer found worth keeping stands in corpus/NAME/.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING

from guard.asterisk.conffile import read_conf
from guard.core.address import parse_source
from guard.core.engine import Engine
from guard.core.units import SECOND, Duration, Instant, Wall, parse_duration
from guard.errors import AddressError, ConfigError, ControlError, GuardError, ProtocolError, StoreError
from guard.sensors.names import _addresses
from guard.settings.config import parse_config
from guard.settings.language import read_rule
from guard.settings.mistakes import Mistakes
from guard.settings.yamlfile import parse
from guard.store import place
from guard.store.opening import Claim
from guard.wire import ipset, nfnetlink
from guard.wire.ami import AmiClient
from guard.wire.amievent import BLOCK_LIMIT, EARLY_SIZE
from guard.wire.control import parse_request, read_answer
from guard.wire.loglines import MESSAGE_LIMIT
from guard.wire.logtime import LogClock
from guard.wire.messages import MessagesReader
from guard.wire.nfmonitor import ELEMENTS_LIMIT, MonitorReader, Notices
from guard.wire.securitylog import SecurityLogReader
from tests import blocks
from tests.events import event, rule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CORPUS = Path(__file__).parent / "corpus"
RECORDED = Path(__file__).parents[1] / "corpus"
BANNER = b"Asterisk Call Manager/11.0.0\r\n"
FAST = Path("/dev/shm")
NOW = Wall(1_795_000_000 * SECOND)


@dataclass(frozen=True)
class Target:
    """One parser. `raises` are its own errors; anything else that comes out is a bug."""

    read: Callable[[bytes], object]
    raises: tuple[type[Exception], ...]
    seeds: Callable[[], Sequence[bytes]]


def _ami(data):
    """A whole conversation; its first byte says in what pieces it comes."""
    client = AmiClient("astguard", "secret", "token")
    size = (1, 7, 1_000, 1 << 20)[data[0] % 4] if data else 1
    stream = data[1:]
    for start in range(0, len(stream), size):
        client.receive(stream[start : start + size])
        client.data_to_send()
    assert len(client._blocks._buffer) <= BLOCK_LIMIT + 3, "a block without end is kept"
    assert client.reader._early_size <= EARLY_SIZE + BLOCK_LIMIT, "early blocks without end are kept"
    assert len(client.reader.samples) <= 20, "samples without end"


def _log(make):
    def read(data):
        reader = make()
        size = (1, 50, 4_096, 1 << 20)[data[0] % 4] if data else 1
        for start in range(1, len(data), size):
            reader.feed(data[start : start + size])
        reader.finish()
        assert len(reader._cutter._rest) <= MESSAGE_LIMIT + 1, "a line without end is kept"

    return read


def _messages():
    clock = LogClock(UTC)
    clock.now = NOW
    return MessagesReader(clock)


def _control(data):
    method, _, rest = data.partition(b" ")
    target, _, body = rest.partition(b"\n")
    parse_request(method.decode("latin-1"), target.decode("latin-1"), body)


def _rule(data):
    mistakes = Mistakes()
    node = parse(data, "fuzz.yaml", mistakes)
    if node is not None:
        read_rule("fuzz", node, mistakes)
    mistakes.check()


def _state(data):
    """A file that somebody else wrote: it is read, or set aside."""
    with tempfile.TemporaryDirectory(dir=FAST if os.access(FAST, os.W_OK) else None) as folder:
        path = Path(folder) / "state.db"
        path.write_bytes(data)
        claim = Claim(path)
        try:
            claim.read(NOW, Instant(SECOND))
        finally:
            claim.release()


def _memory(data):
    """What a clean stop left, row by row, as JSON."""
    rows = []
    for line in data.split(b"\n"):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    engine = Engine([rule()])
    engine.memory.restore(rows, Duration(SECOND), Instant(1_000 * SECOND))
    engine.tick(Instant(1_000 * SECOND))
    for table in engine.tables():
        assert table.entries <= table.limit, table


def _answers(data):
    for answer in nfnetlink.answers(data):
        for _ in nfnetlink.elements(answer.body):
            pass


def _monitor(data):
    notices, reader = Notices(), MonitorReader("astguard", {7})
    for start in range(0, len(data), 4_096):
        reader.read(data[start : start + 4_096], notices)
    assert len(notices.elements) <= ELEMENTS_LIMIT
    assert notices.by.isprintable()


def _conf(data):
    text = data.decode("utf-8", "replace")
    read_conf(Path("asterisk.conf"), lambda name: [(Path(name[:40]), text)])  # every #include leads back to itself


def _text(parse_text):
    return lambda data: parse_text(data.decode("utf-8", "replace"))


def _recorded(pattern, most=3_000):
    found = sorted(RECORDED.glob(pattern))
    return [b"\x03" + found[number].read_bytes()[:most] for number in range(0, len(found), max(1, len(found) // 6))]


def _ami_seeds():
    login = b"".join(
        f"Response: Success\r\nActionID: token-{number}\r\nChallenge: 7\r\n\r\n".encode() for number in (1, 2)
    )
    told = "\r\n\r\n".join((blocks.own_login(), blocks.failure(), blocks.failure("x\r\nAccountID: y"), "")).encode()
    return [b"\x03" + BANNER + login + told, b"\x00" + BANNER + told, *_recorded("22.10.1/*.ami")]


def _netlink_seeds():
    writer = nfnetlink.ElementWriter("astguard", "all4_32", 4)
    made = writer.timed([(b"\xc6\x33\x64\x07", 600_000), (b"\xc6\x33\x64\x08", 1)])
    message = writer.messages(nfnetlink.Kind.NEW_ELEMENT, 0, made)[0]
    done = b"\x14\0\0\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0"
    return [nfnetlink.request(message, 1), nfnetlink.request(message, 2) + done, nfnetlink.transaction([message], 3)]


def _ipset_seeds():
    writer = ipset.EntryWriter("astguard", 4)
    made = writer.timed([(b"\xc6\x33\x64\x07", 600)])
    return [message.body for message in writer.messages(ipset.Command.ADD, made)]


def _state_seeds():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        claim = Claim(path)
        place.make_file(path)
        claim.read(NOW, Instant(SECOND))
        claim.release()
        return [path.read_bytes(), b"", b"SQLite format 3\0"]


def _memory_seeds():
    engine = Engine([rule()])
    for number in range(5):
        made = event("198.51.100.7", at=number, session="one", response=str(number), account=str(number % 2))
        engine.handle([made], Instant(1_000 * SECOND + number), Wall(number))
    rows = [json.dumps(row, default=bytes.hex) for row in engine.memory.dump(engine.now)]
    return ["\n".join(rows).encode(), *(row.encode() for row in rows[:12])]


def _stock(folder):
    return [path.read_bytes() for path in sorted((Path(__file__).parents[2] / folder).glob("*.yaml"))[:6]]


TARGETS = {
    "ami": Target(_ami, (ProtocolError,), _ami_seeds),
    "security-log": Target(_log(SecurityLogReader), (), lambda: _recorded("22.10.1/*.log")),
    "messages-log": Target(_log(_messages), (), lambda: _recorded("22.10.1/*.messages")),
    "control": Target(_control, (ControlError, AddressError), lambda: [
        b'POST /v1/bans\n{"source": "198.51.100.7", "for": "1h", "reason": "toll fraud"}', b"GET /v1/status\n",
        b"DELETE /v1/bans/198.51.100.0%2F24\n", b'POST /v1/pause\n{"for": "10m"}',
    ]),
    "answer": Target(read_answer, (GuardError,), lambda: [
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"a": [1]}'[:-1],
        b'HTTP/1.1 404 Not Found\r\nContent-Length: 32\r\n\r\n{"error": "nobody", "exit_code":4}',
    ]),
    "config": Target(lambda data: parse_config(data, Path("fuzz/astguard.yaml")), (ConfigError,), lambda: _stock("packaging/etc")),
    "rule": Target(_rule, (ConfigError,), lambda: _stock("rules")),
    "state": Target(_state, (StoreError,), _state_seeds),
    "memory": Target(_memory, (), _memory_seeds),
    "netlink": Target(_answers, (ValueError,), _netlink_seeds),
    "monitor": Target(_monitor, (ValueError,), _netlink_seeds),
    "ipset": Target(lambda data: list(ipset.entries(data)), (ValueError,), _ipset_seeds),
    "dns": Target(_text(lambda text: _addresses(text.split("\n"))), (ValueError,), lambda: [b"192.0.2.1\n2001:db8::1", b"fe80::1%eth0"]),
    "address": Target(_text(parse_source), (AddressError,), lambda: [b"198.51.100.0/24", b"::ffff:192.0.2.1", b"2001:db8::/32"]),
    "duration": Target(_text(parse_duration), (ValueError,), lambda: [b"1h30m", b"10m", b"1d"]),
    "asterisk-conf": Target(_conf, (), lambda: [
        b'[general]\nenabled = yes\nbindaddr=127.0.0.1\n;-- a\n--;\n[x](!)\na => b\n[y](x)\n#include "z.conf"\n',
    ]),
}  # fmt: skip


def seeds(name):
    """Give what fuzzing of a target begins with."""
    kept = sorted((CORPUS / name).glob("*")) if (CORPUS / name).is_dir() else []
    return [*TARGETS[name].seeds(), *(path.read_bytes() for path in kept)]


def run(name, data):
    """Let a parser read bytes; a bug is any other error than its own, a limit that does not hold, text told raw."""
    target = TARGETS[name]
    said = ""
    try:
        target.read(data)
    except target.raises as error:
        if isinstance(error, GuardError):  # others are of Python, and the caller says what came of them
            said = "".join(error.mistakes) if isinstance(error, ConfigError) else str(error)
    assert said.isprintable() or not said, f"an error repeats text raw: {said[:200]!a}"
