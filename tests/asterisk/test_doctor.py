"""What the doctor says of a real PBX that has something wrong, and that it says no more of one that has not."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from tests.asterisk.admin import admin
from tests.asterisk.company import ANONYMOUS, BY_LOGIN, TRANSPORTS, accounts, manager
from tests.asterisk.guard import eventually

CLOSED = manager().replace("bindaddr=::", "bindaddr=127.0.0.1").replace("tlsbindaddr=[::]", "tlsbindaddr=127.0.0.1")
OWN = "read=security\nwrite=\nwritetimeout=5000\ndeny=0.0.0.0/0.0.0.0\n"


@pytest.fixture(scope="module")
def shell(labs, tmp_path_factory):
    """An administrator at a PBX on which setup has run, and AMI is for the PBX alone."""
    lab, _ = labs
    with (
        lab.asterisk.configured(manager_conf=CLOSED, reload="manager reload"),
        admin(lab, tmp_path_factory.mktemp("admin")) as shell,
    ):
        done = shell.astguard("setup", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        config = shell.text("/etc/astguard/astguard.yaml")
        shell.write("/etc/astguard/astguard.yaml", config.replace("mode: observe", "mode: enforce"))
        yield shell


def bad(shell):
    """All that is not well, by check, with its severity."""
    return {name: lines[0]["severity"] for name, lines in shell.findings().items() if lines[0]["severity"] != "ok"}


@pytest.fixture(scope="module")
def usual(shell):
    """What is not well to begin with: nothing that anybody here could help."""
    with shell.guarding():
        found = bad(shell)
    assert set(found) <= {"ami-http", "chan-sip", "log-readable"}, found
    assert "serious" not in found.values()
    return found


@pytest.mark.both
def test_a_pbx_that_is_well_is_called_well(shell, usual):
    with shell.guarding():
        done = shell.astguard("doctor")
    assert done.returncode == 0
    assert "0 serious" in done.stdout
    assert "security events come through" in done.stdout


@contextlib.contextmanager
def changed_ami(lab, old, new):
    """Change manager.conf for a while, and have Asterisk read it."""
    assert old in CLOSED
    with lab.asterisk.configured(manager_conf=CLOSED.replace(old, new), reload="manager reload"):
        yield
    (lab.folder / "etc/manager.conf").write_text(CLOSED)
    lab.asterisk.say("manager reload")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            OWN,
            OWN.replace("read=security", "read=call"),
            {"read-security": "serious", "ami-rights": "warning", "self-test": "serious"},
        ),
        (OWN, OWN.replace("write=", "write=system"), {"ami-rights": "serious"}),
        (OWN, OWN.replace("writetimeout=5000\n", ""), {"writetimeout": "warning"}),
        (OWN, "eventfilter=!Event: ChallengeSent\n" + OWN, {"eventfilter": "serious"}),
        ("secret=read-only-events", "secret=another", {"self-test": "serious"}),
        ("[astguard]", "[someone]", {"ami-user": "serious", "self-test": "serious"}),
        ("bindaddr=127.0.0.1", "bindaddr=0.0.0.0", {"ami-outside": "serious"}),
        ("webenabled=no", "webenabled=yes", {"ami-http": "serious"}),
    ],
    ids=["read", "write", "writetimeout", "eventfilter", "secret", "user", "outside", "http"],
)
def test_what_is_wrong_with_ami(lab, shell, usual, old, new, expected):
    with changed_ami(lab, old, new):
        found = {name: severity for name, severity in bad(shell).items() if usual.get(name) != severity}
    deaf = {"clock": "note"} if "self-test" in expected else {}  # no event, no time
    assert found == {"running": "serious", "daemon": "note", **deaf, **expected}


def test_a_door_open_to_forgers_is_said_at_the_start_and_in_the_status(lab, shell, usual):
    """http.conf of this PBX listens everywhere; with `webenabled`, whole events could be forged."""
    with changed_ami(lab, "webenabled=no", "webenabled=yes"), shell.guarding():
        assert "AMI over HTTP is on and reachable from other hosts" in shell.log.read_text()
        (warning,) = shell.json("status")["warnings"]
        assert "forge events" in warning["text"]
        assert bad(shell)["ami-http"] == "serious"
        assert "daemon" not in bad(shell)
        lab.asterisk.say("manager reload")
        (lab.folder / "etc/manager.conf").write_text(CLOSED)
        assert shell.json("status")["warnings"] == []


def test_a_daemon_that_hears_nothing_is_seen_through_its_own_eyes(lab, shell, usual):
    """Logged in well, and deaf: only the self-test tells."""
    with changed_ami(lab, OWN, OWN.replace("read=security", "read=call")), shell.guarding("link"):
        eventually(lambda: bad(shell).get("self-test") == "serious", 15)
        assert "did not come back" in shell.findings()["self-test"][0]["text"]


def test_what_is_wrong_with_the_logs(lab, shell, usual):
    text = "[general]\ndateformat=%F %H:%M\n[logfiles]\nother.log => error\n"
    with lab.asterisk.configured(logger_conf=text, reload="logger reload"):
        found = bad(shell)
        assert (found["messages-log"], found["security-log"], found["dateformat"]) == ("warning", "note", "warning")


def test_what_is_wrong_with_pjsip(lab, shell, usual):
    pjsip = TRANSPORTS.replace("match=192.0.2.22", "match=203.0.113.77") + accounts({}) + ANONYMOUS + BY_LOGIN
    path = lab.folder / "etc/pjsip.conf"
    before = path.read_text()
    path.write_text(pjsip)
    try:
        found = bad(shell)
    finally:
        path.write_text(before)
    assert (found["anonymous"], found["identify-order"], found["trunks"]) == ("warning", "note", "warning")


def test_who_else_has_a_say_in_packets(lab, shell, usual):
    shell.write("/etc/nftables.conf", "flush ruleset\n")
    wants = "/etc/systemd/system/multi-user.target.wants"
    shell.run("mkdir", "-p", wants, "/etc/fail2ban/jail.d")
    shell.run("touch", f"{wants}/nftables.service", f"{wants}/fail2ban.service")
    shell.write("/etc/fail2ban/jail.d/pbx.local", "[asterisk]\nenabled = true\n")
    lab.pbx.run(
        "nft",
        "add table ip early; add chain ip early c { type filter hook prerouting priority -300; }; add rule ip early c notrack",
        check=True,
    )
    try:
        found = shell.findings()
    finally:
        lab.pbx.run("nft", "delete", "table", "ip", "early", check=False)
        shell.run("rm", "-r", wants, "/etc/fail2ban/jail.d", "/etc/nftables.conf")
    assert [line["severity"] for line in found["flush"]] == ["note"]
    assert "flush ruleset" in found["flush"][0]["text"]
    assert "chain ip early/c takes packets out of connection tracking" in found["ahead"][0]["text"]
    assert found["fail2ban"][0]["text"].startswith("fail2ban is on for Asterisk too (asterisk)")


def test_rules_of_both_kinds_side_by_side(lab, shell, usual):
    """As on a PBX where iptables-legacy was chosen, and nftables came with astguard's own table or another's."""
    lab.pbx.run("iptables-legacy", "-t", "raw", "-A", "PREROUTING", "-j", "ACCEPT", check=True)
    lab.pbx.run("nft", "add", "table", "ip", "other", check=True)
    try:
        (line,) = shell.findings()["tables"]
    finally:
        lab.pbx.run("nft", "delete", "table", "ip", "other", check=False)
        lab.pbx.run("iptables-legacy", "-t", "raw", "-F", check=False)
    assert line["severity"] == "note"
    assert "iptables-legacy (ip raw) and of nftables (ip other)" in line["text"]


@pytest.mark.parametrize(
    ("offset", "severity", "says"), [("+60s", "serious", "behind"), ("-10s", "warning", "ahead of")]
)
def test_a_clock_that_is_wrong(shell, usual, offset, severity, says):
    """This host's, as the doctor sees it: Asterisk's event tells the other."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    assert library, "no libfaketime; script/test installs it"
    wrong = [f"LD_PRELOAD={library}", f"FAKETIME={offset}", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
    done = shell.run("env", *wrong, shell.python, "-m", "guard", "doctor", "-o", "json")
    (line,) = [line for line in json.loads(done.stdout) if line["check"] == "clock"]
    assert line["severity"] == severity
    assert f"s {says} this host's" in line["text"]


def test_a_log_closed_to_the_user_of_the_service(lab, shell, usual):
    """The package makes the user; whether he may read is told from owners and modes."""
    assert shell.run("useradd", "--system", "--no-create-home", "astguard").returncode == 0
    folder = lab.folder / "log"
    before = folder.stat().st_mode
    folder.chmod(0o750)
    try:
        (line, *_) = shell.findings()["log-readable"]
    finally:
        folder.chmod(before)
        shell.run("userdel", "astguard")
    assert line["severity"] == "warning"
    assert "/var/log/asterisk is drwxr-x--- root:root, closed to astguard" in line["text"]


@pytest.mark.only("16")
def test_chan_sip_is_in_use(shell, usual):
    assert bad(shell)["chan-sip"] == "note"


def test_a_broken_file_is_told_of_as_asterisk_takes_it(lab, shell, usual):
    """A value before any section: Asterisk refuses the whole file, and AMI is off after its next start."""
    path = lab.folder / "etc/manager.conf"
    path.write_text("enabled=yes\n" + CLOSED)
    try:
        (line,) = shell.findings()["manager"]
    finally:
        path.write_text(CLOSED)
    assert line["severity"] == "serious"
    assert "manager.conf:1: a value stands before any section" in line["text"]


def test_asterisk_takes_broken_files_as_the_doctor_says(lab, shell, usual):
    """The other half of it, by Asterisk itself."""
    path = lab.folder / "etc/manager.conf"
    path.write_text("enabled=yes\n" + CLOSED)
    try:
        lab.asterisk.say("manager reload")
        said = lab.asterisk.say("manager show users")
    finally:
        path.write_text(CLOSED)
        lab.asterisk.say("manager reload")
    assert "astguard" in said  # what was read before stays in force
    assert "No category context" in lab.log("messages").read_text()
