"""What the README quotes is what is there: its rule, its configuration, and what a replay prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from guard.settings.config import parse_config
from tests.arch.tree import REAL

README = (REAL / "README.md").read_text()
RULE, CONFIG = re.findall(r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_rule_is_the_stock_rule():
    assert RULE in (REAL / "rules/pjsip-guessing.yaml").read_text()


def test_the_configuration_is_valid():
    config = parse_config(CONFIG.encode())
    assert config.mode == "observe"
    assert str(config.ami.secret_file) == "/etc/astguard/ami.secret"
    assert (len(config.allow), len(config.allow_names)) == (1, 1)


def test_the_ami_user_is_the_one_of_the_manual():
    (user,) = re.findall(r"^```ini\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert user in (REAL / "docs/asterisk.md").read_text()
    assert len((user + CONFIG).splitlines()) <= 14  # a screen that nobody scrolls


def test_a_replay_prints_what_is_quoted():
    asked, _, answer = README.partition("    $ astguard replay ")[2].partition("\n\n## ")[0].partition("\n")
    done = subprocess.run(
        [sys.executable, "-m", "guard", "replay", "--rules", "rules", asked],
        cwd=REAL,
        env={**os.environ, "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=True,
    )
    shown = [line.removeprefix("    ") for line in answer.splitlines()]
    assert done.stdout.splitlines() == [re.sub(r"in [\d.]+ s", found_time(done.stdout), line) for line in shown]


def test_the_launcher_runs_no_code_of_the_folder_it_is_called_in(tmp_path):
    """That of the package; nor does it take a library from where pip puts them for everybody."""
    launcher = (REAL / "packaging/debian/launcher").read_text()
    assert launcher.startswith("#!/usr/bin/python3 -IB\n")
    (tmp_path / "launcher").write_text(launcher.replace("/usr/share/astguard", str(REAL)))
    (tmp_path / "guard").mkdir()
    for name in ("guard/__init__.py", "guard/__main__.py", "yaml.py"):
        (tmp_path / name).write_text("raise SystemExit('this is not astguard')\n")
    called = [sys.executable, "-IB", tmp_path / "launcher", "rules", "check", REAL / "rules"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(called, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def found_time(text):
    """Give the one part of it that differs each time."""
    return re.search(r"in [\d.]+ s", text)[0]
