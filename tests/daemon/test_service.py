"""The whole daemon, as a program: a scripted Asterisk on one side, the command line on the other."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.daemon.linking import SECRET, run
from tests.scripted_asterisk import ScriptedAsterisk

TREE = Path(__file__).parents[2]
CORPUS = TREE / "tests/corpus/22.10.1"
SVCRACK = (CORPUS / "pjsip-svcrack.ami").read_bytes()
ATTACKER = "198.51.100.11/32"
RULE = """
service: PJSIP
events: [ChallengeResponseFailed]
threshold: 2
window: 1m
ban: [1s]
"""


class Guard:
    """A running daemon and its command line."""

    def __init__(self, process, config):
        self.process = process
        self.config = config
        self.log = []
        self._reader = asyncio.create_task(self._read())
        self._changed = asyncio.Condition()

    async def _read(self):
        async for line in self.process.stderr:
            self.log.append(line.decode().rstrip("\n"))
            async with self._changed:
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()

    async def says(self, words, count=1):
        """Wait until the log has lines with these words; return the last. A daemon that ends before has failed."""
        while sum(words in line for line in self.log) < count:
            assert not self._reader.done(), "\n".join(self.log)
            async with self._changed:
                await self._changed.wait()
        return [line for line in self.log if words in line][-1]

    async def cli(self, *words):
        """Run the command line; return its exit code, stdout and stderr."""
        return await command(*words, "--config", self.config)

    async def ask(self, *words):
        """Run a command that has to succeed and return its JSON."""
        code, out, err = await self.cli(*words, "-o", "json")
        assert code == 0, err
        return json.loads(out)

    async def stop(self, number=signal.SIGTERM):
        """Send a signal and return the exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        code = await self.process.wait()
        await self._reader
        return code


async def start(*words):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "guard", *map(str, words),
        cwd=TREE, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def command(*words):
    process = await start(*words)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def configure(folder, port, *, secret=SECRET, rules=TREE / "rules", more=""):
    config = folder / "astguard.yaml"
    config.write_text(
        f"ami: {{port: {port}, secret: {secret}}}\nfirewall: {{backend: memory}}\nrules: [{rules}]\n"
        f"control: {folder / 'control.sock'}\nstate: {folder / 'state.db'}\n{more}"
    )
    return config


@asynccontextmanager
async def guarding(config, *, until="link to Asterisk"):
    guard = Guard(await start("run", "--config", config), config)
    try:
        await guard.says(until)
        yield guard
    finally:
        await guard.stop()
    assert not any("Traceback" in line or SECRET in line for line in guard.log), "\n".join(guard.log)


@pytest.fixture
def story(tmp_path):
    """Run a story with a scripted Asterisk and a daemon that is logged in there."""

    def tell(told, *, rules=TREE / "rules", more="", **options):
        async def whole():
            async with (
                ScriptedAsterisk(secret=SECRET, **options) as pbx,
                guarding(configure(tmp_path, pbx.port, rules=rules, more=more)) as guard,
            ):
                await told(pbx, guard)

        run(whole())

    return tell


def test_a_recorded_attack_is_banned_shown_and_lifted(story):
    async def told(pbx, guard):
        await pbx.play(SVCRACK)
        line = await guard.says("WARNING ban")
        assert re.search(r"ban 198\.51\.100\.11/32 for 10m rule=pjsip-guessing scope=sip .* strike=1", line)

        (ban,) = await guard.ask("bans", "list")
        assert {key: ban[key] for key in ("source", "rule", "scope", "strike", "offences")} == {
            "source": ATTACKER, "rule": "pjsip-guessing", "scope": "sip", "strike": 1, "offences": 5,
        }  # fmt: skip
        assert 590 < ban["left_seconds"] <= 600
        assert {"since", "until"} <= set(ban)

        status = await guard.ask("status")
        assert (status["bans"], status["link"]["state"], status["link"]["self_test"]) == (1, "up", "ok")
        assert status["counts"]["outcome.banned"] == 1
        assert status["counts"]["events"] == 23
        assert sum(count for name, count in status["counts"].items() if name.startswith("outcome.")) == 23
        assert status["warnings"] == []

        code, _, _ = await guard.cli("bans", "remove", "198.51.100.11")
        assert code == 0
        await guard.says("unban 198.51.100.11/32")
        assert await guard.ask("bans", "list") == []
        code, _, err = await guard.cli("bans", "remove", "198.51.100.11")
        assert (code, "198.51.100.11 is not banned" in err) == (4, True)

    story(told)


def test_a_ban_is_explained_found_in_the_past_and_lifted_with_all_others(story):
    async def told(pbx, guard):
        before = await guard.ask("explain", "198.51.100.11")
        assert (before["known"], before["trail"], before["ban"]) == (False, [], None)
        await pbx.play(SVCRACK)
        await guard.says("WARNING ban")
        known = await guard.ask("explain", "198.51.100.11")
        ban = known["ban"]
        assert (ban["rule"], ban["scope"], ban["by"]) == ("pjsip-guessing", "sip", "event")
        assert 0 <= ban["read_to_kernel_ms"] < 5_000
        assert ban["heard_to_kernel_ms"] >= ban["read_to_kernel_ms"]
        outcomes = [trace["outcome"] for trace in known["trail"]]
        assert (len(outcomes), outcomes[-1], set(outcomes) <= {"folded", "counted", "banned"}) == (16, "banned", True)
        assert known["strikes"] == [
            {"source": ATTACKER, "evidence": "unproven", "strikes": 1, "until": ban["until"]},
        ]  # fmt: skip
        _, page, _ = await guard.cli("explain", "198.51.100.11")
        assert "\nto the kernel  " in page
        assert max(map(len, page.splitlines())) <= 80

        (past,) = await guard.ask("history", "--rule", "pjsip-guessing")
        assert (past["source"], past["ended"], past["length_seconds"]) == (ATTACKER, None, 600)
        assert await guard.ask("history", "--rule", "manual") == []
        await guard.cli("bans", "add", "203.0.113.0/24")
        assert await guard.ask("bans", "flush", "--yes") == {"bans": 2, "stored": True}
        assert await guard.ask("bans", "list") == []
        newest, other = await guard.ask("history", "--since", "1h")
        assert [(past["source"], past["ended"]) for past in (newest, other)] == [
            ("203.0.113.0/24", "unban"), (ATTACKER, "unban"),
        ]  # fmt: skip
        assert [past["rule"] for past in await guard.ask("history", "--address", "198.51.100.0/24")] == [
            "pjsip-guessing"
        ]

    story(told)


def test_who_is_allowed_is_let_in_and_not_banned_again(story):
    async def told(pbx, guard):
        await pbx.play(SVCRACK)
        await guard.says("WARNING ban")
        answer = await guard.ask("allow", "add", "198.51.100.0/24")
        assert answer["lifted"] == ["198.51.100.11/32"]
        await guard.says("unban 198.51.100.11/32")
        await pbx.play(SVCRACK)
        await pbx.play(SVCRACK)
        await pbx.send(pbx.event("InvalidAccountID"))
        status = await guard.ask("status")
        assert status["counts"]["outcome.allowed"] > 30
        assert await guard.ask("bans", "list") == []

    story(told)


def test_who_is_allowed_by_the_configuration_is_never_banned(story, tmp_path):
    async def told(pbx, guard):
        await pbx.play(SVCRACK)
        await pbx.send(pbx.event("InvalidAccountID"))
        (entry,) = [entry for entry in await guard.ask("allow", "list") if entry["source"] == "198.51.100.0/24"]
        assert entry["origin"].startswith(f"{tmp_path / 'astguard.yaml'}:")
        status = await guard.ask("status")
        assert (status["counts"]["outcome.allowed"], status["bans"]) == (23, 0)

    story(told, more="allow: [198.51.100.0/24]\n")


def test_a_ban_ends_on_time_by_the_daemons_own_timer(story, tmp_path):
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "short.yaml").write_text("about: Short.\n" + RULE)

    async def told(pbx, guard):
        await pbx.play(SVCRACK)
        await guard.says("expire 198.51.100.11/32")
        assert await guard.ask("bans", "list") == []
        assert (await guard.ask("status"))["counts"]["bans.expired"] >= 1

    story(told, rules=rules)


def test_what_is_only_observed_is_said_and_not_banned(story):
    async def told(pbx, guard):
        await pbx.play(SVCRACK)
        await guard.says("WARNING would ban 198.51.100.11/32")
        assert await guard.ask("bans", "list") == []

    story(told, more="mode: observe\n")


def test_torn_events_are_told_and_shown_harmless(story):
    async def told(pbx, guard):
        for _ in range(10):
            await pbx.play((CORPUS / "hostile-28.ami").read_bytes())
        await pbx.play(SVCRACK)
        await guard.says("WARNING ban")
        status = await guard.ask("status")
        assert status["counts"]["tampered"] >= 10
        assert any("tampered with" in warning["text"] for warning in status["warnings"])
        code, out, _ = await guard.cli("status")
        assert code == 0
        assert all(line.isprintable() for line in out.splitlines())
        assert [ban["source"] for ban in await guard.ask("bans", "list")] == [ATTACKER]

    story(told)


def test_wrong_credentials_are_told_and_the_daemon_stays(tmp_path):
    async def whole():
        async with ScriptedAsterisk(secret="another") as pbx:
            config = configure(tmp_path, pbx.port)
            async with guarding(config, until="no link to Asterisk") as guard:
                line = await guard.says("refused the login")
                assert "compare username and secret with manager.conf" in line
                status = await guard.ask("status")
                assert status["link"]["state"] == "refused"
                assert any("refused the login" in warning["text"] for warning in status["warnings"])
                assert await guard.stop() == 0

    run(whole())


def test_it_starts_without_asterisk_and_finds_it_later(tmp_path):
    async def whole():
        async with ScriptedAsterisk(secret=SECRET) as pbx:
            await pbx.stop()
            async with guarding(configure(tmp_path, pbx.port), until="connection refused") as guard:
                await pbx.start()
                await guard.says("is up (AMI 11.0.0)")
                await pbx.stop()
                await guard.says("no link to Asterisk", 2)
                await pbx.start()
                await guard.says("is up (AMI 11.0.0)", 2)
                await pbx.logged_in()
                await pbx.play(SVCRACK)
                await guard.says("WARNING ban")

    run(whole())


def test_a_hangup_loses_nothing_and_sigterm_ends_it_in_order(story, tmp_path):
    async def told(pbx, guard):
        guard.process.send_signal(signal.SIGHUP)
        await guard.says("reload: nothing has changed")
        await pbx.play(SVCRACK)
        await guard.says("WARNING ban")
        assert await guard.stop() == 0
        assert "astguard stops: bans=1" in guard.log[-1]
        assert not (tmp_path / "control.sock").exists()
        code, _, err = await guard.cli("status")
        assert (code, "astguard is not running" in err) == (3, True)

    story(told)


def test_a_second_daemon_is_refused_and_the_first_goes_on(story):
    async def told(pbx, guard):
        code, out, err = await command("run", "--config", guard.config)
        assert (code, out) == (1, "")
        last = err.splitlines()[-1]
        assert f"another astguard (process {guard.process.pid}) runs on the state" in last
        assert "Traceback" not in err
        await pbx.play(SVCRACK)
        await guard.says("WARNING ban")
        assert len(await guard.ask("bans", "list")) == 1

    story(told)


def test_without_a_secret_nothing_starts(tmp_path):
    config = tmp_path / "astguard.yaml"
    config.write_text(f"firewall: {{backend: memory}}\ncontrol: {tmp_path / 'control.sock'}\n")
    code, out, err = run(command("run", "--config", config))
    assert (code, out) == (78, "")
    assert "secret" in err
    assert "Traceback" not in err
    assert not (tmp_path / "control.sock").exists()


def test_without_an_ami_user_it_observes_the_logs_and_says_what_is_missing(tmp_path):
    async def whole():
        (tmp_path / "messages").write_text("")
        config = tmp_path / "astguard.yaml"
        config.write_text(
            f"mode: observe\nfirewall: {{backend: memory}}\ncontrol: {tmp_path / 'control.sock'}\n"
            f"rules: [{TREE / 'rules'}]\nstate: {tmp_path / 'state.db'}\n"
            f"logs: {{messages: [{tmp_path / 'messages'}], security: no, timezone: UTC}}\n"
        )
        async with guarding(config, until=f"reading {tmp_path / 'messages'}") as guard:
            assert "no AMI user is set up" in await guard.says("no link to Asterisk")
            with (tmp_path / "messages").open("ab") as file:
                file.write(QUIET_BUS)
            await guard.says("WARNING would ban 198.51.100.11/32")
            status = await guard.ask("status")
            assert status["link"]["state"] == "no user"
            assert any("no AMI user" in warning["text"] for warning in status["warnings"])
            code, out, _ = await guard.cli("check")
            assert (code, "no secret yet: only logs are read" in out) == (0, True)

    run(whole())


QUIET_BUS = (CORPUS / "hostile-57.messages").read_bytes()


def test_an_attack_that_the_bus_is_silent_about_is_banned_from_the_log(story, tmp_path):
    (tmp_path / "messages").write_text("")

    async def told(_, guard):
        await guard.says(f"reading {tmp_path / 'messages'}")
        with (tmp_path / "messages").open("ab") as file:
            file.write(QUIET_BUS)
        line = await guard.says("WARNING ban")
        assert re.search(r"ban 198\.51\.100\.11/32 for 10m rule=\S+ scope=sip evidence=unproven", line)
        status = await guard.ask("status")
        assert {name: status["counts"][f"log.{name}"] for name in ("lines", "muted", "tampered")} == {
            "lines": 30, "muted": 62, "tampered": 0,
        }  # fmt: skip

    story(told, more=f"logs: {{messages: [{tmp_path / 'messages'}], security: no, timezone: UTC}}\n")


def test_what_logger_conf_names_is_read(story, tmp_path):
    (tmp_path / "logger.conf").write_text(f"[logfiles]\n{tmp_path}/messages.log => notice,warning,error\n")
    (tmp_path / "messages.log").write_text("")

    async def told(_, guard):
        await guard.says(f"reading {tmp_path / 'messages.log'}")

    story(told, more=f"logs: {{logger_conf: {tmp_path / 'logger.conf'}}}\n")
