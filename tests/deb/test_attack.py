"""What script/demo shows, under systemd: a real attacker on a wire of its own is stopped, and let go again."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.deb.conftest import OTHERS, TREE, timed
from tests.netns import add_address, add_route, link, namespace

PBX, ATTACKER, PHONE = "203.0.113.10", "198.51.100.11", "192.0.2.21"
RECORDING = TREE / "tests/corpus/22.10.1/pjsip-svcrack.ami"
SECRET = "played, not kept"
CONFIG = f'mode: enforce\nami: {{secret: "{SECRET}"}}\n'
SHORT = "service: PJSIP\nevents: [ChallengeResponseFailed]\nthreshold: 5\nwindow: 5m\nban: [4s]\n"
"""The stock rule with a ban that ends while somebody watches."""


@contextmanager
def wired(box):
    """Wire an attacker and a phone to the PBX: `arrives(name)` tells how many of ten packets to SIP's port come in."""
    with namespace("attacker") as attacker, namespace("phone") as phone:
        senders = {}
        for name, place, address in (("attacker", attacker, ATTACKER), ("phone", phone, PHONE)):
            gateway = address.rpartition(".")[0] + ".1"
            link(box.net, place, [f"{gateway}/24"], [f"{address}/24"], names=(name, "eth0"))
            add_route(place, "default", gateway)
            with place.inside():
                senders[name] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        add_address(box.net, f"{PBX}/32", "lo")
        with box.net.inside():
            ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ear.bind((PBX, 5060))
        ear.settimeout(0.3)

        def arrives(name):
            for number in range(10):
                senders[name].sendto(str(number).encode(), (PBX, 5060))
            came = 0
            try:
                while came < 10:
                    ear.recv(100)
                    came += 1
            except TimeoutError:
                pass
            return came

        try:
            yield arrives
        finally:
            for each in (ear, *senders.values()):
                each.close()
            box.net.end()
            box.run("ip", "address", "delete", f"{PBX}/32", "dev", "lo")  # the next test has the same system


@pytest.mark.parametrize("suite", OTHERS)
def test_a_real_attacker_is_stopped_and_let_go_again(suite, installed):
    box = installed(suite)
    with wired(box) as arrives:
        assert (arrives("attacker"), arrives("phone")) == (10, 10)
        box.put("/etc/astguard/rules/pjsip-guessing.yaml", SHORT)
        box.put("/etc/astguard/astguard.yaml", CONFIG, mode=0o640, owner="root:astguard")
        pbx = box.net.start(
            sys.executable, "-m", "tests.scripted_asterisk", "--host", "127.0.0.1", "--port", 5038, "--username",
            "astguard", "--secret", SECRET, "--play", RECORDING, "--speed", 1,
            cwd=TREE, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
        )  # fmt: skip
        box.run("systemctl", "restart", "astguard")
        with timed("from the restart to the ban"):
            box.until(lambda: f"ban {ATTACKER}/32 for 4s" in box.journal(), "the attacker is banned")
        assert (arrives("attacker"), arrives("phone")) == (0, 10)
        with timed("from the ban to its end"):
            box.until(lambda: arrives("attacker") == 10, "the attacker is let go")
        box.until(lambda: f"expire {ATTACKER}/32" in box.journal(), "its end is told, once the kernel has ended it")
        assert pbx.poll() is None

        box.run("astguard", "bans", "add", ATTACKER, "--for", "1h")
        assert (arrives("attacker"), arrives("phone")) == (0, 10)
        box.run("astguard", "bans", "remove", ATTACKER)
        assert (arrives("attacker"), arrives("phone")) == (10, 10)
