"""The log, into a real datagram socket: what arrives, and what happens when that is full, gone or back again."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from guard.core.address import parse_source
from guard.core.alarm import Alarm, Kind
from guard.core.ban import Ban, Change, Op
from guard.core.rule import Evidence, Scope
from guard.core.units import MINUTE
from guard.daemon import journal as module
from guard.daemon.journal import Journal, Page
from guard.daemon.recorder import Recorder
from guard.wire.journal import MessageId, about
from tests.daemon.linking import SECRET, run
from tests.daemon.test_service import SVCRACK, configure, guarding
from tests.journald import read_line
from tests.scripted_asterisk import ScriptedAsterisk

PATIENCE = 20
TREE = os.fspath(module.__file__).rpartition("/guard/")[0]


class Socket:
    """What systemd-journald listens on, and what it has read."""

    def __init__(self, path):
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._socket.bind(os.fspath(path))

    def read(self):
        return read_line(self._socket.recv(300_000))

    def read_all(self):
        """Return what is there now."""
        self._socket.setblocking(False)
        lines = []
        while True:
            try:
                lines.append(self.read())
            except BlockingIOError:
                return lines

    def close(self):
        self._socket.close()
        self.path.unlink()


@pytest.fixture
def there(tmp_path):
    place = Socket(tmp_path / "socket")
    yield place
    if place.path.exists():
        place.close()


@contextmanager
def writing(path, name="astguard"):
    handler, log = Journal(os.fspath(path)), logging.Logger(name)  # noqa: LOG001 - of its own, so that no other test hears it
    log.addHandler(handler)
    try:
        yield log, handler
    finally:
        handler.close()


def fill(log, handler, limit=20_000):
    """Write lines until one does not go out at once; return how many there are."""
    for number in range(limit):
        log.warning("line %d", number)
        if handler.waiting or handler.lost:
            return number + 1
    raise AssertionError("this socket takes everything")


def test_a_line_has_its_text_its_priority_and_who_says_it(there):
    with writing(there.path) as (log, _):
        log.warning("no link to %s", "Asterisk")
        assert there.read() == {
            "MESSAGE": "no link to Asterisk", "PRIORITY": "4", "SYSLOG_IDENTIFIER": "astguard", "ASTGUARD_LOGGER": "astguard",
        }  # fmt: skip
        for level, priority in (
            (logging.INFO, "6"),
            (logging.ERROR, "3"),
            (logging.CRITICAL, "2"),
            (logging.DEBUG, "7"),
        ):
            log.log(level, "x")
            assert there.read()["PRIORITY"] == priority


BAN = Ban(
    source=parse_source("198.51.100.7"), rule="pjsip-guessing", since=0, until=10 * MINUTE, scope=Scope.SIP,
    evidence=Evidence.UNPROVEN, strike=2, offences=5, events=21,
)  # fmt: skip


@pytest.fixture
def recorder(there, monkeypatch):
    with writing(there.path) as (log, _):
        monkeypatch.setattr("guard.daemon.recorder.log", log)
        yield Recorder()


@pytest.mark.parametrize(
    ("op", "kind", "priority"),
    [
        (Op.ADD, MessageId.BAN, "4"),
        (Op.OBSERVE, MessageId.WOULD_BAN, "4"),
        (Op.REMOVE, MessageId.UNBAN, "6"),
        (Op.EXPIRE, MessageId.EXPIRE, "6"),
    ],
)
def test_a_line_about_a_ban_can_be_asked_for_by_its_fields(there, recorder, op, kind, priority):
    recorder.record(Change(op, BAN))
    line = there.read()
    assert line.pop("MESSAGE").startswith(
        {Op.OBSERVE: "would ban", Op.REMOVE: "unban", Op.ADD: "ban"}.get(op, "expire")
    )
    assert line == {
        "PRIORITY": priority, "SYSLOG_IDENTIFIER": "astguard", "ASTGUARD_LOGGER": "astguard", "MESSAGE_ID": kind.value,
        "ASTGUARD_ADDRESS": "198.51.100.7", "ASTGUARD_RULE": "pjsip-guessing", "ASTGUARD_SCOPE": "sip",
        "ASTGUARD_STRIKE": "2", "ASTGUARD_EVIDENCE": "unproven", "ASTGUARD_OFFENCES": "5", "ASTGUARD_EVENTS": "21",
        "ASTGUARD_BY": "event", "ASTGUARD_ORIGIN": "rule", "ASTGUARD_SECONDS": "600",
    }  # fmt: skip


def test_an_account_full_of_line_breaks_cannot_say_a_field_of_its_own(there, recorder):
    account = "101\nASTGUARD_ADDRESS=192.0.2.1\nPRIORITY=0\x1b[2J"
    recorder.tell(Alarm(kind=Kind.GUESSED_PASSWORD, at=0, text="x", source=BAN.source, account=account))
    line = there.read()
    assert line["ASTGUARD_ACCOUNT"] == "101\\nASTGUARD_ADDRESS=192.0.2.1\\nPRIORITY=0\\x1b[2J"
    assert (line["ASTGUARD_ADDRESS"], line["PRIORITY"]) == ("198.51.100.7", "4")
    assert (line["ASTGUARD_ALARM"], line["MESSAGE_ID"]) == ("guessed-password", MessageId.ALARM.value)
    assert "ASTGUARD_RULE" not in line


def test_a_traceback_is_one_line_of_the_journal(there):
    with writing(there.path) as (log, _):
        try:
            raise ValueError("first\nMESSAGE=second")  # noqa: TRY301
        except ValueError:
            log.exception("a fault")
        line = there.read()
    assert line["MESSAGE"].startswith("a fault\n  Traceback")
    assert line["MESSAGE"].endswith("\n  ValueError: first\n  MESSAGE=second")


def test_a_full_socket_loses_nothing_and_keeps_the_order(there):
    async def told():
        with writing(there.path) as (log, handler):
            handler.attach(asyncio.get_running_loop())
            written = fill(log, handler)
            for number in range(written, written + 1_000):
                log.warning("line %d", number)
            assert handler.waiting > 0
            lines = []
            while len(lines) < written + 1_000:
                lines += there.read_all()
                await asyncio.sleep(0.001)
            assert [line["MESSAGE"] for line in lines] == [f"line {number}" for number in range(written + 1_000)]
            assert (handler.lost, handler.waiting) == (0, 0)

    run(told())


def test_writing_into_a_full_socket_never_waits(there):
    """A journald that hangs must not hang the guard: thousands of lines pass in a moment, and the loop goes on."""

    async def told():
        with writing(there.path) as (log, handler):
            loop = asyncio.get_running_loop()
            handler.attach(loop)
            fill(log, handler)
            before = loop.time()
            for number in range(5_000):
                log.warning("line %d", number)
            assert loop.time() - before < 5
            longest, last = 0.0, loop.time()
            for _ in range(50):
                await asyncio.sleep(0.001)
                longest, last = max(longest, loop.time() - last), loop.time()
            assert longest < 1

    run(told())


def test_what_waits_is_bounded_and_what_is_beyond_is_counted_and_told_of(there, monkeypatch):
    monkeypatch.setattr(module, "QUEUE_BYTES", 5_000)

    async def told():
        with writing(there.path) as (log, handler):
            handler.attach(asyncio.get_running_loop())
            written = fill(log, handler) + 1_000
            for _ in range(1_000):
                log.warning("x")
            assert 4_000 < handler.waiting <= 5_000
            lost = handler.lost
            assert 900 < lost < 1_000
            lines = []
            while not lines or "missing" not in lines[-1]["MESSAGE"]:
                lines += there.read_all()
                await asyncio.sleep(0.001)
            assert lines[-1]["MESSAGE"] == f"{lost} lines of astguard are missing here: the journal did not take them"
            assert len(lines) == written - lost + 1

    run(told())


def test_a_socket_that_is_gone_takes_nothing_and_one_that_is_back_is_told_what_it_missed(there):
    with writing(there.path) as (log, handler):
        there.close()
        for _ in range(3):
            log.warning("x")
        assert (handler.lost, handler.waiting) == (3, 0)
        back = Socket(there.path)
        log.warning("here again")
        assert [line["MESSAGE"] for line in back.read_all()] == [
            "here again", "3 lines of astguard are missing here: the journal did not take them",
        ]  # fmt: skip
        assert handler.lost == 3
        back.close()


def test_the_last_lines_are_sent_before_the_end(there):
    async def told():
        handler = Journal(os.fspath(there.path))
        log = logging.Logger("astguard")  # noqa: LOG001
        log.addHandler(handler)
        handler.attach(asyncio.get_running_loop())
        written = fill(log, handler)
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(there.read() for _ in range(written)))
        reader.start()
        handler.close()
        reader.join(PATIENCE)
        assert (len(lines), handler.lost) == (written, 0)
        log.warning("too late")
        assert handler.lost == 1

    run(told())


def test_other_threads_write_side_by_side(there):
    async def told():
        with writing(there.path) as (log, handler):
            loop = asyncio.get_running_loop()
            handler.attach(loop)

            def write(name):
                for number in range(500):
                    log.warning("%s %d", name, number)

            jobs = [loop.run_in_executor(None, write, name) for name in "abc"]
            lines = []
            while len(lines) < 1_500:
                lines += there.read_all()
                await asyncio.sleep(0.001)
            await asyncio.gather(*jobs)
            for name in "abc":
                own = [line["MESSAGE"] for line in lines if line["MESSAGE"].startswith(name)]
                assert own == [f"{name} {number}" for number in range(500)]
            assert handler.lost == 0

    run(told())


def test_a_line_that_cannot_be_written_is_counted_and_raises_nothing(there):
    with writing(there.path) as (log, handler):
        log.warning("%d", "no number")
        log.warning("x", extra=about(MessageId.BAN, **{"no name": "x"}))
        assert handler.lost == 2


def test_no_event_has_a_line_of_its_own(tmp_path):
    """Whatever a sender sends, the log grows by what came of it: a ban, an alarm."""

    async def told():
        async with ScriptedAsterisk(secret=SECRET) as pbx, guarding(configure(tmp_path, pbx.port)) as guard:
            await pbx.play(SVCRACK)
            await guard.says("WARNING ban")
            before = len(guard.log)
            for _ in range(40):
                await pbx.play(SVCRACK)
            while (await guard.ask("status"))["counts"]["events"] < 41 * 22:  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.05)
            assert len(guard.log) - before <= 2, guard.log[before:]

    run(told())


# --- Which of the three it is --------------------------------------------------------------------------------------

SAY = """
import logging, os, sys
from guard.daemon.journal import set_up
there = os.fstat(2)
ours = {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}
set_up({"ours": ours, "parents": {"JOURNAL_STREAM": "1:2"}, "none": {}, "odd": {"JOURNAL_STREAM": "x"}}[sys.argv[1]], sys.argv[2])
logging.getLogger("astguard").warning("ban %s", "evil\\n2026 WARNING ban 192.0.2.1")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("astguard").exception("a fault")
"""


def say(stream, path):
    done = subprocess.run(
        [sys.executable, "-c", SAY, stream, path], cwd=TREE, capture_output=True, text=True, check=True
    )
    return done.stderr.splitlines()


def test_lines_go_into_the_journal_if_our_stderr_does(there):
    assert say("ours", there.path) == []
    first, second = there.read_all()
    assert (first["MESSAGE"], first["PRIORITY"]) == ("ban evil\\n2026 WARNING ban 192.0.2.1", "4")
    assert "ZeroDivisionError" in second["MESSAGE"]


def test_without_its_socket_each_line_on_stderr_says_its_priority(tmp_path):
    first, *rest = say("ours", tmp_path / "none")
    assert first == "<4>ban evil\\n2026 WARNING ban 192.0.2.1"
    assert rest[0] == "<3>a fault"
    assert rest[-1] == "<3>  ZeroDivisionError: division by zero"
    assert all(line.startswith("<3>") for line in rest)


@pytest.mark.parametrize("stream", ["parents", "none", "odd"])
def test_a_stderr_that_is_not_the_journals_gets_plain_lines_with_their_time(there, stream):
    first, *rest = say(stream, there.path)
    stamp, text = first.split(" WARNING ", 1)
    assert stamp[:2] == "20"
    assert text == "ban evil\\n2026 WARNING ban 192.0.2.1"
    assert rest[-1] == "  ZeroDivisionError: division by zero"
    assert there.read_all() == []


def test_a_line_on_stderr_stays_one_line():
    record = logging.LogRecord("x", logging.INFO, "", 0, "a %s", ("\x1b[2J\nb",), None)
    assert Page("%(levelname)s %(message)s").format(record) == "INFO a \\x1b[2J\\nb"
