"""Installed in a booted system of each suite: it runs, confined, it observes, and everything it brings works there."""

from __future__ import annotations

import json
import re

import pytest

from tests.deb.conftest import install, timed
from tests.deb.image import FULL, SUITES, TREE

NET_ADMIN = 1 << 12
EXPOSURE = 1.5


@pytest.mark.parametrize("suite", SUITES)
def test_it_installs_runs_confined_and_observes(suite, boot, deb):
    box = boot(suite)
    said = install(box, deb)
    hints = [line for line in said.splitlines() if line.startswith("astguard ")]
    assert len(hints) == 1, said
    assert "bans nobody yet. Next: sudo astguard setup" in hints[0]
    assert box.shows("ActiveState") == "active"
    assert box.run("systemctl", "is-enabled", "astguard").strip() == "enabled"
    assert box.run("systemctl", "is-system-running").strip() == "running"

    status = json.loads(box.run("astguard", "status", "-o", "json"))
    assert (status["mode"], status["link"]["state"]) == ("observe", "no user")
    assert any("no AMI user is set up" in warning["text"] for warning in status["warnings"])
    assert "table inet astguard" in box.run("nft", "list", "tables")
    assert "observe, link no user, 0 bans" in box.shows("StatusText")

    process = (box.root / "proc" / box.shows("MainPID")).name
    told = dict(re.findall(r"^(\w+):\s*(.*)$", box.run("cat", f"/proc/{process}/status"), re.MULTILINE))
    uid = int(box.run("id", "-u", "astguard"))
    assert set(map(int, told["Uid"].split())) == {uid}
    assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == NET_ADMIN
    assert told["NoNewPrivs"] == "1"
    with timed("ask systemd how exposed it is"):
        level = re.search(r"level for astguard.service: ([\d.]+)", box.run("systemd-analyze", "security", "astguard"))[
            1
        ]
    assert float(level) <= EXPOSURE

    version, commit, *rest = box.run("astguard", "--version", "--verbose").splitlines()
    assert version == f"astguard {box.run('dpkg-query', '-f', '${Version}', '-W', 'astguard')}"
    assert re.fullmatch(r"commit [0-9a-f]{40}(-dirty)?", commit)
    assert "from /usr/share/astguard/guard" in rest
    cases = box.run("astguard", "rules", "test")
    assert len(re.findall(r"^pjsip-guessing .* ok$", cases, re.MULTILINE)) > 2, cases
    assert "configuration: /etc/astguard/astguard.yaml, no mistakes" in box.run("astguard", "check")
    assert box.run("stat", "-c", "%a %U %G", "/etc/astguard/astguard.yaml").split() == ["640", "root", "astguard"]
    assert box.run("stat", "-c", "%a %U %G", "/run/astguard/astguard.sock").split() == ["660", "astguard", "astguard"]
    assert box.run("dpkg", "--verify", "astguard") == ""
    refused = box.try_("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "astguard", "status")
    assert (refused.returncode, "no permission" in refused.stderr) == (3, True)


def test_its_pages_and_completions_work(installed):
    box = installed(FULL)
    for page, word in (("astguard", "bans remove"), ("astguard.yaml", "secret_file"), ("astguard-rules", "threshold")):
        assert word in box.run("man", "-P", "cat", page)
    box.run("astguard", "bans", "add", "198.51.100.7", "--for", "10m")
    for words, answer in ((["bans", "sh"], "show"), (["bans", "show", ""], "198.51.100.7")):
        line = " ".join(["astguard", *words])
        box.put(
            "/srv/ask.bash",
            ". /usr/share/bash-completion/bash_completion\n. /usr/share/bash-completion/completions/astguard\n"
            f"COMP_WORDS=(astguard {' '.join(word or chr(39) * 2 for word in words)}) COMP_CWORD={len(words)}\n"
            f"COMP_LINE='{line}' COMP_POINT={len(line)}\n_astguard; echo \"${{COMPREPLY[@]}}\"\n",
        )
        assert box.run("bash", "/srv/ask.bash").strip() == answer
    assert "--reason" in box.run("fish", "-c", "complete -C 'astguard bans add --re'")
    assert box.run("zsh", "-fc", "autoload -U compinit && compinit -u && echo $_comps[astguard]").strip() == "_astguard"


def test_autopkgtest_passes_in_it(installed, deb):
    """Debian's own way to test an installed package, with the tests that the source package brings."""
    box = installed(FULL)
    source = box.root / "srv/source"
    (source / "debian/tests").mkdir(parents=True)
    for file in ("changelog", "control", "tests/control", "tests/smoke"):
        (source / "debian" / file).write_bytes((TREE / "packaging/debian" / file).read_bytes())
    (source / "debian/tests/smoke").chmod(0o755)
    with timed("autopkgtest"):
        done = box.try_("autopkgtest", "-B", "--no-built-binaries", f"/srv/{deb.name}", "/srv/source", "--", "null")
    assert re.search(r"^smoke +PASS", done.stdout, re.MULTILINE), done.stdout[-3000:] + done.stderr[-3000:]


def test_what_its_journal_says_is_no_news_to_logcheck_unless_it_is(installed):
    """Ordinary lines and bans are expected; a link that is missing and an alarm are told of."""
    box = installed(FULL)
    box.run("astguard", "bans", "add", "198.51.100.7", "--for", "10m")
    box.run("systemctl", "restart", "astguard")
    box.run("astguard", "bans", "remove", "198.51.100.7")
    lines = box.run(
        "journalctl", "--no-pager", "-o", "short-iso-precise", "-u", "astguard", "_COMM=astguard"
    ).splitlines()
    own = [line for line in lines if " astguard[" in line]
    assert len(own) > 6, lines
    (box.root / "srv/lines").write_text("".join(f"{line}\n" for line in own))
    told = box.try_("grep", "-Evf", "/etc/logcheck/ignore.d.server/astguard", "/srv/lines").stdout.splitlines()
    assert [line for line in told if "no link to Asterisk" not in line and "no 'messages' log" not in line] == []
    assert any("no link to Asterisk" in line for line in told)
    alarm = own[0].partition("]: ")[0] + "]: alarm guessed-password 198.51.100.7\n"
    (box.root / "srv/lines").write_text(alarm)
    assert box.try_("grep", "-Evf", "/etc/logcheck/ignore.d.server/astguard", "/srv/lines").stdout == alarm


def test_needrestart_has_nothing_to_say_about_it_after_an_upgrade(installed, older_deb, deb):
    box = installed(FULL, older_deb)
    install(box, deb)
    said = box.run("needrestart", "-b", "-r", "l")
    assert "NEEDRESTART-SVC: astguard" not in said
