"""The reload of a running daemon: all or nothing, and nothing is lost."""

from __future__ import annotations

import asyncio
import re
import signal

import pytest

from guard.daemon import inputs as module
from guard.daemon.inputs import changes, changes_for_later, read_inputs
from guard.errors import ConfigError
from tests.daemon.linking import CERTIFICATE, SECRET
from tests.daemon.test_service import ATTACKER, CORPUS, SVCRACK, TREE, configure, guarding
from tests.scripted_asterisk import ScriptedAsterisk, events_of

QUIET_BUS = (CORPUS / "hostile-57.messages").read_bytes()
RULE = """\
about: Wrong passwords, counted for a test.
service: PJSIP
events: [ChallengeResponseFailed]
threshold: {threshold}
window: {window}
ban: [10m]
"""


def write_rule(folder, name="own", **changes):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(RULE.format(**({"threshold": 20, "window": "5m"} | changes)))


def wait(seconds, story):
    async def within():
        async with asyncio.timeout(seconds):
            await story

    asyncio.run(within())


@pytest.fixture
def story(tmp_path):
    """Run a story with a scripted Asterisk, a daemon, and a way to write the configuration anew."""

    def tell(told, *, rules=None, more="", **options):
        write_rule(tmp_path / "rules")

        async def whole():
            async with ScriptedAsterisk(secret=SECRET, **options) as pbx:

                def write(more="", **changes):
                    return configure(
                        tmp_path, changes.pop("port", pbx.port), rules=rules or tmp_path / "rules", more=more, **changes
                    )

                async with guarding(write(more)) as guard:
                    await told(pbx, guard, write)

        wait(40, whole())

    return tell


def test_a_lower_threshold_bans_with_what_was_counted_before(story, tmp_path):
    async def told(pbx, guard, write):
        await pbx.play(SVCRACK)
        while (await guard.ask("status"))["counts"]["events"] < 23:
            pass
        assert await guard.ask("bans", "list") == []
        write_rule(tmp_path / "rules", threshold=3)
        answer = await guard.ask("reload")
        assert answer == {"changed": ["rules"], "restart": [], "notes": [], "rules": 1}
        (shown,) = await guard.ask("rules", "list")
        assert shown["threshold"] == 3
        await pbx.play(events_of(SVCRACK.replace(b"SessionID: ", b"SessionID: again-"))[-1:])
        line = await guard.says("WARNING ban")
        assert "offences=7" in line

    story(told)


def test_mistakes_are_all_named_and_nothing_changes(story, tmp_path):
    async def told(pbx, guard, write):
        config = write("mode: maybe\nallow: [198.51.100.0/33]\n")
        (tmp_path / "rules" / "own.yaml").write_text("about: No rule.\nthreshold: none\n")
        code, out, err = await guard.cli("reload", "--socket", str(tmp_path / "control.sock"))
        assert (code, out) == (78, "")
        lines = [line.removeprefix("astguard: ") for line in err.splitlines()]
        assert {line.partition(": ")[0] for line in lines} >= {f"{config}:6:7", f"{config}:7:9"}
        assert any(line.startswith(f"{tmp_path}/rules/own.yaml:") for line in lines)
        for line in lines:
            await guard.says(f"ERROR {line}")
        await guard.says("nothing is reloaded because of that: what was in force before stays so")
        guard.process.send_signal(signal.SIGHUP)
        await guard.says("nothing is reloaded because of that", 2)
        write()
        (shown,) = await guard.ask("rules", "list")
        assert shown["threshold"] == 20
        await pbx.play(SVCRACK)
        assert (await guard.ask("status"))["mode"] == "enforce"
        write_rule(tmp_path / "rules")
        assert (await guard.ask("reload"))["changed"] == []

    story(told)


def test_bans_trust_and_events_go_on_while_everything_else_changes(story, tmp_path):
    async def told(pbx, guard, write):
        await pbx.play(SVCRACK)
        await guard.says("WARNING ban")
        before = await guard.ask("status")
        write("mode: observe\nallow: [192.0.2.7, 203.0.113.0/24]\nunproven_max: 30m\nstatsd: {port: 18125}\n")
        answer = await guard.ask("reload")
        assert answer["changed"] == ["mode", "allow", "unproven_max", "statsd"]
        assert answer["notes"] == ["bans=1 made before stay until their time is over; 'astguard pause' lifts them"]
        status = await guard.ask("status")
        assert (status["mode"], status["bans"]) == ("observe", 1)
        assert status["link"] == before["link"] | {"lag_ms": status["link"]["lag_ms"]}, "the link is not touched"
        allowed = {entry["source"]: entry["origin"] for entry in await guard.ask("allow", "list")}
        assert allowed["192.0.2.7/32"] == f"{tmp_path / 'astguard.yaml'}:7:9"
        assert "203.0.113.0/24" in allowed
        await pbx.play(SVCRACK.replace(b"198.51.100.11", b"198.51.100.99"))
        await guard.says("WARNING would ban 198.51.100.99/32")
        assert [ban["source"] for ban in await guard.ask("bans", "list")] == [ATTACKER]
        write("mode: enforce\nallow: [198.51.100.0/28]\n")
        notes = (await guard.ask("reload"))["notes"]
        assert notes == ["unbanned, because somebody in them is allowed now: 198.51.100.11"]
        assert await guard.ask("bans", "list") == []

    story(told, rules=TREE / "rules")


def test_what_only_a_start_can_change_is_named_each_time(story, tmp_path):
    async def told(pbx, guard, write):
        config = write()
        text = config.read_text().replace("control.sock", "other.sock").replace("state.db", "other.db")
        config.write_text(text.replace("backend: memory", "backend: nftables"))
        for _ in range(2):
            code, out, err = await guard.cli("reload", "--socket", str(tmp_path / "control.sock"))
            assert (code, out) == (0, "reloaded: nothing changed\n")
            assert [line.partition(" has changed too")[0] for line in err.splitlines()] == [
                "astguard: firewall.backend", "astguard: state", "astguard: control",
            ]  # fmt: skip
        await guard.says("WARNING control has changed too, and holds from the next start on", 2)

    story(told)


def test_another_asterisk_is_gone_to_at_once_and_the_old_one_left(story):
    async def told(pbx, guard, write):
        async with ScriptedAsterisk(secret="another") as other:
            write(port=other.port, secret="another")
            assert (await guard.ask("reload"))["changed"] == ["ami"]
            await guard.says("is up (AMI 11.0.0)", 2)
            await other.logged_in()
            await other.play(SVCRACK)
            await guard.says("WARNING ban")
            status = await guard.ask("status")
            assert str(other.port) in status["link"]["asterisk"]
            assert status["counts"]["link.lost"] == 0
            write()
            await guard.ask("reload")
            await guard.says("is up (AMI 11.0.0)", 3)
            await pbx.logged_in()

    story(told, rules=TREE / "rules")


def test_a_wrong_secret_is_found_out_and_mended_by_reloads(story):
    async def told(pbx, guard, write):
        write(secret="wrong")
        await guard.ask("reload")
        await guard.says("refused the login")
        write()
        await guard.ask("reload")
        await guard.says("is up (AMI 11.0.0)", 2)

    story(told)


def test_no_line_of_a_log_is_lost_when_another_log_is_read_too(story, tmp_path):
    messages, other = tmp_path / "messages", tmp_path / "other"
    messages.write_text("")
    other.write_text("an old line\n")

    def logs(*files):
        named = ", ".join(map(str, files))
        return f"logs: {{messages: [{named}], security: no, timezone: UTC}}\n"

    async def told(pbx, guard, write):
        await guard.says(f"reading {messages}")
        lines = QUIET_BUS.splitlines(keepends=True)
        for number, line in enumerate(lines):
            with messages.open("ab") as file:
                file.write(line)
            if number in (20, 40, 60):
                write(logs(messages, other) if number != 40 else logs(messages))
                assert (await guard.ask("reload"))["changed"] == ["logs"]
        while (status := await guard.ask("status"))["counts"]["log.muted"] < 62:
            pass
        assert {name: status["counts"][f"log.{name}"] for name in ("lines", "muted", "tampered")} == {
            "lines": 30, "muted": 62, "tampered": 0,
        }  # fmt: skip

    story(told, rules=TREE / "rules", more=logs(messages))


def test_several_hangups_at_once_are_one_after_the_other(story, tmp_path):
    async def told(pbx, guard, write):
        for threshold in (3, 4, 5):
            write_rule(tmp_path / "rules", threshold=threshold)
            guard.process.send_signal(signal.SIGHUP)
        answers = [await guard.ask("reload") for _ in range(2)]
        assert answers[-1]["changed"] == []
        (shown,) = await guard.ask("rules", "list")
        assert shown["threshold"] == 5

    story(told)


def test_who_is_paused_stays_paused_over_a_reload_and_a_restart(tmp_path):
    write_rule(tmp_path / "rules", threshold=3)

    async def whole():
        async with ScriptedAsterisk(secret=SECRET) as pbx:
            config = configure(tmp_path, pbx.port, rules=TREE / "rules")
            async with guarding(config) as guard:
                await pbx.play(SVCRACK)
                await guard.says("WARNING ban")
                answer = await guard.ask("pause", "--for", "1h")
                assert (answer["bans"], answer["stored"], 3590 < answer["left_seconds"] <= 3600) == (1, True, True)
                config = configure(tmp_path, pbx.port, rules=tmp_path / "rules")
                assert (await guard.ask("reload"))["changed"] == ["rules"]
                assert (await guard.ask("status"))["paused"]["left_seconds"] > 3500
                assert await guard.stop(signal.SIGKILL) != 0
            async with guarding(config, until="astguard is up") as guard:
                await guard.says("still paused, for 59m")
                status = await guard.ask("status")
                assert (status["bans"], status["mode"], 3500 < status["paused"]["left_seconds"] < 3600) == (
                    1, "observe", True,
                )  # fmt: skip
                assert [warning["text"] for warning in status["warnings"]] == ["paused: nobody is kept out"]
                code, out, _ = await guard.cli("status")
                assert re.search(r"^mode +PAUSED: nobody is kept out, for 59m\d+s more$", out, re.MULTILINE)
                code, _, err = await guard.cli("bans", "add", "203.0.113.9", "--force")
                assert (code, "astguard is paused and bans nobody" in err) == (1, True)
                assert await guard.ask("resume") == {"bans": 1, "stored": True}
            async with guarding(config, until="astguard is up") as guard:
                assert (await guard.ask("status"))["paused"] is None

    wait(60, whole())


def test_a_timed_entry_outlives_a_restart_with_the_time_it_has_left(tmp_path):
    async def whole():
        async with ScriptedAsterisk(secret=SECRET) as pbx:
            config = configure(tmp_path, pbx.port)
            async with guarding(config) as guard:
                answer = await guard.ask("allow", "add", "198.51.100.0/24", "--for", "1h")
                assert (answer["origin"], answer["stored"], answer["lifted"]) == ("command", True, [])
                await guard.ask("allow", "add", "203.0.113.7", "--for", "1s")
                await guard.says("disallow 203.0.113.7/32: its time is over")
                guard.process.send_signal(signal.SIGHUP)
                await guard.says("reload: nothing has changed")
                assert await guard.stop(signal.SIGKILL) != 0
            async with guarding(config) as guard:
                found = {entry["source"]: entry for entry in await guard.ask("allow", "list")}
                assert 3500 < found["198.51.100.0/24"]["left_seconds"] < 3600
                assert "203.0.113.7/32" not in found
                await pbx.play(SVCRACK)
                code, _, err = await guard.cli("bans", "add", "198.51.100.7", "--force")
                assert (code, "198.51.100.0/24 is on the allowlist (command)" in err) == (1, True)

    wait(60, whole())


# What is read.


@pytest.fixture
def files(tmp_path):
    write_rule(tmp_path / "rules")
    (tmp_path / "logger.conf").write_text("[logfiles]\nmessages => notice\n")
    return tmp_path


def read(files, text="", ami="{secret: pssst}"):
    path = files / "astguard.yaml"
    logs = "" if "logs:" in text else f"logs: {{logger_conf: {files / 'logger.conf'}}}\n"
    path.write_text(f"ami: {ami}\nrules: [rules]\n{logs}{text}")
    return read_inputs(path)


@pytest.mark.parametrize(
    ("text", "changed", "later"),
    [
        ("", [], []),
        ("# a comment\n", [], []),
        ("mode: observe\n", ["mode"], []),
        ("allow: [192.0.2.1, sip.example]\n", ["allow"], []),
        ("firewall: {sip_ports: [4569, 5061, 5060]}\n", [], []),
        ("firewall: {sip_ports: [5060]}\n", ["firewall.sip_ports"], []),
        ("firewall: {slow_rate: 6}\n", ["firewall.slow_rate"], []),
        ("unproven_max: 10m\n", ["unproven_max"], []),
        ("statsd: {port: 8126}\n", ["statsd"], []),
        ("logs: {messages: no}\n", ["logs"], []),
        ("state: other.db\ncontrol: other.sock\nfirewall: {backend: memory}\n", [], ["firewall.backend", "state", "control"]),
    ],
)  # fmt: skip
def test_what_differs_is_named(files, text, changed, later):
    old, new = read(files), read(files, text)
    assert (changes(old, new), changes_for_later(old, new)) == (changed, later)


def test_what_the_files_hold_that_are_only_named_is_compared_too(files):
    secret, ca = files / "secret", files / "ca.pem"
    secret.write_text("pssst\n")
    secret.chmod(0o600)
    ca.write_bytes(CERTIFICATE.read_bytes())
    ami = "{secret_file: secret, tls: yes, tls_ca: ca.pem, host: pbx.example}"
    first = read(files, ami=ami)
    assert changes(first, read(files, "# moved\n", ami=ami)) == []
    secret.write_text("other\n")
    second = read(files, ami=ami)
    assert changes(first, second) == ["ami"]
    ca.write_bytes(CERTIFICATE.read_bytes() + b"\n")
    assert changes(second, read(files, ami=ami)) == ["ami"]
    (files / "logger.conf").write_text("[logfiles]\nother => notice\n")
    write_rule(files / "rules", threshold=7)
    assert changes(second, read(files, ami=ami)) == ["rules", "ami", "logs"]


def test_the_mistakes_of_all_files_are_reported_at_once(files):
    with pytest.raises(ConfigError) as caught:
        read(files, ami="{username: astguard}")
    assert [line.partition(": ")[2][:20] for line in caught.value.mistakes] == ["'ami' has no secret;"]
    (files / "rules" / "own.yaml").write_text("about: No rule.\n")
    with pytest.raises(ConfigError) as caught:
        read(files, "mode: maybe\n")
    places = {line.split(":")[0].rpartition("/")[2] for line in caught.value.mistakes}
    assert places == {"astguard.yaml", "own.yaml"}


def test_a_folder_that_may_not_be_entered_is_a_mistake_in_words(files, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(module, "load_config", refuse)
    with pytest.raises(ConfigError, match=r"astguard.yaml:1:1: cannot be read: Permission denied"):
        read(files)


def test_a_reload_in_a_pause_lets_no_rule_ban_again(story, tmp_path):
    """Whoever pressed the button has not let go because somebody edits a file."""

    async def told(pbx, guard, write):
        await guard.ask("pause")
        write(more="mode: enforce\nallow: [192.0.2.0/24]\n")
        write_rule(tmp_path / "rules", threshold=3)
        await guard.ask("reload")
        await pbx.play(SVCRACK)
        while (await guard.ask("status"))["counts"]["events"] < 23:
            pass
        assert await guard.ask("bans", "list") == []
        assert (await guard.ask("resume"))["bans"] == 0

    story(told)
