"""From a bare PBX to a guarded one: setup, a ban, its end by hand, and back again, in each layout of Asterisk's files."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess

import pytest

from tests.asterisk.admin import admin
from tests.asterisk.company import PROVIDER, TRUNK, manager
from tests.asterisk.guard import eventually
from tests.asterisk.pbx import Ami

LOGS_OF_DEBIAN = "[general]\n\n[logfiles]\nconsole => notice,warning,error\nmessages.log => notice,warning,error\n"
DEBIAN = {
    "manager.conf": '[general]\nenabled = yes\nport = 5038\nbindaddr = 127.0.0.1\n\n#include "manager.d/*.conf"\n',
    "manager.d/README.conf": "; put files here\n",
    "logger.conf": LOGS_OF_DEBIAN,
}
SOURCE = {
    "manager.conf": ";\n; AMI\n;-----\n[general]\nenabled = no\n;webenabled = yes\n\nport = 5038\n;[mark]\n;secret = mysecret",
    "logger.conf": "[general]\n[logfiles]\nconsole => notice\n",
}
FREEPBX = {
    "manager.conf": "[general]\nenabled = yes\nport = 5038\nbindaddr = 0.0.0.0\n\n[admin]\nsecret = freepbx\ndeny=0.0.0.0/0.0.0.0\n"
    "permit=127.0.0.1/255.255.255.0\nread = system,call\nwrite = system,call\n\n"
    "#include manager_additional.conf\n#include manager_custom.conf\n",
    "manager_additional.conf": "; made by FreePBX\n",
    "manager_custom.conf": "",
    "logger.conf": "[general]\n#include logger_general_additional.conf\n[logfiles]\n#include logger_logfiles_additional.conf\n"
    "#include logger_logfiles_custom.conf\n",
    "logger_general_additional.conf": "dateformat=%F %T\n",
    "logger_logfiles_additional.conf": "full => debug,error,notice,verbose,warning\n",
    "logger_logfiles_custom.conf": "",
}


@contextlib.contextmanager
def bare_pbx(lab, files):
    """Give the PBX the files of a layout, without anything for astguard in them, and its own ones back at the end."""
    etc = lab.folder / "etc"
    own = {name: (etc / name).read_text() for name in ("manager.conf", "logger.conf")}
    off = "enabled = no" in files["manager.conf"]
    for name, text in files.items():
        (etc / name).parent.mkdir(exist_ok=True)
        (etc / name).write_text(text)
    try:
        # Asterisk 16 does not open AMI again that was on before: `accept failed: Bad file descriptor`.
        restart_without_ami(lab) if off else lab.asterisk.say("core reload")
        yield
    finally:
        for name in files.keys() - own.keys():
            (etc / name).unlink()
        for name, text in own.items():
            (etc / name).write_text(text)
        lab.restart_asterisk() if off else lab.asterisk.say("core reload")


def restart_without_ami(lab):
    def is_booted():
        with contextlib.suppress(subprocess.CalledProcessError):
            return "Asterisk has fully booted" in lab.asterisk.say("core waitfullybooted")

    lab.asterisk.stop()
    lab.asterisk.start(wait=False)
    eventually(is_booted, 30)


def fingerprint(lab):
    """Everything below etc, with owners and modes."""
    return {
        str(path.relative_to(lab.folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_uid, path.stat().st_mode)
        for path in sorted((lab.folder / "etc").rglob("*"))
        if path.is_file()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("files", "extra", "made"),
    [
        (DEBIAN, (), "manager.d/astguard.conf"),
        (SOURCE, (), "manager.conf"),
        (FREEPBX, ("--bind-loopback",), "manager_custom.conf"),
    ],
    ids=["debian", "source", "freepbx"],
)
def test_from_a_bare_pbx_to_a_ban_and_back(lab, tmp_path, files, extra, made):
    with bare_pbx(lab, files), admin(lab, tmp_path / "admin") as shell:
        before = fingerprint(lab)

        planned = shell.astguard("setup", "--dry-run", *extra)
        assert planned.returncode == 0, planned.stderr
        assert f"/etc/asterisk/{made}" in planned.stdout
        assert "read = security" in planned.stdout
        assert fingerprint(lab) == before

        asked = shell.astguard("setup", *extra)
        assert (asked.returncode, "no terminal to ask on" in asked.stderr) == (2, True)
        assert fingerprint(lab) == before

        done = shell.astguard("setup", "--yes", *extra)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "heard a security event of its own login from Asterisk" in done.stdout
        secret = shell.text("/etc/astguard/ami.secret").strip()
        assert secret not in planned.stdout + done.stdout
        assert len(secret) == 48
        config = shell.text("/etc/astguard/astguard.yaml")
        assert "mode: observe" in config
        assert f"- {TRUNK} " in config
        assert f"- {PROVIDER} " in config

        again = shell.astguard("setup", "--yes", *extra)
        assert (again.returncode, "Everything is there already." in again.stdout) == (0, True), (
            again.stdout + again.stderr
        )

        shell.write("/etc/astguard/astguard.yaml", config.replace("mode: observe", "mode: enforce"))
        with shell.guarding():
            findings = shell.findings()
            assert [line for lines in findings.values() for line in lines if line["severity"] == "serious"] == []
            assert {
                line["severity"]
                for name in ("self-test", "ami-outside", "messages-log", "security-log", "trunks")
                for line in findings[name]
            } == {"ok"}
            lab.attacker.guess("101", 500)
            eventually(lambda: shell.json("bans", "list"), 10, about=shell.log.read_text)
            (ban,) = shell.json("bans", "list")
            assert ban["source"] == f"{lab.attacker.address}/32"
            assert shell.json("bans", "show", lab.attacker.address)["rule"].startswith("pjsip-")
            assert not lab.attacker.gets_through("udp")
            known = shell.json("explain", lab.attacker.address)
            assert known["ban"]["rule"] == ban["rule"]
            assert 0 < known["ban"]["read_to_kernel_ms"] < 1_000, known["ban"]
            assert known["ban"]["heard_to_kernel_ms"] >= known["ban"]["read_to_kernel_ms"]
            assert "banned" in {trace["outcome"] for trace in known["trail"]}
            page = shell.astguard("explain", lab.attacker.address).stdout
            assert f"by {ban['rule']}, SIP ports closed" in " ".join(page.split())
            assert max(map(len, page.splitlines())) <= 80
            assert shell.astguard("bans", "remove", lab.attacker.address).returncode == 0
            assert shell.json("explain", lab.attacker.address)["ban"] is None
            (past,) = shell.json("history", "--address", lab.attacker.address)
            assert (past["rule"], past["ended"]) == (ban["rule"], "unban")
            eventually(lambda: lab.attacker.gets_through("udp"), 5)
            assert shell.json("bans", "list") == []
            assert lab.phone.gets_through("udp")

        shell.write("/etc/astguard/astguard.yaml", config)
        back = shell.astguard("setup", "--undo", "--yes")
        assert back.returncode == 0, back.stderr
        assert fingerprint(lab) == before
        assert shell.run("ls", "/etc/astguard").returncode != 0
        if files is not SOURCE:  # there, AMI is off again
            with contextlib.closing(Ami(lab.pbx, secret=secret)) as ami:
                ami.wait_for(Message="Authentication failed")


def test_who_is_asked_may_say_no_and_nothing_is_changed(lab, tmp_path):
    with bare_pbx(lab, FREEPBX), admin(lab, tmp_path / "admin") as shell:
        before = fingerprint(lab)
        said = shell.run("script", "-qec", f"{shell.python} -m guard setup", "/dev/null", typed="n\nn\n")
        assert "reachable from other hosts" in said.stdout
        assert "Do this? [y/N]" in said.stdout
        assert "nothing was changed" in said.stdout
        assert fingerprint(lab) == before


def test_a_user_of_somebody_else_is_kept_and_its_secret_taken(lab, tmp_path):
    """Written by hand, as the README once said: setup makes the rest."""
    with (
        lab.asterisk.configured(manager_conf=manager(), reload="manager reload"),
        admin(lab, tmp_path / "admin") as shell,
    ):
        before = fingerprint(lab)
        done = shell.astguard("setup", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "is there already (/etc/asterisk/manager.conf:" in done.stdout
        assert "reachable from other hosts" in done.stdout
        assert shell.text("/etc/astguard/ami.secret") == "read-only-events\n"
        assert fingerprint(lab) == before


def test_asterisk_reads_what_setup_wrote_as_it_was_meant(lab, tmp_path):
    """The last value of a name is in force, also behind `[general](+)` in an included file."""
    files = {**DEBIAN, "manager.conf": DEBIAN["manager.conf"].replace("127.0.0.1", "0.0.0.0")}
    with bare_pbx(lab, files), admin(lab, tmp_path / "admin") as shell:
        assert shell.run("ss", "-Hltn", "sport = :5038").stdout.split()[3] == "0.0.0.0:5038"
        done = shell.astguard("setup", "--yes", "--bind-loopback")
        assert done.returncode == 0, done.stdout + done.stderr
        assert shell.run("ss", "-Hltn", "sport = :5038").stdout.split()[3] == "127.0.0.1:5038"
        assert "security.log" in lab.asterisk.say("logger show channels")
        user = lab.asterisk.say("manager show user astguard")
        assert "security,all" in user.replace(" ", "") or "security" in user
        with contextlib.closing(Ami(lab.pbx, secret=shell.text("/etc/astguard/ami.secret").strip())) as ami:
            ami.say("Action: Command\r\nCommand: core show version\r\n\r\n")
            assert ami.wait_for(Response="Error")["Message"] == "Permission denied"


def test_a_guard_that_runs_already_hears_asterisk_after_a_reload(lab, tmp_path):
    """As the package leaves it: it runs, and waits for somebody to log in as."""
    with bare_pbx(lab, DEBIAN), admin(lab, tmp_path / "admin") as shell:
        shell.run("mkdir", "/etc/astguard")
        shell.write("/etc/astguard/astguard.yaml", "mode: observe   # as the package leaves it\n")
        with shell.guarding("there"):
            assert not shell.is_up("link")
            done = shell.astguard("setup", "--yes")
            assert done.returncode == 0, done.stdout + done.stderr
            assert shell.astguard("reload").returncode == 0
            eventually(shell.is_up, 15, about=shell.log.read_text)
            assert shell.json("status")["mode"] == "observe"


def test_ami_over_tls_is_closed_with_it(lab, tmp_path):
    with (
        lab.asterisk.configured(manager_conf=manager(), reload="manager reload"),
        admin(lab, tmp_path / "admin") as shell,
    ):
        done = shell.astguard("setup", "--yes", "--bind-loopback")
        assert done.returncode == 0, done.stdout + done.stderr
        listening = shell.run("ss", "-Hltn", "( sport = :5038 or sport = :5039 )").stdout.split()[3::5]
        assert sorted(listening) == ["127.0.0.1:5038", "127.0.0.1:5039"]
        assert shell.astguard("setup", "--undo", "--yes").returncode == 0
        assert "127.0.0.1" not in shell.run("ss", "-Hltn", "( sport = :5038 or sport = :5039 )").stdout


def test_the_user_of_the_service_joins_asterisk_s_group_and_leaves_it(lab, tmp_path):
    with bare_pbx(lab, DEBIAN), admin(lab, tmp_path / "admin") as shell:
        shell.run("groupadd", "--system", "asterisk")
        shell.run("useradd", "--system", "--no-create-home", "astguard")
        done = shell.astguard("setup", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "user astguard joined the group asterisk" in done.stdout
        assert "asterisk" in shell.run("id", "-nG", "astguard").stdout.split()
        listed = shell.run(
            "stat", "-c", "%A %U %G", "/etc/astguard", "/etc/astguard/ami.secret", "/etc/astguard/setup"
        ).stdout
        assert listed.split("\n")[:3] == [
            "drwxr-x--- root astguard",
            "-rw-r----- root astguard",
            "drwx------ root root",
        ]
        back = shell.astguard("setup", "--undo", "--yes")
        assert "user astguard left the group asterisk" in back.stdout
        assert "asterisk" not in shell.run("id", "-nG", "astguard").stdout.split()


def test_a_folder_that_cannot_be_written_changes_nothing(lab, tmp_path):
    with bare_pbx(lab, DEBIAN), admin(lab, tmp_path / "admin") as shell:
        before = fingerprint(lab)
        shell.run("mount", "-o", "remount,bind,ro", "/etc/asterisk")
        done = shell.astguard("setup", "--yes")
        assert (done.returncode, "is read-only, or this is not root; nothing was changed" in done.stderr) == (1, True)
        assert fingerprint(lab) == before
        assert shell.run("ls", "/etc/astguard").returncode != 0
