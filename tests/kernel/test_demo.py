"""The README's first command does what it says, with the libraries of this test run. It checks itself; so it is run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kernel.conftest import missing

TREE = Path(__file__).parents[2]
DEMO = TREE / "script/demo"
LAST = "The demo is over: the attack was stopped, and this host is as it was before."


def quoted():
    """Give what the README says that the demo prints."""
    text = (TREE / "README.md").read_text().partition("Of what it prints:")[2].partition("**`sudo script/test`**")[0]
    assert text.count("\n") > 10
    return text


def shapes(text):
    """Give the lines of a text, whatever the numbers in them."""
    return {" ".join(re.sub(r"\d+", "N", line).split()) for line in text.splitlines()}


@pytest.fixture
def environment():
    """Give the demo this Python, so that nothing is installed."""
    if missing():
        pytest.skip(missing())
    return {**os.environ, "ASTGUARD_PYTHON": sys.executable}


def test_the_attack_stops_the_phone_goes_on_and_no_trace_is_left(environment):
    done = subprocess.run([DEMO], env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    *_, processes, networks, files, rules, blank, last = done.stdout.splitlines()
    assert (blank, last) == ("", LAST)
    assert [re.split(r" {2,}", line.strip()) for line in (processes, networks, files, rules)] == [
        ["processes", "none left"],
        ["network namespaces", "none left"],
        ["files in /run and /tmp", "none left"],
        ["the host's nft rules", "as before, line for line"],
    ]
    assert shapes(quoted()) <= shapes(done.stdout)
    assert "\x1b" not in done.stdout  # colour is for terminals
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_demo_that_is_told_to_stop_takes_everything_with_it(environment):
    with subprocess.Popen([DEMO], env=environment, stdout=subprocess.PIPE, text=True) as demo:
        for line in demo.stdout:
            if "is up (AMI" in line:
                break
        children = _below(demo.pid)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(20) == 130
    assert len(children) >= 3  # unshare, the demo, the scripted Asterisk and astguard
    deadline = time.monotonic() + 10
    while any(Path("/proc", process).exists() for process in children):
        assert time.monotonic() < deadline, "processes of the demo are left"
        time.sleep(0.01)


def test_a_demo_without_its_libraries_says_what_is_missing(environment, tmp_path):
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    environment["ASTGUARD_PYTHON"] = str(bare)
    done = subprocess.run([DEMO], env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "missing: python3 python3-yaml python3-aiohttp python3-pyroute2 python3-prometheus-client" in done.stderr


def _below(process):
    """List the processes that descend from one."""
    found = []
    for listing in Path("/proc", str(process), "task").glob("*/children"):
        for child in listing.read_text().split():
            found += [child, *_below(child)]
    return found
