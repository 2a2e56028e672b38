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
    (box.root / "srv/ask.bash").write_text(
        ". /usr/share/bash-completion/bash_completion\n. /usr/share/bash-completion/completions/astguard\n"
        "COMP_WORDS=(astguard bans sh) COMP_CWORD=2 COMP_LINE='astguard bans sh' COMP_POINT=16\n"
        '_astguard; echo "${COMPREPLY[@]}"\n'
    )
    box.run("astguard", "bans", "add", "198.51.100.7", "--for", "10m")
    assert box.run("bash", "/srv/ask.bash").strip() == "show"
    text = (box.root / "srv/ask.bash").read_text().replace("bans sh)", "bans show '')").replace("CWORD=2", "CWORD=3")
    (box.root / "srv/ask.bash").write_text(text)
    assert box.run("bash", "/srv/ask.bash").strip() == "198.51.100.7"
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


def test_what_its_journal_says_is_no_news_to_logcheck(installed):
    """Ordinary lines are expected, a ban is expected, and a warning of any other kind is told of."""
    box = installed(FULL)
    box.run("systemctl", "restart", "astguard")
    lines = box.run("journalctl", "--no-pager", "-o", "short-iso-precise", "-u", "astguard", "_COMM=astguard")
    patterns = "/etc/logcheck/ignore.d.server/astguard"
    (box.root / "srv/lines").write_text(
        "".join(f"{line}\n" for line in lines.splitlines() if " WARNING " not in line and "-- " not in line)
        + "2026-11-24T10:00:00.000000+0000 box astguard[7]: WARNING ban 198.51.100.7/32 for 10m rule=pjsip-guessing scope=sip evidence=unproven strike=1 offences=5 events=21\n"
    )
    assert box.try_("grep", "-Evf", patterns, "/srv/lines").stdout == ""
    assert len((box.root / "srv/lines").read_text().splitlines()) > 3
    (box.root / "srv/news").write_text(
        "2026-11-24T10:00:00.000000+0000 box astguard[7]: WARNING alarm guessed-password 198.51.100.7\n"
    )
    assert box.try_("grep", "-Evf", patterns, "/srv/news").stdout != ""


def test_needrestart_has_nothing_to_say_about_it_after_an_upgrade(installed, older_deb, deb):
    box = installed(FULL, older_deb)
    install(box, deb)
    said = box.run("needrestart", "-b", "-r", "l")
    assert "NEEDRESTART-SVC: astguard" not in said
