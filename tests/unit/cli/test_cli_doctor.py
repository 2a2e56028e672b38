"""`astguard doctor` on the command line: its page, its JSON and its exit code."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from guard.cli import main, options
from guard.cli.doctor import page
from guard.doctor import facts as facts_module
from guard.doctor.finding import Finding, Severity, note, serious, warning
from guard.host import access
from guard.host.machine import Ruleset
from guard.host.place import Place

FINDINGS = [
    serious("ami-http", "AMI over HTTP is on, and \x1b[2J is reachable from other hosts: events can be forged", "'webenabled = no' in manager.conf"),
    warning("dateformat", "no seconds", "add them"),
    note("clock", "clock: not known"),
    Finding("manager", Severity.OK, "AMI is on"),
    Finding("tables", Severity.OK, "one kind of firewall rules is in force"),
]  # fmt: skip


def test_the_page_has_the_worst_first_and_a_sum():
    assert list(page(FINDINGS)) == [
        r"serious  AMI over HTTP is on, and \x1b[2J is reachable from other hosts: events",
        "         can be forged",
        "         'webenabled = no' in manager.conf",
        "",
        "warning  no seconds",
        "         add them",
        "",
        "note     clock: not known",
        "",
        "ok       AMI is on; one kind of firewall rules is in force",
        "",
        "1 serious, 1 warning, 1 note, 2 ok",
    ]


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host with an Asterisk of files only, and nothing of this machine."""
    etc = tmp_path / "asterisk"
    etc.mkdir()
    for name, text in {
        "asterisk.conf": "",
        "manager.conf": "[general]\nenabled=yes\nbindaddr=127.0.0.1\n[astguard]\nsecret=x\nread=security\nwritetimeout=5000\n",
        "logger.conf": "[logfiles]\nmessages.log => notice,error\nsecurity.log => security\n",
        "pjsip.conf": "[t]\ntype=identify\nmatch=192.0.2.22\n",
    }.items():
        (etc / name).write_text(text)
    (tmp_path / "secret").write_text("x\n")
    (tmp_path / "secret").chmod(0o600)
    config = tmp_path / "astguard.yaml"
    config.write_text(
        f"mode: observe\nami: {{secret_file: secret, port: 1}}\nallow: [192.0.2.0/24]\ncontrol: a.sock\nlogs: {{logger_conf: {etc}/logger.conf}}\n"
    )
    place = Place(
        asterisk_conf=etc / "asterisk.conf",
        etc=etc,
        log=tmp_path,
        modules=None,
        program=None,
        running=True,
        freepbx=False,
    )
    monkeypatch.setattr(facts_module, "find_asterisk", lambda _: place)
    monkeypatch.setattr(facts_module, "read_ruleset", Ruleset)
    for name in ("enabled_services", "legacy_tables", "fail2ban_asterisk"):
        monkeypatch.setattr(facts_module, name, frozenset)
    monkeypatch.setattr(facts_module, "flushes_all", bool)
    monkeypatch.setattr(options, "DEFAULT_CONFIG", config)
    monkeypatch.setattr(access, "is_root", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    return etc


def found(capsys):
    code = main(["doctor", "-o", "json"])
    said = capsys.readouterr()
    assert said.err == ""
    lines = json.loads(said.out)
    assert all(set(line) == {"check", "severity", "text", "remedy"} for line in lines)
    return code, {line["check"]: line["severity"] for line in lines}


def test_a_host_without_a_daemon_is_looked_at_all_the_same(host, capsys):
    code, checks = found(capsys)
    assert code == 1
    bad = {name: severity for name, severity in checks.items() if severity != "ok"}
    assert bad == {"running": "serious", "self-test": "serious", "clock": "note", "daemon": "note", "mode": "note"}


def test_what_is_written_into_the_files_is_what_is_found(host, capsys):
    (host / "manager.conf").write_text(
        "[general]\nenabled=yes\nwebenabled=yes\n[astguard]\nsecret=x\nread=all\nwrite=all\n"
    )
    (host / "http.conf").write_text("[general]\nenabled=yes\nbindaddr=0.0.0.0\n")
    (host / "logger.conf").write_text("[general]\ndateformat=%H:%M\n[logfiles]\nfull => [json]notice\n")
    (host / "pjsip.conf").write_text(
        "[global]\ntype=global\nendpoint_identifier_order=auth_username\n[anonymous]\ntype=endpoint\n"
        "[t]\ntype=identify\nmatch=203.0.113.1\n#exec /bin/true\n"
    )
    _, checks = found(capsys)
    assert {name: severity for name, severity in checks.items() if severity != "ok"} == {
        "running": "serious", "self-test": "serious", "clock": "note", "daemon": "note", "mode": "note",
        "ami-rights": "warning", "writetimeout": "warning", "ami-outside": "serious", "ami-http": "serious",
        "messages-log": "warning", "security-log": "note", "dateformat": "warning", "identify-order": "note",
        "anonymous": "warning", "trunks": "warning", "asterisk-files": "note",
    }  # fmt: skip


def test_chan_sip_is_in_use_where_it_is_loaded(host, capsys, monkeypatch, tmp_path):
    modules = tmp_path / "modules"
    modules.mkdir()
    place = facts_module.find_asterisk(None)
    monkeypatch.setattr(facts_module, "find_asterisk", lambda _: replace(place, modules=modules))
    (host / "sip.conf").write_text("[general]\n")
    assert found(capsys)[1]["chan-sip"] == "ok"
    (modules / "chan_sip.so").write_text("")
    assert found(capsys)[1]["chan-sip"] == "note"
    for text, severity in (
        ("noload => chan_sip.so", "ok"),
        ("autoload=no", "ok"),
        ("autoload=no\nload = chan_sip.so", "note"),
    ):
        (host / "modules.conf").write_text(f"[modules]\n{text}\n")
        assert found(capsys)[1]["chan-sip"] == severity


def test_a_mistake_in_the_configuration_is_one_of_the_findings(host, capsys):
    options.DEFAULT_CONFIG.write_text("allwo: []\n")
    assert main(["doctor"]) == 1
    said = capsys.readouterr()
    assert "'allwo'" in said.out
    assert "mode: not known, astguard is not running" in said.out


def test_who_is_not_root_is_told(host, capsys, monkeypatch):
    monkeypatch.setattr(access, "is_root", bool)
    main(["doctor"])
    assert "not root" in capsys.readouterr().err
