"""The control socket: serves a Desk to the command line.

A unix socket with mode 0660: who may write to it may command the guard. Its path is claimed under a lock on the
folder, and the socket takes connections only once its mode is set. A socket that a dead daemon left is replaced, a
living one is not.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from aiohttp import web
from aiohttp.http import HttpProcessingError

from guard.api.listener import BACKLOG, claim
from guard.api.metrics import CONTENT_TYPE
from guard.core.address import show, show_short
from guard.errors import GuardError
from guard.wire.control import (
    BODY_LIMIT,
    USUAL_LENGTH,
    Call,
    NotPermitted,
    Request,
    RequestError,
    parse_request,
    write_error,
)
from guard.wire.journal import MessageId, about

if TYPE_CHECKING:
    from pathlib import Path

    from guard.api.metrics import Metrics
    from guard.api.stream import Stream
    from guard.core.address import Source
    from guard.core.units import Duration
    from guard.wire.history import Wanted

BODY_SECONDS = 5.0
"""How long a client may take to send a body."""
STOP_SECONDS = 5.0
"""How long the stop waits for answers under way."""
PIECE = 500
"""Items of a long list put into JSON between two turns of the event loop: some 5 ms."""


_CREDENTIALS = struct.Struct("iII")
"""Linux's struct ucred: process, user, group."""

_NEWS = logging.getLogger("astguard")
_LOG = logging.getLogger("guard.api.http")
_LOG.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))
"""aiohttp's own log. What clients do wrong is answered, not logged; a fault of ours is."""


class Desk(Protocol):
    """What the daemon does for the API. Every method raises GuardError, and returns JSON.

    Those that change something wait until the disk has it, and `stored` in their answer says whether it has.
    """

    async def ready(self) -> None:
        """Wait until the other methods tell the truth; ControlError if that takes long."""

    def status(self) -> dict[str, object]:
        """Tell version, pid, mode, paused, uptime_seconds, link, firewall, bans, allow, counts and warnings."""

    def bans(self) -> list[dict[str, object]]:
        """List the active bans."""

    async def ban(self, source: Source) -> dict[str, object]:
        """Return the ban of this source, or the one that covers it, with its `trail`; NotFound if there is none."""

    async def add_ban(self, source: Source, length: Duration, reason: str) -> dict[str, object]:
        """Ban by hand; ControlError for a source that is allowed, special, or banned as long already."""

    async def flush_bans(self) -> dict[str, object]:
        """Lift all bans; `bans` tells how many that were."""

    async def remove_ban(self, source: Source) -> dict[str, object]:
        """Lift the ban of exactly this source; NotFound, which names the ban that covers it."""

    def allowed(self) -> list[dict[str, object]]:
        """List the allowlist: `source`, `origin`, and `until` and `left_seconds` of those that end by themselves."""

    async def add_allow(self, source: Source, length: Duration | None) -> dict[str, object]:
        """Put a source on the allowlist, None for good; `lifted` has the sources whose bans that ended."""

    async def remove_allow(self, source: Source) -> dict[str, object]:
        """Take off a source; ControlError names file and line of one that the configuration holds."""

    def test_allow(self, source: Source) -> dict[str, object]:
        """Tell whether a source is `allowed`, `by` which entry and of what `origin`."""

    def rules(self) -> list[dict[str, object]]:
        """List the rules in force, each as `wire.describe.describe_rule` writes it."""

    async def explain(self, source: Source) -> dict[str, object]:
        """Tell all that is known of a source, and what would follow next."""

    async def history(self, wanted: Wanted) -> list[dict[str, object]]:
        """List bans past and present, the newest first; ControlError if the file cannot be read."""

    async def reload(self) -> dict[str, object]:
        """Take changed files in: `changed`, `restart` (what has to wait for one), `notes`; or ConfigError."""

    async def pause(self, length: Duration | None) -> dict[str, object]:
        """Take all bans out of the kernel, None until `resume`: `since`, `until`, `left_seconds`, `bans`."""

    async def top(self, rows: int) -> dict[str, object]:
        """Tell who attacks most of late: `since`, `seconds`, up to `rows` each of `sources`, `accounts`, `rules`."""

    async def resume(self) -> dict[str, object]:
        """Put the bans back and tell how many `bans` that are; NotFound if there is no pause."""


class ControlServer:
    """Answers requests on a unix socket from `start` to `stop`."""

    def __init__(
        self, desk: Desk, path: Path, metrics: Metrics | None, stream: Stream, *, root_only: bool = False
    ) -> None:
        self._desk = desk
        self._stream = stream
        self._root_only = root_only
        self._metrics = metrics
        self._path = path
        self._runner: web.AppRunner | None = None
        self._inode = (0, 0)
        self._busy: set[asyncio.WriteTransport] = set()

    async def start(self) -> None:
        """Make the socket and answer on it; ControlError if the path cannot be had."""
        listener = claim(self._path)
        try:
            found = self._path.stat()
            self._inode = (found.st_dev, found.st_ino)
            app = web.Application(client_max_size=BODY_LIMIT)
            app.router.add_route("*", "/{rest:.*}", self.handle)
            self._runner = web.AppRunner(app, access_log=None, logger=_LOG)
            await self._runner.setup()
            await web.SockSite(self._runner, listener, backlog=BACKLOG).start()
        except BaseException:
            listener.close()
            await self.stop()
            raise

    async def stop(self) -> None:
        """Finish the answers under way and take the socket away, if it is still ours."""
        with suppress(OSError):
            found = self._path.stat()
            if self._inode == (found.st_dev, found.st_ino):
                self._path.unlink()
        if self._runner is not None:
            runner, self._runner = self._runner, None
            self._stream.close()
            patience = asyncio.get_running_loop().call_later(STOP_SECONDS, self._hang_up)
            await runner.cleanup()
            patience.cancel()

    def _hang_up(self) -> None:
        for transport in self._busy:
            transport.abort()

    async def handle(self, http: web.BaseRequest, *, close: bool = False) -> web.StreamResponse:
        """Answer one request; a client that dawdles is cut off when the server stops. `close` ends the connection."""
        transport = http.transport
        assert transport is not None, "there is a client while there is a request"
        self._busy.add(transport)
        try:
            response = await self._answer(http)
            if close:
                response.force_close()
            with suppress(ConnectionError):  # the client is gone and asks no more
                await response.prepare(http)
                await response.write_eof()
        finally:
            self._busy.discard(transport)
        return response

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        try:
            if self._metrics is not None and (http.method, http.raw_path) == ("GET", "/metrics"):
                return web.Response(body=self._metrics.page(), headers={"Content-Type": CONTENT_TYPE})
            request = parse_request(http.method, http.raw_path, await _read_body(http))
            if request.call is Call.EVENTS:
                return await self._stream.serve(http, request.filter)
            if request.call.changes:
                self._note(request, http)
            body = await encode(await self._ask(request))
        except GuardError as error:
            status, body = write_error(error)
        else:
            status = 200
        return web.Response(status=status, body=body, content_type="application/json")

    def _note(self, request: Request, http: web.BaseRequest) -> None:
        """Tell the journal who is about to change what; NotPermitted if he may not."""
        pid, uid, who = peer(http)
        name = show(request.source) if request.source else ""
        what = request.call.value.replace("*", name) if "*" in request.call.value else f"{request.call.value} {name}"
        about_it = about(
            MessageId.COMMAND, uid=uid, pid=pid, call=request.call.value, reason=request.reason or None,
            address=show_short(request.source) if request.source else None,
        )  # fmt: skip
        if self._root_only and uid != 0:
            _NEWS.warning("refused, only root may: %s by %s", what.rstrip(), who, extra=about_it)
            raise NotPermitted("only root may change anything here ('control_changes: root' in astguard.yaml)")
        _NEWS.info("command: %s by %s", what.rstrip(), who, extra=about_it)

    async def _ask(self, request: Request) -> object:
        desk, source = self._desk, request.source
        assert request.call is not Call.EVENTS, "the stream answers that"
        await desk.ready()
        match request.call:
            case Call.STATUS:
                return desk.status()
            case Call.RULES:
                return desk.rules()
            case Call.BANS:
                return desk.bans()
            case Call.BAN:
                return await desk.ban(source)
            case Call.ADD_BAN:
                return await desk.add_ban(source, request.length or USUAL_LENGTH, request.reason)
            case Call.REMOVE_BAN:
                return await desk.remove_ban(source)
            case Call.FLUSH_BANS:
                return await desk.flush_bans()
            case Call.EXPLAIN:
                return await desk.explain(source)
            case Call.HISTORY:
                assert request.wanted is not None, "that is what it asks for"
                return await desk.history(request.wanted)
            case Call.ALLOWED:
                return desk.allowed()
            case Call.TEST_ALLOW:
                return desk.test_allow(source)
            case Call.ADD_ALLOW:
                return await desk.add_allow(source, request.length)
            case Call.REMOVE_ALLOW:
                return await desk.remove_allow(source)
            case Call.RELOAD:
                return await desk.reload()
            case Call.PAUSE:
                return await desk.pause(request.length)
            case Call.TOP:
                return await desk.top(request.rows)
            case Call.RESUME:
                return await desk.resume()


def peer(http: web.BaseRequest) -> tuple[int | None, int | None, str]:
    """Return process and user of a client of the unix socket, by the kernel's word (unix(7), SO_PEERCRED), and words.

    Of one who came over TCP only the token is known.
    """
    transport = http.transport
    assert transport is not None, "there is a client while there is a request"
    client = transport.get_extra_info("socket")
    if client.family != socket.AF_UNIX:
        return None, None, "token over TCP"
    pid, uid, _ = _CREDENTIALS.unpack(client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid, f"uid={uid} pid={pid}"


async def encode(value: object) -> bytes:
    """Write JSON. A list of a million bans takes seconds: the event loop gets its turns in between."""
    if not isinstance(value, list):
        return json.dumps(value).encode()
    pieces = []
    for start in range(0, len(value), PIECE):
        pieces.append(json.dumps(value[start : start + PIECE])[1:-1].encode())
        await asyncio.sleep(0)
    return b"[" + b", ".join(pieces) + b"]"


async def _read_body(http: web.BaseRequest) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await http.read()
    except TimeoutError:
        raise RequestError(f"the body did not come within {BODY_SECONDS:.0f} s", 408) from None
    except OSError:
        raise RequestError("the client went away before its body had come") from None
    except web.HTTPRequestEntityTooLarge:
        raise RequestError(f"the body is larger than {BODY_LIMIT} bytes", 413) from None
