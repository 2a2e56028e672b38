"""The daemon is ended and started again: the memory backend forgets everything then, as a kernel does at a reboot."""

from __future__ import annotations

import asyncio
import re
import signal
import sqlite3

import pytest

from guard.core.units import SECOND
from tests.daemon.linking import SECRET
from tests.daemon.test_service import ATTACKER, SVCRACK, command, configure, guarding
from tests.scripted_asterisk import ScriptedAsterisk, events_of

WRONG = "Challenge: 1795354577/ddc0\r\nResponse: a136\r\nExpectedResponse: "


def lives(tmp_path, *stories, ends=signal.SIGTERM, between=None):
    """Run one daemon after the other on one state, each with its story."""

    async def whole():
        for story in stories:
            async with ScriptedAsterisk(secret=SECRET) as pbx, guarding(configure(tmp_path, pbx.port)) as guard:
                await story(pbx, guard)
                await guard.stop(ends)
            if between:
                between()

    within(whole())


def within(story):
    """Run a story of several lives: each takes a second to start, and ten on a machine that is very busy."""

    async def hurry():
        async with asyncio.timeout(240):
            await story

    asyncio.run(hurry())


async def attacked(pbx, guard):
    await pbx.play(SVCRACK)
    await guard.says("WARNING ban")


@pytest.mark.parametrize("ends", [signal.SIGTERM, signal.SIGKILL])
def test_bans_outlive_a_reboot_with_their_rule_and_strike(tmp_path, ends):
    bans = []

    async def shown(pbx, guard):
        await guard.says("restore: bans=1 ended=0 left_out=0 unreadable=0")
        bans.append(await guard.ask("bans", "list"))
        status = await guard.ask("status")
        assert status["bans"] == 1
        assert not status["warnings"]

    lives(tmp_path, attacked, shown, shown, ends=ends)
    for (ban,) in bans:
        assert {key: ban[key] for key in ("source", "rule", "scope", "strike", "origin")} == {
            "source": ATTACKER, "rule": "pjsip-guessing", "scope": "sip", "strike": 1, "origin": "rule",
        }  # fmt: skip
    assert bans[1][0]["left_seconds"] <= bans[0][0]["left_seconds"] <= 600


def test_the_second_ban_after_a_restart_is_a_rung_higher(tmp_path):
    async def ended(pbx, guard):
        await attacked(pbx, guard)

    def over():
        """Let the ban have been an hour ago."""
        with sqlite3.connect(tmp_path / "state.db") as file:
            for table in ("ban", "strike"):
                file.execute(f"UPDATE {table} SET until = until - ?", (3_600 * SECOND,))
            file.execute("UPDATE ban SET since = since - ?", (3_600 * SECOND,))

    async def again(pbx, guard):
        await guard.says("restore: bans=0 ended=1")
        await pbx.play(SVCRACK)
        assert "strike=2" in await guard.says("WARNING ban")

    lives(tmp_path, ended, again, between=over)


def test_what_was_lifted_stays_lifted_and_what_was_allowed_stays_allowed(tmp_path):
    async def changed(pbx, guard):
        await attacked(pbx, guard)
        answer = await guard.ask("bans", "remove", ATTACKER)
        assert answer["stored"] is True
        assert (await guard.ask("allow", "add", "192.0.2.0/24"))["stored"] is True
        assert (await guard.ask("allow", "add", "203.0.113.9"))["stored"] is True
        assert (await guard.ask("allow", "remove", "203.0.113.9"))["stored"] is True

    async def shown(pbx, guard):
        assert await guard.ask("bans", "list") == []
        allowed = {entry["source"] for entry in await guard.ask("allow", "list") if entry["origin"] == "command"}
        assert allowed == {"192.0.2.0/24"}

    lives(tmp_path, changed, shown, ends=signal.SIGKILL)


def test_what_a_source_has_against_it_outlives_a_clean_stop(tmp_path):
    """The threshold is reached by what came before and what came after, and neither is enough alone."""
    blocks, banned = events_of(SVCRACK), []

    async def before(pbx, guard):
        await pbx.play(blocks[:16])
        while (await guard.ask("status"))["counts"]["events"] < 17:  # its own login is one of them
            pass
        assert await guard.ask("bans", "list") == []

    async def after(pbx, guard):
        await pbx.play(blocks[16:])
        banned.append(await guard.says("WARNING ban"))

    lives(tmp_path, before, after)
    assert "offences=5 events=21" in banned[0]


def test_a_ban_by_hand_is_on_the_disk_when_it_is_answered(tmp_path):
    async def banned(pbx, guard):
        assert (await guard.ask("bans", "add", "203.0.113.9", "--for", "2h", "--reason", "toll fraud"))[
            "stored"
        ] is True

    async def shown(pbx, guard):
        (ban,) = await guard.ask("bans", "list")
        assert (ban["source"], ban["rule"], ban["reason"]) == ("203.0.113.9/32", "manual", "toll fraud")

    lives(tmp_path, banned, shown, ends=signal.SIGKILL)


def test_who_is_allowed_meanwhile_is_not_banned_again(tmp_path):
    async def whole():
        async with ScriptedAsterisk(secret=SECRET) as pbx:
            async with guarding(configure(tmp_path, pbx.port)) as guard:
                await attacked(pbx, guard)
            more = "allow: [198.51.100.0/24]\n"
            async with guarding(configure(tmp_path, pbx.port, more=more)) as guard:
                await guard.says("restore: bans=0 ended=0 left_out=1")
                assert await guard.ask("bans", "list") == []
            async with guarding(configure(tmp_path, pbx.port)) as guard:
                assert await guard.ask("bans", "list") == []

    within(whole())


def test_learnt_ports_are_closed_from_the_start(tmp_path):
    async def knows(pbx, guard):
        assert 5074 in (await guard.ask("status"))["firewall"]["sip_ports"]

    async def elsewhere(pbx, guard):
        await pbx.play(re.sub(rb"(LocalAddress: \S+)/\d+\r", rb"\1/5074\r", SVCRACK))
        await guard.says("learn port")

    lives(tmp_path, elsewhere, knows)


def test_a_damaged_state_is_set_aside_and_the_guard_goes_on(tmp_path):
    (tmp_path / "state.db").write_bytes(b"\x07" * 10_000)

    async def goes_on(pbx, guard):
        line = await guard.says("cannot be used")
        assert "state.db.damaged-" in line
        await attacked(pbx, guard)
        assert len(await guard.ask("bans", "list")) == 1

    async def knows(pbx, guard):
        assert len(await guard.ask("bans", "list")) == 1

    lives(tmp_path, goes_on, knows)


def test_a_state_without_a_folder_is_refused_with_a_remedy(tmp_path):
    async def whole():
        config = configure(tmp_path, 5038)
        config.write_text(config.read_text().replace(str(tmp_path / "state.db"), str(tmp_path / "a/b/state.db")))
        code, _, err = await command("run", "--config", config)
        assert code == 1
        assert re.search(r"there is no folder .*/a/b for the state, .*make it \(mkdir -p .*or change 'state'", err)
        assert "Traceback" not in err

    within(whole())


def test_what_led_to_a_ban_is_shown_and_harmless(tmp_path):
    hostile = "a\x1b[31mb\u202e" + "c" * 300

    async def attack(pbx, guard):
        for number in range(6):
            await pbx.send(pbx.event("ChallengeResponseFailed", account=hostile, session=f"call-{number}", tail=WRONG))
        await guard.says("WARNING ban 198.51.100.7/32")

    async def shown(pbx, guard):
        ban = await guard.ask("bans", "show", "198.51.100.7")
        assert [trace["kind"] for trace in ban["trail"]] == ["ChallengeResponseFailed"] * 5
        trace = ban["trail"][0]
        assert (trace["source"], trace["transport"], trace["port"]) == ("198.51.100.7/32", "UDP", 5060)
        assert trace["account"].startswith("a\\x1b[31mb\\u202ec")
        assert len(trace["account"]) <= 80
        code, out, _ = await guard.cli("bans", "show", "198.51.100.7")
        assert code == 0
        assert out.count("ChallengeResponseFailed") == 5
        assert all(line.isprintable() for line in out.splitlines())

    lives(tmp_path, attack, shown)
