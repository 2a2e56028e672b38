"""Asterisk's logs under the shipped unit: read as a member of Asterisk's group, whichever of the two was there first."""

from __future__ import annotations

import json

import pytest

from tests.deb.conftest import OTHERS, TREE, install
from tests.deb.test_life import banned

QUIET_BUS = (TREE / "tests/corpus/22.10.1/hostile-57.messages").read_bytes()
"""What `messages` says of an attack that AMI says nothing about."""
ATTACKER = "198.51.100.11"
CONFIG = "mode: enforce\nami: {secret: there-is-no-asterisk}\nlogs: {timezone: UTC}\n"
LAYOUTS = {
    "debian": ("messages.log", "asterisk:asterisk 755", "asterisk:asterisk 750", "asterisk:asterisk 640"),
    "freepbx": ("full", "asterisk:asterisk 775", "asterisk:asterisk 775", "asterisk:asterisk 664"),
    "source": ("messages", "root:root 755", "root:root 755", "root:root 644"),
}
"""The log, and whose are /etc/asterisk, /var/log/asterisk and the log itself."""


def asterisk(box, layout):
    """Lay out an Asterisk as its packager does, and write no log line yet."""
    name, etc, folder, file = LAYOUTS[layout]
    box.sh("mkdir -p /etc/asterisk /var/log/asterisk")
    levels = "notice,warning,error,verbose" if name == "full" else "notice,warning,error"
    box.put("/etc/asterisk/logger.conf", f"[general]\n[logfiles]\n{name} => {levels}\n", mode=0o640)
    log = f"/var/log/asterisk/{name}"
    box.put(log, "")
    for path, says in (("/etc/asterisk", etc), ("/var/log/asterisk", folder), (log, file)):
        owner, mode = says.split()
        box.run("chown", owner, path)
        box.run("chmod", mode, path)
    box.run("chown", etc.split()[0], "/etc/asterisk/logger.conf")
    if layout == "source":
        box.run("chmod", "644", "/etc/asterisk/logger.conf")
    return log


def attack(box, log):
    """Let Asterisk write down an attack, and wait for the ban."""
    with (box.root / log.lstrip("/")).open("ab") as file:
        file.write(QUIET_BUS)
    box.until(lambda: banned(box, ATTACKER), "the muted attacker is banned")
    box.until(lambda: f"ban {ATTACKER}/32" in box.journal(), "it is reported, as soon as the disk has it")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suite", OTHERS)
def test_the_attacker_that_the_bus_is_silent_about_is_banned_from_messages(layout, suite, boot, deb):
    box = boot(suite)
    if layout != "source":
        box.run("groupadd", "--system", "asterisk")
        box.run("useradd", "--system", "-g", "asterisk", "asterisk")
    log = asterisk(box, layout)
    install(box, deb)
    box.put("/etc/astguard/astguard.yaml", CONFIG, mode=0o640, owner="root:astguard")
    box.run("systemctl", "restart", "astguard")
    box.until(lambda: f"reading {log}" in box.journal(), "the log is read")
    attack(box, log)


def test_an_asterisk_that_comes_later_is_heard_without_a_hand(installed, tmp_path):
    """dpkg tells astguard of it by a trigger: until then it runs, warns and says how to mend it."""
    box = installed()
    box.put("/etc/astguard/astguard.yaml", CONFIG, mode=0o640, owner="root:astguard")
    box.put("/srv/pbx/DEBIAN/control", "Package: pbx\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.invalid>\nDescription: x\n")  # fmt: skip
    box.put("/srv/pbx/DEBIAN/preinst", "#!/bin/sh\ngroupadd --system asterisk; useradd --system -g asterisk asterisk\n", mode=0o755)  # fmt: skip
    box.put("/srv/pbx/etc/asterisk/logger.conf", "[logfiles]\nmessages.log => notice,warning,error\n", mode=0o640)
    log = "/var/log/asterisk/messages.log"
    box.put(f"/srv/pbx{log}", "", mode=0o640)
    box.put(
        "/srv/pbx/DEBIAN/postinst",
        "#!/bin/sh\nchown -R asterisk: /etc/asterisk /var/log/asterisk; chmod 750 /etc/asterisk /var/log/asterisk\n",
        mode=0o755,
    )
    box.run("dpkg-deb", "--root-owner-group", "--build", "/srv/pbx", "/srv/pbx.deb")
    process = box.shows("MainPID")
    box.run("apt-get", "install", "--yes", "-qq", "/srv/pbx.deb")
    assert "asterisk" in box.run("id", "-nG", "astguard").split()
    assert box.shows("MainPID") != process
    box.until(lambda: f"reading {log}" in box.journal(), "the log is read")
    attack(box, log)


def test_without_the_membership_it_starts_and_says_what_to_do(boot, deb):
    box = boot()
    install(box, deb)
    box.run("groupadd", "--system", "asterisk")
    box.run("useradd", "--system", "-g", "asterisk", "asterisk")
    asterisk(box, "debian")
    box.run("systemctl", "restart", "astguard")
    for closed in ("/etc/asterisk", "/var/log/asterisk"):
        warnings = json.loads(box.run("astguard", "status", "-o", "json"))["warnings"]
        (said,) = [warning for warning in warnings if warning["text"].startswith("log: ")]
        assert "cannot be read: Permission denied" in said["text"]
        assert "usermod -aG asterisk astguard" in said["remedy"]
        box.run("chmod", "755", "/etc/asterisk")  # now it can read which log it cannot read
        box.run("chmod", "644", "/etc/asterisk/logger.conf")
        if closed == "/etc/asterisk":
            box.run("systemctl", "restart", "astguard")
            box.until(lambda: "messages.log" in box.run("astguard", "status"), "the log is tried")
