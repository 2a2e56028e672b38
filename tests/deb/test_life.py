"""The service's life: it comes back whatever happens to it, keeps its bans, and leaves when it is told to."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.deb.conftest import OTHERS, TREE, install, timed
from tests.scripted_asterisk import BANNER, events_of

ATTACKER = "198.51.100.7"
PHONE, GUESSER = "192.0.2.21", "198.51.100.11"
"""Of the recordings."""


@pytest.fixture(params=OTHERS)
def box(request, installed):
    """A system with the package in it, and a ban."""
    box = installed(request.param)
    box.run("astguard", "bans", "add", ATTACKER, "--for", "1h", "--reason", "by hand")
    return box


def banned(box, address=ATTACKER):
    """Tell how many seconds the kernel still holds a ban for; None if it holds none."""
    said = box.try_("nft", "-j", "list", "table", "inet", "astguard").stdout
    for line in json.loads(said or '{"nftables": []}')["nftables"]:
        for element in line.get("set", {}).get("elem", ()):
            inner = element.get("elem", {}) if isinstance(element, dict) else {}
            if inner.get("val") == address:
                return inner.get("expires")
    return None


def restarted(box, before, what, seconds=15):
    """Wait until another process is up and in order."""
    with timed(f"{what}, until it is up again"):
        box.until(
            lambda: box.shows("MainPID") not in {before, "0"} and box.shows("ActiveState") == "active", what, seconds
        )


def test_whatever_ends_it_it_comes_back_and_no_ban_is_gone_meanwhile(box):
    process = box.shows("MainPID")
    box.run("kill", "-9", process)
    assert banned(box) > 3500
    restarted(box, process, "killed")
    assert banned(box) > 3500
    (ban,) = json.loads(box.run("astguard", "bans", "list", "-o", "json"))
    assert (ban["source"], ban["rule"]) == (f"{ATTACKER}/32", "manual")

    process = box.shows("MainPID")
    box.run("systemctl", "restart", "astguard")
    assert box.shows("MainPID") != process
    assert banned(box) > 3500

    box.run("systemctl", "stop", "astguard")
    assert banned(box) > 3500
    box.run("systemctl", "start", "astguard")
    assert json.loads(box.run("astguard", "bans", "list", "-o", "json"))


def test_a_hung_loop_is_killed_by_the_watchdog_and_started_anew(box):
    """Stopped, it hangs as a loop without end does; the watchdog is shortened, or the test would take its half minute."""
    box.put("/etc/systemd/system/astguard.service.d/quick.conf", "[Service]\nWatchdogSec=2\nTimeoutAbortSec=2\n")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "astguard")
    process = box.shows("MainPID")
    box.run("kill", "-STOP", process)
    restarted(box, process, "hung", 30)
    assert "Watchdog timeout" in box.journal("astguard", "-n", "400")
    assert banned(box) > 3400
    assert box.shows("NRestarts") == "1"


def test_a_mistake_in_the_configuration_is_said_once_and_not_tried_again(box):
    good = box.run("cat", "/etc/astguard/astguard.yaml")
    box.put("/etc/astguard/astguard.yaml", good + "threshold: 3\n", mode=0o640, owner="root:astguard")
    assert box.try_("systemctl", "restart", "astguard").returncode != 0
    assert (box.shows("ActiveState"), box.shows("ExecMainStatus"), box.shows("NRestarts")) == ("failed", "78", "0")
    assert re.search(r"/etc/astguard/astguard.yaml:\d+:1: ", box.journal())
    assert banned(box) > 3500  # what is in the kernel stays there
    box.put("/etc/astguard/astguard.yaml", good, mode=0o640, owner="root:astguard")
    box.run("systemctl", "start", "astguard")
    assert json.loads(box.run("astguard", "bans", "list", "-o", "json"))


def test_bans_are_in_the_kernel_before_it_is_ready_and_before_asterisk_starts(box):
    """As after a reboot: the kernel is empty, and both start in one go."""
    box.run("systemctl", "stop", "astguard")
    box.run("nft", "flush", "ruleset")
    look = f"nft list table inet astguard | grep -q {ATTACKER}"
    lines = f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c '{look}'\n"
    box.put("/etc/systemd/system/asterisk.service", lines)
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "start", "astguard", "asterisk")  # two jobs at once, as at boot; the order is the unit's
    assert banned(box) > 3400
    box.sh("systemctl stop asterisk; rm /etc/systemd/system/asterisk.service; systemctl daemon-reload")


def test_a_reload_takes_a_right_configuration_and_refuses_a_wrong_one_aloud(box):
    process, good = box.shows("MainPID"), box.run("cat", "/etc/astguard/astguard.yaml")
    box.put("/etc/astguard/astguard.yaml", good + "allow: [192.0.2.0/24]\n", mode=0o640, owner="root:astguard")
    box.run("systemctl", "reload", "astguard")
    assert "192.0.2.0/24" in box.run("astguard", "allow", "list")
    box.put("/etc/astguard/astguard.yaml", good + "threshold: 3\n", mode=0o640, owner="root:astguard")
    assert box.try_("systemctl", "reload", "astguard").returncode != 0
    assert re.search(r"/etc/astguard/astguard.yaml:\d+:1: ", box.journal())
    assert (box.shows("MainPID"), box.shows("ActiveState")) == (process, "active")
    assert "192.0.2.0/24" in box.run("astguard", "allow", "list")
    assert banned(box) > 3400


def test_the_secret_may_come_from_systemd(box):
    box.put("/srv/secrets/pbx", "open-sesame-73\n", mode=0o600)
    box.put(
        "/etc/systemd/system/astguard.service.d/secret.conf", "[Service]\nLoadCredential=ami.secret:/srv/secrets/pbx\n"
    )
    config = "mode: enforce\nami: {secret_file: $CREDENTIALS_DIRECTORY/ami.secret}\n"
    box.put("/etc/astguard/astguard.yaml", config, mode=0o640, owner="root:astguard")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "astguard")
    # There is no Asterisk, but a user to be.
    box.until(lambda: "connection refused" in box.run("astguard", "status"), "it tries to log in")
    assert json.loads(box.run("astguard", "status", "-o", "json"))["mode"] == "enforce"
    assert "its secret comes from systemd, unseen from here" in box.run("astguard", "check")
    assert "open-sesame" not in box.journal() + box.run("systemctl", "show", "astguard")


def test_plain_root_works_too(box):
    """Whoever does not want the user: as PID 0's own, with all that root may."""
    lines = "[Service]\nUser=root\nGroup=root\nAmbientCapabilities=\nCapabilityBoundingSet=~\n"
    box.put("/etc/systemd/system/astguard.service.d/root.conf", lines)
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "astguard")
    assert box.run("stat", "-c", "%U", f"/proc/{box.shows('MainPID')}").strip() == "root"
    box.run("astguard", "bans", "remove", ATTACKER)
    assert banned(box) is None


def test_the_drop_in_for_ipset_and_iptables_is_all_that_backend_needs(box):
    """With its capability, its modules and the lock of all iptables commands; removal takes that backend's things too."""
    box.sh("mkdir -p /etc/systemd/system/astguard.service.d")
    box.run("ln", "-s", "/usr/share/astguard/systemd/iptables.conf", "/etc/systemd/system/astguard.service.d/")
    config = box.run("cat", "/etc/astguard/astguard.yaml") + "firewall: {backend: iptables}\n"
    box.put("/etc/astguard/astguard.yaml", config, mode=0o640, owner="root:astguard")
    box.run("astguard", "pause")  # of nftables, which goes on holding what it holds
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "astguard")
    box.run("astguard", "resume")
    box.run("astguard", "bans", "add", "198.51.100.8", "--for", "1h")
    status = json.loads(box.run("astguard", "status", "-o", "json"))
    assert status["firewall"]["backend"] == "iptables"
    assert "198.51.100.8 timeout" in box.run("ipset", "list")
    assert "ASTGUARD" in box.run("iptables-legacy", "-t", "raw", "-S")
    assert box.run("stat", "-c", "%a %G", "/run/xtables.lock").split() == ["660", "astguard"]
    process = box.shows("MainPID")
    box.run("kill", "-9", process)
    restarted(box, process, "killed with iptables")
    assert "198.51.100.8 timeout" in box.run("ipset", "list")
    box.run("apt-get", "remove", "--yes", "-qq", "astguard")
    assert "ASTGUARD" not in box.run("iptables-legacy", "-t", "raw", "-S")
    assert "astguard" not in box.run("ipset", "list", "-n")
    assert "astguard" not in box.run("nft", "list", "tables")


@pytest.mark.parametrize("suite", OTHERS)
def test_an_upgrade_keeps_bans_and_an_edited_configuration_and_asks_nothing(suite, installed, older_deb, deb):
    box = installed(suite, older_deb)
    edited = box.run("cat", "/etc/astguard/astguard.yaml") + "\nallow: [192.0.2.0/24]  # edited\n"
    assert edited.startswith("# an older text")
    box.put("/etc/astguard/astguard.yaml", edited, mode=0o640, owner="root:astguard")
    box.run("systemctl", "restart", "astguard")
    box.run("astguard", "bans", "add", ATTACKER, "--for", "1h")
    process = box.shows("MainPID")

    said = install(box, deb)  # stdin is closed
    assert "bans nobody yet" not in said
    assert box.shows("ActiveState") == "active"
    assert box.shows("MainPID") != process
    assert 3500 < banned(box) < 3600
    assert json.loads(box.run("astguard", "bans", "list", "-o", "json"))
    assert "192.0.2.0/24" in box.run("astguard", "allow", "list")
    assert box.run("cat", "/etc/astguard/astguard.yaml") == edited

    with timed("downgrade"):
        box.run("apt-get", "install", "--yes", "--allow-downgrades", "-qq", box.copy(older_deb))
    assert box.shows("ActiveState") == "active"
    assert banned(box) > 3400
    assert box.run("cat", "/etc/astguard/astguard.yaml") == edited


def test_an_upgrade_keeps_who_is_trusted_and_what_is_counted(installed, older_deb, deb, tmp_path):
    """An attacker one guess short of his ban must not begin anew, nor the phone that everybody has typed into wrongly."""
    box = installed(package=older_deb)
    corpus = TREE / "tests/corpus/22.10.1"
    register, guess = (corpus / f"pjsip-{name}.ami" for name in ("legit-register-reregister-unregister", "svcrack"))
    blocks = [*events_of(register.read_bytes())[:2], *events_of(guess.read_bytes())[:4]]
    played = tmp_path / "played.ami"
    played.write_bytes(BANNER + b"".join(block + b"\r\n\r\n" for block in blocks))
    box.put("/etc/astguard/astguard.yaml", "mode: enforce\nami: {secret: played}\n", mode=0o640, owner="root:astguard")
    box.net.start(
        sys.executable, "-m", "tests.scripted_asterisk", "--host", "127.0.0.1", "--port", 5038, "--username",
        "astguard", "--secret", "played", "--play", played, "--speed", 100,
        cwd=TREE, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
    )  # fmt: skip

    def known():
        phone, attacker = (json.loads(box.run("astguard", "explain", who, "-o", "json")) for who in (PHONE, GUESSER))
        trusted = [account["account"] for account in phone["trusted"]]
        return trusted, {rule["name"]: rule["offences"] for rule in attacker["rules"] if rule["offences"]}

    try:
        box.run("systemctl", "restart", "astguard")
        box.until(lambda: all(known()), "a phone is trusted, and an attacker has something against him")
        before = known()
        print(f"  known before the upgrade: {before}")
        box.net.end()
        install(box, deb)
        assert known() == before
    finally:
        box.net.end()


def test_a_removed_configuration_stays_removed(installed, older_deb, deb):
    """Whoever removes it means that; the package does not know better."""
    box = installed(package=older_deb)
    box.run("rm", "/etc/astguard/astguard.yaml")
    install(box, deb)
    assert box.try_("test", "-e", "/etc/astguard/astguard.yaml").returncode == 1
    assert (box.shows("ActiveState"), box.shows("ExecMainStatus")) == ("failed", "78")


def test_remove_takes_the_table_and_purge_leaves_nothing_but_the_user(box):
    others = "table inet of_somebody_else { chain input { type filter hook input priority 0; }; }"
    box.run("nft", others)
    with timed("remove"):
        box.run("apt-get", "remove", "--yes", "-qq", "astguard")
    assert "astguard" not in box.run("nft", "list", "tables")
    assert "of_somebody_else" in box.run("nft", "list", "tables")
    assert box.run("ls", "/etc/astguard").split() == ["astguard.yaml"]
    assert box.try_("systemctl", "is-active", "astguard").stdout.strip() == "inactive"

    with timed("purge"):
        box.run("apt-get", "purge", "--yes", "-qq", "astguard")
    left = box.run(
        "find", "/", "-xdev", "-name", "*astguard*", "-not", "-path", "/proc/*", "-not", "-path", "/sys/*",
        "-not", "-path", "/srv/*", "-not", "-path", "/var/lib/systemd/*", "-not", "-path", "/var/log/journal/*", "-not", "-path", "/var/cache/man/*",
    )  # fmt: skip
    assert left == "", box.sh(f"find {' '.join(left.split())}")
    assert "astguard" in box.run("getent", "passwd", "astguard")
    assert "of_somebody_else" in box.run("nft", "list", "tables")
    assert box.run("systemctl", "is-system-running").strip() == "running"
