"""The control API over TCP: who gets in, and what a stranger or a web page is refused."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress

import pytest

from guard.api import tcp
from guard.api.tcp import TcpServer
from guard.errors import ControlError
from guard.wire.control import BODY_LIMIT
from tests.daemon.linking import SECRET, run, until
from tests.daemon.test_scrape import free_port
from tests.daemon.test_service import SVCRACK, configure, guarding
from tests.scripted_asterisk import ScriptedAsterisk

TOKEN = secrets.token_hex(32)


class Client:
    """Asks a running guard over TCP; headers are given as they are, None takes one away."""

    def __init__(self, port, guard):
        self.port = port
        self.guard = guard

    async def open(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request, body=b"", **headers):
        """Return status, head and JSON."""
        usual = {
            "Host": f"127.0.0.1:{self.port}", "Authorization": f"Bearer {TOKEN}", "Content-Length": str(len(body)),
            "Content-Type": "application/json",
        } | {name.replace("_", "-"): value for name, value in headers.items()}  # fmt: skip
        lines = [f"{name}: {value}" for name, value in usual.items() if value is not None]
        reader, writer = await self.open()
        writer.write("\r\n".join([f"{request} HTTP/1.1", *lines, "", ""]).encode() + body)
        head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return int(head.split(b" ")[1]), head.decode(), json.loads(answer)


@pytest.fixture
def story(tmp_path):
    def tell(told, more=""):
        async def within():
            port = free_port()
            token = tmp_path / "api.token"
            token.write_text(TOKEN + "\n")
            token.chmod(0o640)
            api = f"api: {{port: {port}}}\n{more}"
            async with (
                ScriptedAsterisk(secret=SECRET) as pbx,
                guarding(configure(tmp_path, pbx.port, more=api)) as guard,
            ):
                await told(Client(port, guard), pbx)
                assert not any(TOKEN in line for line in guard.log)

        run(within())

    return tell


def test_who_has_the_token_may_ask_and_change_and_the_log_says_so(story):
    async def told(client, _pbx):
        status, head, answer = await client.ask("GET /v1/status")
        assert (status, answer["mode"]) == (200, "enforce")
        assert "Connection: close" in head
        body = json.dumps({"source": "203.0.113.7", "for": "1h"}).encode()
        status, _, ban = await client.ask("POST /v1/bans", body)
        assert (status, ban["source"]) == (200, "203.0.113.7/32")
        await client.guard.says("INFO command: POST /v1/bans 203.0.113.7/32 by token over TCP")
        assert (await client.ask("DELETE /v1/bans/203.0.113.7"))[0] == 200
        assert (await client.ask("GET /v1/status", Host=f"localhost:{client.port}"))[0] == 200
        assert TOKEN not in json.dumps((await client.ask("GET /v1/status"))[2])

    story(told)


def test_with_changes_for_root_alone_nothing_is_changed_over_tcp(story):
    async def told(client, _pbx):
        body = json.dumps({"source": "203.0.113.7"}).encode()
        status, _, answer = await client.ask("POST /v1/bans", body)
        assert (status, answer["exit_code"]) == (403, 1)
        assert "only root may change anything here" in answer["error"]
        await client.guard.says("WARNING refused, only root may: POST /v1/bans 203.0.113.7/32 by token over TCP")
        assert await client.guard.ask("bans", "list") == []
        assert (await client.ask("GET /v1/bans"))[::2] == (200, [])

    story(told, "control_changes: root\n")


REFUSED = [
    (401, "'Authorization: Bearer TOKEN' is missing or wrong", {"Authorization": None}),
    (401, "missing or wrong", {"Authorization": ""}),
    (401, "missing or wrong", {"Authorization": f"Bearer {TOKEN[:-1]}"}),
    (401, "missing or wrong", {"Authorization": f"Bearer {TOKEN}0"}),
    (401, "missing or wrong", {"Authorization": f"Basic {TOKEN}"}),
    (401, "missing or wrong", {"Authorization": "Bearer \xff"}),
    (421, r"asked for the host 'evil.example:80\\x1b', not 127.0.0.1:", {"Host": "evil.example:80\x1b"}),
    (421, "asked for the host '127.0.0.1', not", {"Host": "127.0.0.1"}),
    (403, "a web page asked", {"Origin": "http://evil.example"}),
    (403, "a web page asked", {"Origin": "null"}),
    (403, "a web page asked", {"Sec_Fetch_Site": "cross-site"}),
    (415, "a POST needs 'Content-Type: application/json'", {"Content_Type": "text/plain"}),
    (415, "a POST needs", {"Content_Type": "application/x-www-form-urlencoded"}),
    (413, f"of at most {BODY_LIMIT} bytes", {"Content_Length": str(BODY_LIMIT + 1)}),
    (413, "a body has a Content-Length", {"Content_Length": None, "Transfer_Encoding": "chunked"}),
]


def test_strangers_and_web_pages_are_refused_before_anything_is_read(story):
    async def told(client, _pbx):
        for number, (status, says, headers) in enumerate(REFUSED, 1):
            if "\x1b" in headers.get("Host", ""):
                headers = {"Host": "evil.example:80\u202e"}  # noqa: PLW2901 - newer parsers refuse the control character
                says = "asked for the host 'evil.example:80"  # noqa: PLW2901
            got, head, answer = await client.ask("POST /v1/bans", b"", **headers)
            assert (got, answer["exit_code"]) == (status, 2), headers
            assert says in answer["error"], headers
            assert ("WWW-Authenticate: Bearer" in head) == (status == 401)
            assert (await client.guard.ask("status"))["counts"]["api.refused"] == number
        assert await client.guard.ask("bans", "list") == []

    story(told)


def test_a_get_needs_no_content_type(story):
    async def told(client, _pbx):
        assert (await client.ask("GET /v1/rules", Content_Type=None, Content_Length=None))[0] == 200

    story(told)


def test_the_live_stream_can_be_followed_and_ends_with_the_guard(story):
    async def told(client, pbx):
        reader, writer = await client.open()
        head = f"GET /v1/events?kind=ban HTTP/1.0\r\nHost: localhost:{client.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        writer.write(f"{head}\r\n".encode())
        await reader.readuntil(b": astguard is here\n\n")
        await pbx.play(SVCRACK)
        assert (await reader.readuntil(b"\n\n")).startswith(b"event: ban\n")
        assert await client.guard.stop() == 0
        assert b"event: end\n" in await reader.read()
        writer.close()

    story(told)


def test_few_are_let_in_at_a_time_and_who_says_nothing_is_cut_off(monkeypatch):
    monkeypatch.setattr(tcp, "CLIENTS", 3)
    monkeypatch.setattr(tcp, "LIFETIME", 0.3)

    async def told():
        counted = []
        server = TcpServer(None, "127.0.0.1", 0, TOKEN, counted.append)
        await server.start()
        try:
            silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
            await until(lambda: len(server._door._inside) == 3)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            assert counted == ["api.crowded"]
            writer.close()
            await until(lambda: not server._door._inside)
            for _, other in silent:
                other.close()
        finally:
            await server.stop()

    run(told())


def test_a_port_that_is_taken_is_named_with_the_remedy():
    async def told():
        one = TcpServer(None, "127.0.0.1", 0, TOKEN, list)
        await one.start()
        other = TcpServer(None, "127.0.0.1", one.port, TOKEN, list)
        with pytest.raises(ControlError, match=rf"cannot answer on 127.0.0.1 port {one.port}: .*; see 'api' in"):
            await other.start()
        await one.stop()
        await one.stop()

    run(told())
