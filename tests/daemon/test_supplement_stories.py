"""The whole daemon with supplements: notices once, the page's own example, and one that never returns."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from datetime import datetime
from pathlib import Path

import pytest

from tests.daemon.linking import SECRET, run
from tests.daemon.supplementing import Site
from tests.daemon.test_notice_servers import Post, Server, serving
from tests.daemon.test_service import ATTACKER, SVCRACK, Guard, command, configure, guarding, start
from tests.scripted_asterisk import ScriptedAsterisk

PAGE = (Path(__file__).parents[2] / "docs/supplements.md").read_text()


@pytest.fixture
def site(monkeypatch):
    site = Site()
    monkeypatch.setenv("PYTHONPATH", str(site.path))
    yield site
    site.remove()


def tell(told, **options):
    async def whole():
        async with ScriptedAsterisk(secret=SECRET, **options) as pbx:
            await told(pbx)

    run(whole())


async def until(true):
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110 - a server in a thread
            await asyncio.sleep(0.02)


def test_a_ban_is_told_once_and_never_again_after_a_restart(tmp_path):
    secret = tmp_path / "hook.url"
    with serving(Server(200)) as web, serving(Post()) as post:
        secret.touch(0o600)
        secret.write_text(web.url)
        more = f"""
supplements:
  - {{name: webhook, options: {{url_file: {secret}}}}}
  - {{name: mail, options: {{to: root, server: 127.0.0.1, port: {post.server_address[1]}}}}}
"""

        async def told(pbx):
            config = configure(tmp_path, pbx.port, more=more)
            code, out, err = await command("check", "--config", config)
            assert (code, "supplements: webhook, mail" in out) == (0, True), err
            async with guarding(config) as guard:
                await guard.says("supplements are up")
                await pbx.play(SVCRACK)
                await guard.says("WARNING ban")
                await until(lambda: web.got and post.mails)
                status = await guard.ask("status")
                assert (status["warnings"], status["counts"]["supplements.dropped"]) == ([], 0)
                assert "s3cret" not in json.dumps(status)
                assert not any("s3cret" in line for line in guard.log)
            async with guarding(config, until="supplements are up") as guard:
                assert [ban["source"] for ban in await guard.ask("bans", "list")] == [ATTACKER]
                await guard.cli("bans", "add", "203.0.113.9")
                await until(lambda: len(web.got) == 2 and len(post.mails) == 2)

        tell(told)
        first, second = ([ban["address"] for ban in json.loads(body)["bans"]] for _, _, body in web.got)
        assert (first, second) == ([ATTACKER.removesuffix("/32")], ["203.0.113.9"])


def install_the_example(site):
    """Install what docs/supplements.md shows, word for word; return the section of the configuration that goes with it."""
    project, code = (
        re.search(rf"## An example\n.*?```{language}\n(.*?)```", PAGE, re.DOTALL)[1] for language in ("toml", "python")
    )
    name, target = re.search(r'(\w+) = "(\w+:\w+)"', project).groups()
    folder = site.path / "example-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: example\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[astguard.supplements]\n{name} = {target}\n")
    (site.path / f"{target.partition(':')[0]}.py").write_text(code)
    return re.search(r"## An example\n.*?```yaml\n(.*?)```", PAGE, re.DOTALL)[1]


def test_the_example_of_the_page_runs_in_the_guard_in_its_child_and_in_a_replay(tmp_path, site):
    more = install_the_example(site)

    async def told(pbx):
        config = configure(tmp_path, pbx.port, more=more)
        async with guarding(config) as guard:
            await guard.says("supplements are up")
            await pbx.play(SVCRACK)
            assert " for 2m rule=pjsip-guessing" in await guard.says("WARNING ban")
            await guard.says("198.51.100.11 for 120 s by pjsip-guessing")
            assert (await guard.ask("status"))["counts"]["bans.shortened"] == 1
            (tmp_path / "capture.ami").write_bytes(SVCRACK)
            replayed = await guard.ask("replay", tmp_path / "capture.ami")
            assert [ban["source"] for ban in replayed["bans"]] == [ATTACKER]
            at, end = (datetime.fromisoformat(replayed["bans"][0][key]) for key in ("at", "until"))
            assert (end - at).total_seconds() == 120
            config.write_text(config.read_text().replace("before_ban: yes", "before_ban: no"))
            assert (await guard.ask("reload"))["changed"] == ["supplements"]
            await guard.says("supplements are up", 2)
            await guard.cli("bans", "remove", ATTACKER)

    tell(told)


def test_one_that_never_returns_is_left_off_after_the_watchdog_has_ended_the_guard(tmp_path, site):
    site.install("hangs", """
        class make:
            def __init__(self, options): pass
            def before_ban(self, ban):
                while True: pass
    """)  # fmt: skip

    async def told(pbx):
        config = configure(tmp_path, pbx.port, more="supplements: {name: hangs, before_ban: yes}\n")
        mark = tmp_path / "state.db.asking"
        hung = Guard(await start("run", "--config", config), config)
        await hung.says("link to Asterisk")
        play = asyncio.create_task(pbx.play(SVCRACK))
        await until(lambda: mark.read_bytes()[:1] == b"\x01")
        assert await hung.stop(signal.SIGABRT) == -signal.SIGABRT, "as systemd's watchdog does"
        assert any("before_ban" in line for line in hung.log), "the journal shows where it stood"
        play.cancel()
        await asyncio.gather(play, return_exceptions=True)

        restarted = Guard(await start("run", "--config", config), config)
        line = await restarted.says("alarm supplement-off")
        assert "supplement hangs is no longer asked before a ban: astguard was ended while it was being asked" in line
        await restarted.says("link to Asterisk")
        await pbx.play(SVCRACK)
        await restarted.says("WARNING ban")
        (warning,) = (await restarted.ask("status"))["warnings"]
        assert warning["text"].startswith("supplement hangs: astguard was ended while it was being asked")
        assert "astguard reload" in warning["remedy"]
        await restarted.stop(signal.SIGKILL)

        third = Guard(await start("run", "--config", config), config)
        await third.says("alarm supplement-off")  # a crash gives no new chance; a clean stop does
        await third.stop()
        async with guarding(config) as guard:
            assert not any("supplement-off" in line for line in guard.log)

    tell(told)


def test_one_that_is_not_installed_keeps_the_guard_from_starting_and_says_where(tmp_path):
    async def told():
        config = configure(tmp_path, 1, more="supplements:\n  - {name: webhok}\n")
        for verb in ("check", "run"):
            code, _, err = await command(verb, "--config", config)
            assert (code, f"{config}:7:12: no supplement 'webhok' is installed; did you mean 'webhook'?" in err) == (
                78,
                True,
            )

    run(told())
