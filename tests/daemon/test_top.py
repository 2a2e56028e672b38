"""`astguard top` of a running guard under attack: once, as JSON, and on a terminal of its own."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import sys
import termios

import pytest

from tests.daemon.linking import SECRET, run, until
from tests.daemon.test_service import SVCRACK, TREE, configure, guarding
from tests.scripted_asterisk import ScriptedAsterisk

EVIL = "7\x1b[31m\u202e7"
TAIL = "Challenge: 1795354577/ddc01744\r\nResponse: a13697eb64d5\r\nExpectedResponse: "


@pytest.fixture
def story(tmp_path):
    def tell(told):
        async def within():
            async with ScriptedAsterisk(secret=SECRET) as pbx, guarding(configure(tmp_path, pbx.port)) as guard:
                await pbx.play(SVCRACK)
                for number in range(3):
                    remote = f"IPV4/UDP/203.0.113.{number}/5060"
                    await pbx.send(pbx.event("ChallengeResponseFailed", account=EVIL, remote=remote, tail=TAIL))
                await guard.says("WARNING ban")
                await told(pbx, guard)

        run(within())

    return tell


def test_programs_get_all_of_it_at_once(story):
    async def told(_pbx, guard):
        top = await guard.ask("top")
        assert top["sources"][0] == {
            "source": "198.51.100.11/32", "attempts": 7, "accounts": 1,
            "ban": {"rule": "pjsip-guessing", "scope": "sip", "left_seconds": top["sources"][0]["ban"]["left_seconds"]},
        }  # fmt: skip
        assert {source["source"] for source in top["sources"][1:]} == {f"203.0.113.{n}/32" for n in range(3)}
        assert top["accounts"][1] == {"account": r"7\x1b[31m\u202e7", "attempts": 3, "sources": 3}
        assert top["rules"] == [{"rule": "pjsip-guessing", "bans": 1, "observed": 0}]
        assert top["rates"] == {"events": 0.0, "attempts": 0.0, "bans": 0.0, "dropped packets": 0.0}
        assert (top["mode"], top["bans"], top["link"]["state"]) == ("enforce", 1, "up")

    story(told)


def test_without_a_terminal_it_is_printed_once(story):
    async def told(_pbx, guard):
        code, out, err = await guard.cli("top")
        assert (code, err) == (0, "")
        assert "\x1b" not in out
        assert re.search(r"^198\.51\.100\.11 +7 +\d+ +1  pjsip-guessing, sip +\d+m\d+s$", out, re.MULTILINE)
        assert re.search(r"^7\\x1b\[31m\\u202e7 +3 ", out, re.MULTILINE)

    story(told)


class Terminal:
    """A terminal of 80 columns and 24 lines, with `astguard top` on it."""

    def __init__(self):
        self.ours, self.its = pty.openpty()
        fcntl.ioctl(self.its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(self.its)
        self.shown = ""

    async def start(self, guard):
        environment = {key: value for key, value in os.environ.items() if key not in {"COLUMNS", "LINES", "NO_COLOR"}}
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "guard", "top", "--config", str(guard.config),
            cwd=TREE, stdin=self.its, stdout=self.its, stderr=self.its, env={**environment, "TERM": "xterm"},
        )  # fmt: skip
        os.set_blocking(self.ours, False)
        asyncio.get_running_loop().add_reader(self.ours, self._read)

    def _read(self):
        self.shown += os.read(self.ours, 65_536).decode()

    @property
    def pictures(self):
        return self.shown.split("\x1b[H")[1:]

    async def end(self):
        code = await self.process.wait()
        asyncio.get_running_loop().remove_reader(self.ours)
        after = termios.tcgetattr(self.its)
        os.close(self.its)
        os.close(self.ours)
        assert after == self.before, "the terminal is as it was"
        assert self.shown.rstrip().endswith("\x1b[?25h\x1b[?1049l")
        return code


def plain(picture):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", picture).replace("\r", "").split("\n")


def test_on_a_terminal_it_is_drawn_again_and_again_until_q(story):
    async def told(pbx, guard):
        terminal = Terminal()
        await terminal.start(guard)
        await until(lambda: len(terminal.pictures) >= 2)
        for number in range(40):
            remote = f"IPV4/UDP/203.0.113.99/{6_000 + number}"
            await pbx.send(pbx.event("ChallengeResponseFailed", session=f"x-{number}", remote=remote, tail=TAIL))
        await until(lambda: "203.0.113.99" in terminal.shown)
        os.write(terminal.ours, b"q")
        assert await terminal.end() == 0
        assert terminal.shown.startswith("\x1b[?1049h\x1b[?25l\x1b[2J")
        for picture in terminal.pictures:
            lines = plain(picture)
            assert len(lines) <= 24
            assert max(map(len, lines)) <= 80
        assert "\x1b[31mpjsip-guessing, sip\x1b[0m" in terminal.shown
        assert "\u202e" not in terminal.shown

    story(told)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("ends", [130, 143])
def test_a_daemon_that_goes_away_is_said_and_a_signal_leaves_the_terminal_as_it_was(story, ends):
    async def told(_pbx, guard):
        terminal = Terminal()
        await terminal.start(guard)
        await until(lambda: terminal.pictures)
        await guard.stop()
        await until(lambda: "astguard is not running: " in terminal.shown and "events \x1b[1m?/s" in terminal.shown)
        terminal.process.send_signal(signal.SIGTERM if ends == 143 else signal.SIGINT)
        assert await terminal.end() == ends

    story(told)


def test_without_a_daemon_it_does_not_begin(story):
    async def told(_pbx, guard):
        await guard.stop()
        code, out, err = await guard.cli("top")
        assert (code, out) == (3, "")
        assert err.startswith("astguard: astguard is not running")

    story(told)


def test_raw_is_a_line_a_value(story):
    async def told(_pbx, guard):
        code, out, _ = await guard.cli("top", "-o", "raw")
        assert code == 0
        assert "sources.0.source\t198.51.100.11/32\n" in out
        assert json.dumps(out).isascii()

    story(told)
