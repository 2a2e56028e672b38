"""The live stream on a real socket: who is told what, and that nobody is waited for."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from guard.api import stream as module
from guard.api.control import ControlServer
from guard.api.stream import Stream
from guard.core.address import parse_source
from guard.core.outcome import Outcome
from guard.wire.stream import Kind, News
from tests.daemon.following import following
from tests.daemon.linking import run, until
from tests.events import event

ONE = parse_source("198.51.100.7")
OTHER = parse_source("203.0.113.9")
OUTCOME = News(Kind.OUTCOME, ONE, None, Outcome.COUNTED, event(ONE))
BAN = News(Kind.BAN, ONE, "guessing", None, {"source": "198.51.100.7/32", "rule": "guessing"})
ALARM = News(Kind.ALARM, None, None, None, {"text": "x"})


@asynccontextmanager
async def streaming(folder):
    """Serve a stream that a test feeds; `stream.counts` is what the tally would be told."""
    counts = Counter()
    stream = Stream(lambda name: counts.update([name]))
    stream.counts, stream.path = counts, folder / "control.sock"
    server = ControlServer(None, stream.path, None, stream)
    stream.stop = server.stop
    await server.start()
    try:
        yield stream
    finally:
        await server.stop()


@pytest.fixture
def story(tmp_path):
    def tell(told):
        async def within():
            async with streaming(tmp_path) as stream:
                await told(stream)

        run(within())

    return tell


def test_each_client_hears_what_it_asked_for_in_order(story):
    async def told(stream):
        async with (
            following(stream.path) as all_of_it,
            following(stream.path, "?kind=ban,alarm") as bans,
            following(stream.path, "?address=203.0.113.0%2F24") as elsewhere,
        ):
            stream.tell([OUTCOME, BAN])
            stream.tell([ALARM, OUTCOME._replace(source=OTHER, what=event(OTHER))])
            assert [news["kind"] for news in await all_of_it.take(4)] == ["outcome", "ban", "alarm", "outcome"]
            assert [news["kind"] for news in await bans.take(2)] == ["ban", "alarm"]
            assert (await elsewhere.next())["source"] == "203.0.113.9/32"

    story(told)


def test_what_happens_is_written_once_however_many_listen(story, monkeypatch):
    written = []
    monkeypatch.setattr(module, "write_news", lambda news: written.append(news) or b"event: x\ndata: {}\n\n")

    async def told(stream):
        async with AsyncExitStack() as stack:
            queries = ["", "?kind=ban", "?rule=guessing"] * 10
            everybody = [await stack.enter_async_context(following(stream.path, query)) for query in queries]
            stream.tell([BAN, OUTCOME])
            for follower in everybody:
                await follower.reader.readuntil(b"\n\n")
            assert written == [BAN, OUTCOME]

    story(told)


def test_what_nobody_wants_is_not_written(story, monkeypatch):
    written = []
    monkeypatch.setattr(module, "write_news", lambda news: written.append(news) or b"event: ban\ndata: {}\n\n")

    async def told(stream):
        async with following(stream.path, "?kind=ban") as follower:
            stream.tell([OUTCOME] * 50 + [BAN])
            await follower.reader.readuntil(b"\n\n")
            assert written == [BAN]

    story(told)


@pytest.mark.parametrize("reads_in_the_end", [True, False])
def test_who_reads_too_slowly_is_dropped_and_told_so_and_nobody_waits(story, monkeypatch, reads_in_the_end):
    monkeypatch.setattr(module, "WAITING", 100_000)
    if not reads_in_the_end:
        monkeypatch.setattr(module, "GRACE", 0.1)

    async def told(stream):
        async with following(stream.path) as slow, following(stream.path) as quick:
            slow.writer.transport.pause_reading()
            heard = 0
            while not stream.counts["stream.dropped"]:
                stream.tell([OUTCOME] * 100)
                heard += len(await quick.take(100))
            assert stream.counts == {"stream.dropped": 1}
            if reads_in_the_end:
                slow.writer.transport.resume_reading()
                while (last := await slow.next())["kind"] == "outcome":
                    pass
                assert last["kind"] == "dropped"
                assert last["text"].startswith("more than 100000 bytes waited to be read")
                assert await slow.reader.read() == b""
            await until(lambda: len(stream.clients) == 1)
            stream.tell([BAN])
            assert (await quick.next())["kind"] == "ban"

    story(told)


def test_there_is_room_for_so_many_and_for_others_when_they_are_gone(story, monkeypatch):
    monkeypatch.setattr(module, "CLIENTS", 3)

    async def told(stream):
        async with AsyncExitStack() as stack:
            for _ in range(3):
                assert (await stack.enter_async_context(following(stream.path))).status == 200
            async with following(stream.path) as one_more:
                assert one_more.status == 503
                error = json.loads(one_more.body)
                assert error["error"].startswith("3 clients follow the stream, which is all it serves; try again later")
                assert error["exit_code"] == 1
            assert stream.counts == {"stream.refused": 1}
        # No news and no sign of life has yet told the guard that they are gone; its socket has.
        await until(lambda: all(client.gone for client in stream.clients))
        async with following(stream.path) as follower:
            assert follower.status == 200
            await until(lambda: len(stream.clients) == 1)

    story(told)


def test_a_sign_of_life_comes_when_nothing_happens_and_finds_who_is_gone(story, monkeypatch):
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.02)

    async def told(stream):
        async with following(stream.path) as stays:
            async with following(stream.path):
                assert len(stream.clients) == 2
            await until(lambda: len(stream.clients) == 1)
            assert await stays.reader.readuntil(b"\n\n") == b": still here\n\n"
        await until(lambda: not stream.clients)
        await until(lambda: stream._beating is None)

    story(told)


def test_the_stop_says_good_bye_and_does_not_wait_for_who_does_not_read(story):
    async def told(stream):
        async with following(stream.path) as deaf, following(stream.path) as hears:
            deaf.writer.transport.pause_reading()
            for _ in range(4):
                stream.tell([OUTCOME] * 1_000)  # a megabyte is more than the socket's own buffers hold
            stream.tell([BAN])
            began = time.monotonic()
            stopping = asyncio.create_task(stream.stop())
            heard = await hears.take(4_002)
            assert heard[-2:] == [
                {"kind": "ban", "source": "198.51.100.7/32", "rule": "guessing"},
                {"kind": "end", "text": "astguard stops"},
            ]
            await stopping
            assert time.monotonic() - began < module.GRACE + 3
            assert not stream.clients

    story(told)


def test_a_wrong_filter_is_answered_with_what_is_wrong(story):
    async def told(stream):
        async with following(stream.path, "?kind=bans") as follower:
            assert follower.status == 400
            assert b"'bans' is no kind; known are outcome, ban" in follower.body

    story(told)


def test_with_nobody_listening_nothing_is_kept(story):
    async def told(stream):
        async with following(stream.path):
            pass
        await until(lambda: all(client.gone for client in stream.clients))
        stream.tell([OUTCOME])
        stream._write()
        assert (stream._news, stream._gathering) == ([], None)

    story(told)


def test_a_backlog_is_written_at_once_and_does_not_pile_up(story):
    async def told(stream):
        async with following(stream.path) as follower:
            stream.tell([OUTCOME] * module.NEWS_LIMIT)
            assert stream._news == []
            assert len(await follower.take(module.NEWS_LIMIT)) == module.NEWS_LIMIT

    story(told)
