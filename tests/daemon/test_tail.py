"""`astguard events tail` before a stream that a test feeds: what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from guard.api.control import ControlServer
from guard.api.stream import Stream
from guard.core.address import parse_source
from guard.core.outcome import Outcome
from guard.wire.stream import Kind, News
from tests.daemon.linking import run, until
from tests.daemon.test_openapi import BAN
from tests.daemon.test_service import TREE
from tests.events import event

ONE = parse_source("198.51.100.7")
SITE = parse_source("2001:db8:1234:1::/64")
EVENT = event(ONE, account="1\x1b[2J\r\n\u202e01")
AT = "2026-05-01T14:02:11.000Z"
ALARM = {
    "kind": "alarm", "at": AT, "alarm": "account-under-attack", "source": None, "account": "101", "rule": None,
    "text": "10 sources or more have guessed at the password of 101 within an hour",
}  # fmt: skip
HAPPENED = [
    News(Kind.OUTCOME, ONE, None, Outcome.COUNTED, EVENT),
    News(Kind.OUTCOME, ONE, None, Outcome.BANNED, EVENT),
    News(Kind.BAN, ONE, "x", None, {"at": AT, **BAN, "left_seconds": 600, "stored": True}),
    News(Kind.BAN, SITE, "x", None, {"at": AT, **BAN, "source": "2001:db8:1234:1::/64", "stored": False}),
    News(Kind.WOULD_BAN, ONE, "x", None, {"at": AT, **BAN, "left_seconds": 600, "stored": False}),
    News(Kind.UNBAN, ONE, "x", None, {"at": AT, **BAN, "stored": True}),
    News(Kind.EXPIRE, ONE, "x", None, {"at": AT, **BAN, "stored": True}),
    News(Kind.ALARM, None, None, None, ALARM),
]
LINES = r"""
TIME      WHAT            SOURCE                ABOUT
00:00:00  counted         198.51.100.7          1\x1b[2J\r\n\u202e01: ChallengeResponseFailed, PJSIP by UDP at port 5060
00:00:00  banned          198.51.100.7          1\x1b[2J\r\n\u202e01: ChallengeResponseFailed, PJSIP by UDP at port 5060
14:02:11  ban             198.51.100.7          x, all for 10m, strike 1, proven
14:02:11  ban             2001:db8:1234:1::/64  x, all for 1s, strike 1, proven, not on the disk
14:02:11  would_ban       198.51.100.7          x, all for 10m, strike 1, proven
14:02:11  unban           198.51.100.7          x, strike 1
14:02:11  expire          198.51.100.7          x, strike 1
14:02:11  alarm           -                     account-under-attack: 10 sources or more have guessed at the password of 101 within an hour
""".lstrip()


class Tail:
    """A running `astguard events tail`."""

    def __init__(self, process, stream):
        self.process = process
        self.stream = stream

    async def follows(self):
        await until(lambda: self.stream.clients)

    async def line(self):
        return (await self.process.stdout.readline()).decode()

    async def end(self):
        """Return what else it printed, and how it ended."""
        out, err = await self.process.communicate()
        return (out or b"").decode(), err.decode(), self.process.returncode


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "control.sock"

    @asynccontextmanager
    async def serving():
        stream = Stream(Counter().__contains__)
        server = ControlServer(None, path, None, stream)
        stream.stop = server.stop
        await server.start()

        async def tail(*words, stdout=asyncio.subprocess.PIPE, **environment):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "guard", "events", "tail", "--socket", str(path), *words,
                cwd=TREE, stdin=asyncio.subprocess.DEVNULL, stdout=stdout, stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "TZ": "UTC", "TERM": "xterm", **environment},
            )  # fmt: skip
            running.append(process)
            return Tail(process, stream)

        running = []
        try:
            yield stream, tail
        finally:
            for process in running:
                if process.returncode is None:
                    process.kill()
                await process.communicate()
            await server.stop()

    def tell(told):
        async def within():
            async with serving() as (stream, tail):
                await told(stream, tail)

        run(within())

    return tell


def test_what_happens_is_a_line_each_and_the_columns_line_up(story):
    async def told(stream, start):
        tail = await start("--count", str(len(HAPPENED)))
        await tail.follows()
        stream.tell(HAPPENED)
        assert await tail.end() == (LINES, "", 0)

    story(told)


def test_a_line_is_there_when_it_happens(story):
    async def told(stream, start):
        tail = await start("--no-header")
        await tail.follows()
        stream.tell(HAPPENED[:1])
        assert await tail.line() == LINES.splitlines(keepends=True)[1]
        stream.tell(HAPPENED[2:3])
        assert await tail.line() == LINES.splitlines(keepends=True)[3]

    story(told)


def test_programs_get_an_object_a_line_or_tabs(story):
    async def told(stream, start):
        as_json, raw = [await start("-o", form, "--count", "8") for form in ("json", "raw")]
        await until(lambda: len(stream.clients) == 2)
        stream.tell(HAPPENED)
        out, err, code = await as_json.end()
        assert (err, code) == ("", 0)
        values = [json.loads(line) for line in out.splitlines()]
        assert [value["kind"] for value in values] == [str(news.kind) for news in HAPPENED]
        assert values[-1] == ALARM
        out, err, code = await raw.end()
        assert (err, code) == ("", 0)
        titles, *lines = [line.split("\t") for line in out.splitlines()]
        assert titles[:5] == ["AT", "KIND", "SOURCE", "OUTCOME", "EVENT"]
        assert {len(line) for line in lines} == {len(titles)}
        first = dict(zip(titles, lines[0], strict=True))
        assert first["ACCOUNT"] == r"1\x1b[2J\r\n\u202e01"
        assert (first["AT"], first["SOURCE"], first["RULE"]) == (
            "1970-01-01T00:00:00.000Z", "198.51.100.7/32", "-",
        )  # fmt: skip
        assert dict(zip(titles, lines[2], strict=True))["LEFT_SECONDS"] == "600"

    story(told)


def test_filters_go_to_the_daemon(story):
    async def told(stream, start):
        tail = await start("--kind", "ban,alarm", "--address", "2001:db8::/32", "--no-header", "--count", "1")
        await tail.follows()
        stream.tell(HAPPENED)
        out, _, code = await tail.end()
        assert (out, code) == (LINES.splitlines(keepends=True)[4], 0)

    story(told)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--kind", "bans"], "'bans' is no kind; known are outcome, ban, would_ban, unban, expire, alarm"),
        (["--address", "nobody"], "'nobody' is not an address or network"),
        (["--rule", "x", "--outcome", "held"], "an outcome belongs to no single rule"),
        (["--count", "0"], "--count: '0' is not a number of lines"),
    ],
)
def test_a_wrong_filter_ends_before_it_asks(story, words, says):
    async def told(stream, start):
        tail = await start(*words)
        out, err, code = await tail.end()
        assert (out, code) == ("", 2)
        assert err.startswith(f"astguard: {says}")

    story(told)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_it_without_a_word(story):
    async def told(stream, start):
        tail = await start()
        await tail.follows()
        tail.process.send_signal(signal.SIGINT)
        assert await tail.end() == (LINES.partition("\n")[0] + "\n", "", 130)

    story(told)


def test_a_reader_that_has_enough_ends_it_without_a_word(story):
    async def told(stream, start):
        reads, writes = os.pipe()
        tail = await start("--no-header", stdout=writes)
        os.close(writes)
        await tail.follows()
        os.close(reads)
        stream.tell(HAPPENED)
        assert (await tail.end())[1:] == ("", 141)

    story(told)


def test_a_daemon_that_stops_says_so_and_is_exit_code_3(story):
    async def told(stream, start):
        tail = await start()
        await tail.follows()
        await stream.stop()
        assert (await tail.end())[1:] == ("astguard: astguard has stopped\n", 3)
        _, err, code = await (await start()).end()
        assert code == 3
        assert "astguard is not running: there is no" in err

    story(told)


def test_a_daemon_that_is_gone_is_exit_code_3_too(story):
    async def told(stream, start):
        tail = await start()
        await tail.follows()
        for client in stream.clients:
            client._cut()
        _, err, code = await tail.end()
        assert code == 3
        assert "astguard went away from" in err

    story(told)


def test_who_is_dropped_is_told_why(story):
    async def told(stream, start):
        tail = await start()
        await tail.follows()
        for client in stream.clients:
            stream._drop(client)
        _, err, code = await tail.end()
        assert code == 1
        assert err.startswith("astguard: astguard tells no more: more than 4194304 bytes waited to be read")

    story(told)


def test_on_a_terminal_there_is_colour_and_an_event_is_one_line(story):
    async def told(stream, start):
        terminal, end = pty.openpty()
        tail = await start("--count", "8", stdout=end, COLUMNS="80", NO_COLOR="")
        os.close(end)
        await tail.follows()
        stream.tell(HAPPENED)
        assert (await tail.end())[2] == 0
        shown = os.read(terminal, 65_536).decode()
        os.close(terminal)
        assert "\x1b[31mbanned\x1b[0m" in shown
        assert "\x1b[33malarm\x1b[0m" in shown
        plain = shown.replace("\x1b[1m", "").replace("\x1b[31m", "").replace("\x1b[33m", "").replace("\x1b[32m", "")
        lines = plain.replace("\x1b[0m", "").splitlines()
        assert lines[1] == r"00:00:00  counted         198.51.100.7          1\x1b[2J\r\n\u202e01: Challenge…"
        assert len(lines[1]) == 80
        assert lines[8].endswith("guessed at the password of 101 within an hour")  # the terminal breaks it

    story(told)
