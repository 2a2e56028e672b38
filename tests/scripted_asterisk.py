"""Asterisk's manager interface as a puppet: on the wire what Asterisk does, and faults when they are ordered.

    async with ScriptedAsterisk(secret="s3cret") as asterisk:
        ...                                # somebody logs in at asterisk.port
        await asterisk.play(recording)     # its security events, as if they happened now
        asterisk.hang()                    # from here on: silence, with the socket open

Banner, replies and events are those of Asterisk 22 (docs/asterisk.md). As a program it serves one recording:

    python -m tests.scripted_asterisk --secret SECRET --play tests/corpus/22.10.1/pjsip-svcrack.ami --speed 10

waits for a login, plays the events once with the recorded gaps divided by the speed, prints `played KIND SOURCE` for
each, and serves on until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import lzma
import re
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

BANNER = b"Asterisk Call Manager/11.0.0\r\n"
UNSET = "1970-01-01T00:00:00.000+0000"  # SessionTV of a session that never logged in

_TV = re.compile(rb"(?<=\r\n)((?:EventTV|SessionTV): )(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4})(?=\r\n|$)")
_EVENT_TV = re.compile(rb"\r\nEventTV: (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4})(?:\r\n|$)")
_FRAMING = re.compile(
    rb"(Privilege: security,all\r\n)(?:Timestamp: [^\r]*\r\n)?"
    rb"(?:SequenceNumber: [^\r]*\r\nFile: [^\r]*\r\nLine: [^\r]*\r\nFunc: [^\r]*\r\n)?(?:SystemName: [^\r]*\r\n)?"
)
_OWN_LOGIN = re.compile(
    rb"Event: SuccessfulAuth\r\n.*\r\nService: AMI\r\n.*\r\nRemoteAddress: IPV4/TCP/127\.", re.DOTALL
)


class ScriptedAsterisk:
    """One server on loopback, or wherever `host` says.

    `own_login` tells where the event of a login stands: `after` its reply, `before` it, or `never`. `read_security`
    False is a user who may log in and sees no events. `framing` is the text of the optional headers of every event,
    such as `SystemName: pbx\\r\\n`. `greeting` in place of the banner makes it another server, b"" a silent one.
    """

    def __init__(
        self,
        *,
        host="127.0.0.1",
        port=0,
        username="astguard",
        secret="s3cret",
        tls=None,
        greeting=BANNER,
        own_login="after",
        read_security=True,
        framing="",
        refuse_pause=0.0,
    ):
        self.host = host
        self.port = port
        self.username = username
        self.secret = secret
        self.tls = tls
        self.greeting = greeting
        self.own_login = own_login
        self.read_security = read_security
        self.framing = framing
        self.refuse_pause = refuse_pause  # real Asterisk: 1.0
        self.refusing = False  # refuses every login while set
        self.connections = []  # times of loop.time() at which somebody connected
        self.actions = []  # what was asked, in order: dicts of headers
        self.sessions = set()
        self._hanging = False
        self._server = None
        self._tasks = set()
        self._changed = asyncio.Condition()
        self._speaking = asyncio.Lock()  # a reply never stands inside an event
        self._pointers = itertools.count(0x7F40_0000_1000, 0x430)

    async def __aenter__(self):
        await self.start()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def start(self):
        """Listen; again on the same port after stop()."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        """Stop listening and cut every connection, as a stopped Asterisk does."""
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What a test orders.

    def hang(self):
        """Answer nothing and send nothing from now on, as a stopped process does; the sockets stay open."""
        self._hanging = True

    def recover(self):
        """Answer again whatever comes from now on."""
        self._hanging = False

    def cut(self, last_words=b""):
        """Close every connection; `last_words` go out first, such as half of an event."""
        for session in list(self.sessions):
            with suppress(OSError):
                if last_words:
                    session.writer.write(last_words)
                session.writer.close()

    async def logged_in(self, count=1):
        """Wait until so many sessions are logged in."""
        async with self._changed:
            await self._changed.wait_for(lambda: sum(session.online for session in self.sessions) >= count)

    async def asked(self, action, count=1):
        """Wait until an action came in so many times since the start."""
        async with self._changed:
            await self._changed.wait_for(lambda: sum(had["action"] == action for had in self.actions) >= count)

    async def send(self, data, *, piece=None):
        """Send bytes to everybody who is logged in, in pieces of this size if one is given."""
        pieces = [data] if piece is None else [data[at : at + piece] for at in range(0, len(data), piece)]
        async with self._speaking:
            for part in pieces:
                for session in [session for session in self.sessions if session.listens]:
                    with suppress(OSError):
                        session.writer.write(part)
                        await session.writer.drain()
                if len(pieces) > 1:
                    await asyncio.sleep(0)

    async def play(self, recording, pace=0.0, on_played=None):
        """Send a recording's security events as if they happened now: EventTV and SessionTV are rewritten.

        `recording` is the bytes of an .ami file or the blocks in it. `pace` is the speed at which its gaps are kept:
        1 as recorded, 10 ten times as fast, 0 without any. `on_played` is told each block.
        """
        blocks = events_of(recording) if isinstance(recording, bytes) else list(recording)
        started, first, latest = time.monotonic(), None, None
        for block in blocks:
            at = time_of(block)
            if at is not None and pace:
                first = first or at
                latest = max(latest or at, at)
                wait = started + (latest - first).total_seconds() / pace - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
            await self.send(as_of_now(block, self.framing) + b"\r\n\r\n")
            if on_played:
                on_played(block)

    def event(self, kind, service="PJSIP", account="101", remote="IPV4/UDP/198.51.100.7/5060", tail="", **other):
        """Return the bytes of one event that happens now. `tail` is the headers after RemoteAddress, CRLF between."""
        session = other.get("session", "call-1@host" if service == "PJSIP" else f"{next(self._pointers):#x}")
        severity = "Informational" if kind in {"SuccessfulAuth", "ChallengeSent"} else "Error"
        version = 2 if kind == "InvalidPassword" else 1
        local = other.get("local", "IPV6/TCP/::/5038" if service == "AMI" else "IPV4/UDP/203.0.113.10/5060")
        lines = [
            f"Event: {kind}\r\nPrivilege: security,all\r\n{self.framing}EventTV: {other.get('tv') or now()}",
            f"Severity: {severity}\r\nService: {service}\r\nEventVersion: {version}\r\nAccountID: {account}",
            f"SessionID: {session}\r\nLocalAddress: {local}\r\nRemoteAddress: {remote}",
        ]
        return "\r\n".join([*lines, *filter(None, [tail])]).encode() + b"\r\n\r\n"

    # How it answers.

    async def _serve(self, reader, writer):
        session = _Session(writer)
        self.sessions.add(session)
        self.connections.append(asyncio.get_running_loop().time())
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            writer.write(self.greeting)
            await self._converse(session, reader)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self.sessions.discard(session)
            self._tasks.discard(task)
            writer.close()
            await self._tell()

    async def _converse(self, session, reader):
        headers = {}
        while line := await reader.readline():
            text = line.decode(errors="replace").rstrip("\r\n")
            if text:
                name, _, value = text.partition(":")
                headers[name.strip().lower()] = value.strip()
                continue
            if self.greeting != BANNER or self._hanging:
                headers = {}
                continue
            self.actions.append({"action": "", **headers})
            go_on = await self._answer(session, headers)
            headers = {}
            await self._tell()
            if not go_on:
                return

    async def _answer(self, session, asked):
        """Answer one action; False if the connection ends with it."""
        match asked.get("action", "").lower():
            case "challenge":
                session.challenge = str(100_000_000 + next(self._pointers) % 899_999_999)
                self._reply(session, asked, "Success", f"Challenge: {session.challenge}")
            case "login":
                return await self._log_in(session, asked)
            case "logoff":
                self._reply(session, asked, "Goodbye", "Message: Thanks for all the fish.")
                return False
            case _ if not session.online:
                self._reply(session, asked, "Error", "Message: Permission denied")
            case "ping":
                async with self._speaking:
                    self._reply(session, asked, "Success", f"Ping: Pong\r\nTimestamp: {time.time():.6f}")
            case _:
                self._reply(session, asked, "Error", "Message: Invalid/unknown command")
        return True

    async def _log_in(self, session, asked):
        proof = self.secret
        given = asked.get("secret")
        if asked.get("authtype", "").lower() == "md5":
            proof = hashlib.md5((session.challenge + self.secret).encode()).hexdigest() if session.challenge else None
            given = asked.get("key")
        remote = session.address
        if self.refusing or asked.get("username") != self.username or given is None or given != proof:
            kind = "InvalidPassword" if asked.get("username") == self.username else "InvalidAccountID"
            account = asked.get("username", "")
            await self.send(self.event(kind, "AMI", account, remote, f"SessionTV: {UNSET}"))
            await asyncio.sleep(self.refuse_pause)
            self._reply(session, asked, "Error", "Message: Authentication failed")
            return False
        event = self.event("SuccessfulAuth", "AMI", self.username, remote, f"UsingPassword: 0\r\nSessionTV: {now()}")
        await self.send(event)  # to those who are logged in already
        # A word that Asterisk does not know means silence for ever, though the reply is Success.
        session.listens = self.read_security and asked.get("events", "on").lower() in {"on", "security", "all"}
        session.online = True
        hears = session.listens and self.own_login
        async with self._speaking:
            self._reply(
                session, asked, "Success", "Message: Authentication accepted",
                before=event if hears == "before" else b"", after=event if hears == "after" else b"",
            )  # fmt: skip
        return True

    def _reply(self, session, asked, response, rest, before=b"", after=b""):
        action_id = f"ActionID: {asked['actionid']}\r\n" if "actionid" in asked else ""
        session.writer.write(before + f"Response: {response}\r\n{action_id}{rest}\r\n\r\n".encode() + after)

    async def _tell(self):
        async with self._changed:
            self._changed.notify_all()


class _Session:
    """One connection."""

    def __init__(self, writer):
        self.writer = writer
        self.challenge = ""
        self.online = False
        self.listens = False
        address, port = writer.get_extra_info("peername")[:2]
        self.address = f"IPV{6 if ':' in address else 4}/TCP/{address}/{port}"


def now():
    """Return this instant as EventTV shows it."""
    return _show(datetime.now(UTC))


def _show(instant):
    return f"{instant:%Y-%m-%dT%H:%M:%S}.{instant.microsecond // 1000:03}{instant:%z}"


def _read(tv):
    return datetime.strptime(tv.decode(), "%Y-%m-%dT%H:%M:%S.%f%z")


def time_of(block):
    """Return the EventTV of a block; None if it has none."""
    found = _EVENT_TV.search(block)
    return found and _read(found[1])


def events_of(recording):
    """Return the blocks of a recording but the banner, the replies and the recorder's own login."""
    blocks = recording.removeprefix(recording.partition(b"\r\n")[0] + b"\r\n").split(b"\r\n\r\n")[:-1]
    blocks = [block for block in blocks if not block.startswith(b"Response: ")]
    return blocks[1:] if blocks and _OWN_LOGIN.match(blocks[0]) else blocks


def as_of_now(block, framing=""):
    """Return a block as it would look if it happened now, on an Asterisk with this framing."""
    then = time_of(block)
    if then is None:
        return block
    shift = datetime.now(UTC) - then

    def moved(tv):
        return tv[0] if tv[2] == UNSET.encode() else tv[1] + _show(_read(tv[2]) + shift).encode()

    return _FRAMING.sub(lambda found: found[1] + framing.encode(), _TV.sub(moved, block), count=1)


def contents(path):
    """Read a recording, compressed or not."""
    data = Path(path).read_bytes()
    return lzma.decompress(data) if str(path).endswith(".xz") else data


def said(block):
    """Return kind and source of a block, fit to be printed."""
    kind = re.match(rb"Event: (\w+)", block)
    sources = re.findall(rb"\r\nRemoteAddress: IPV[46]/[A-Z]+/([0-9A-Fa-f.:]+)", block)
    return f"{kind[1].decode() if kind else '-'} {sources[-1].decode() if sources else '-'}"


async def serve(options):
    """Be the program: serve, wait for a login, play, and serve on until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    framing = f"SystemName: {options.systemname}\r\n" if options.systemname else ""
    async with ScriptedAsterisk(
        host=options.host, port=options.port, username=options.username, secret=options.secret,
        framing=framing, refuse_pause=1.0,
    ) as asterisk:  # fmt: skip
        print(f"listening {asterisk.host} {asterisk.port}", flush=True)
        job = asyncio.create_task(_perform(asterisk, options))
        await stopped.wait()
        job.cancel()
        with suppress(asyncio.CancelledError):
            await job


async def _perform(asterisk, options):
    await asterisk.logged_in()
    print("login", flush=True)
    if options.play:
        await asterisk.play(
            contents(options.play), options.speed, lambda block: print("played", said(block), flush=True)
        )
        print("end", flush=True)


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.scripted_asterisk", description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5038)
    parser.add_argument("--username", default="astguard")
    parser.add_argument("--secret", required=True)
    parser.add_argument("--play", metavar="RECORDING", help="an .ami file of tests/corpus, or .ami.xz")
    parser.add_argument("--speed", type=float, default=1.0, help="how many times faster than recorded; 0: at once")
    parser.add_argument("--systemname", default="", help="as in asterisk.conf")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
