"""The README's tour, as a reader would walk it: its configuration, its commands in their order, up to a ban and back."""

from __future__ import annotations

import re

from guard.cli.commandline import commands
from tests.daemon.linking import SECRET, run
from tests.daemon.test_service import SVCRACK, TREE, guarding
from tests.scripted_asterisk import ScriptedAsterisk

README = (TREE / "README.md").read_text()
CONFIG = re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[1]
HERE = """\
  port: {port}
firewall: {{backend: memory}}
rules: [{rules}]
control: {folder}/control.sock
state: {folder}/state.db
"""


def test_from_the_configuration_to_a_ban_and_back(tmp_path):
    config = tmp_path / "astguard.yaml"
    (tmp_path / "ami.secret").write_text(f"{SECRET}\n")
    (tmp_path / "ami.secret").chmod(0o600)

    async def told():
        async with ScriptedAsterisk(secret=SECRET) as pbx:
            text = CONFIG.rstrip() + "\n" + HERE.format(port=pbx.port, rules=TREE / "rules", folder=tmp_path)
            config.write_text(text)
            async with guarding(config) as guard:
                assert (await guard.ask("check"))["mistakes"] == []
                assert (await guard.ask("status"))["mode"] == "observe"
                await pbx.play(SVCRACK)
                await guard.says("would ban 198.51.100.11/32")
                assert await guard.ask("bans", "list") == []

                config.write_text(text.replace("mode: observe", "mode: enforce"))
                assert "mode" in (await guard.ask("reload"))["changed"]
                await pbx.play(SVCRACK.replace(b"198.51.100.11", b"198.51.100.12"))
                await guard.says("WARNING ban 198.51.100.12/32")
                code, page, _ = await guard.cli("explain", "198.51.100.12")
                assert (code, "by pjsip-guessing, SIP ports closed" in page) == (0, True)
                await guard.ask("bans", "remove", "198.51.100.12")
                await guard.ask("allow", "add", "198.51.100.12", "--for", "2h")
                assert (await guard.ask("allow", "test", "198.51.100.12"))["allowed"]
                assert (await guard.ask("pause", "--for", "30m"))["left_seconds"] > 1_700
                await guard.ask("resume")
                (past,) = await guard.ask("history")
                assert past["ended"] == "unban"

    run(told())


def test_every_command_of_its_table_is_one_that_there_is():
    table = README.partition("## Commands")[2].partition("\n## ")[0]
    there = {" ".join(command.words) for command in commands()}
    noun = ""
    for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        for words in re.findall(r"`([^`]+)`", row):
            plain = [word for word in words.removeprefix("astguard ").split() if word.islower() and word[0] != "-"]
            noun = plain[0] if words.startswith("astguard ") else noun
            asked = plain if words.startswith("astguard ") else [noun, *plain]
            assert " ".join(asked) in there, words
