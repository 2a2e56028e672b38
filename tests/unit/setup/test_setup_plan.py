"""What setup would change, in each layout of Asterisk's files and in odd ones. Nothing is changed here."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.asterisk.conffile import read_conf
from guard.asterisk.manager import read_manager
from guard.asterisk.telephony import Trunk
from guard.core.address import parse_host, parse_source
from guard.errors import HostError
from guard.host.place import Place
from guard.settings.config import Config, parse_config
from guard.setup.configuration import config_now, plan_configuration, propose, secret_path
from guard.setup.plan import Plan, plan_logger, plan_manager, plan_secret, read_with

GENERAL = "[general]\nenabled = yes\nbindaddr = 127.0.0.1\n"
LOGGER = "[general]\n[logfiles]\nmessages.log => notice,warning,error\nsecurity.log => security\n"


@pytest.fixture
def pbx(tmp_path):
    """Make a folder of Asterisk's from texts by name."""

    def make(**files):
        etc = tmp_path / "asterisk"
        for name, text in {"asterisk_conf": "", "logger_conf": LOGGER, **files}.items():
            path = etc / name.replace("_d__", ".d/").replace("_conf", ".conf")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return Place(
            asterisk_conf=etc / "asterisk.conf", etc=etc, log=Path("/var/log/asterisk"), modules=None, program=None, running=False, freepbx=False
        )  # fmt: skip

    return make


def manager_plan(place, secret="new", *, close=False):
    plan = Plan()
    plan_manager(plan, place, secret, close_ami=close)
    return plan


def carry_out(plan):
    for change in plan.changes:
        change.path.parent.mkdir(exist_ok=True)
        change.path.write_bytes(change.after)


def as_planned(place, plan):
    main = place.etc / "manager.conf"
    change = plan.changes[0]
    return read_manager(read_with(main, change.path, change.after))


@pytest.mark.parametrize(
    ("files", "target", "new"),
    [
        ({"manager_conf": GENERAL}, "manager.conf", False),
        ({"manager_conf": GENERAL + '#include "manager.d/*.conf"\n', "manager_d__README_conf": ";\n"}, "manager.d/astguard.conf", True),
        ({"manager_conf": GENERAL + "#include manager_additional.conf\n#include manager_custom.conf\n", "manager_additional_conf": "", "manager_custom_conf": "[mine]\n"}, "manager_custom.conf", False),
        ({"manager_conf": "[general]\r\nenabled=yes\r\nbindaddr=127.0.0.1"}, "manager.conf", False),
        ({"manager_conf": "[general]\nenabled=yes\nbindaddr=127.0.0.1\n[caf\xe9]\n".encode("latin-1")}, "manager.conf", False),
        ({"manager_conf": "[a](!)\nread=all\n[general]\nenabled=yes\nbindaddr=127.0.0.1\n[u](a)\nsecret=x\n"}, "manager.conf", False),
    ],
)  # fmt: skip
def test_the_user_goes_where_the_layout_has_it(pbx, files, target, new):
    place = pbx(**files)
    plan = manager_plan(place)
    (change,) = plan.changes
    assert (change.path, change.before is None) == (place.etc / target, new)
    assert change.before is None or change.after.startswith(change.before)
    user = as_planned(place, plan).user("astguard")
    assert (user.secret, user.read, user.write, user.strangers(), user.write_timeout) == (
        "new",
        {"security"},
        set(),
        [],
        5000,
    )
    assert plan.reloads == ["manager reload"]

    carry_out(plan)
    again = manager_plan(place, "another")
    assert (again.changes, again.reloads, again.secret) == ([], [], "new")


@pytest.mark.parametrize(
    ("general", "close", "listens"),
    [
        ("[general]\nenabled=no\n", False, ["AMI on 127.0.0.1:5038"]),
        ("[general]\n", False, ["AMI on 127.0.0.1:5038"]),
        ("", False, ["AMI on 127.0.0.1:5038"]),
        ("[general]\nenabled=no\nbindaddr=0.0.0.0\n", False, ["AMI on 0.0.0.0:5038"]),
        ("[general]\nenabled=yes\nbindaddr=0.0.0.0\n", False, ["AMI on 0.0.0.0:5038"]),
        ("[general]\nenabled=yes\nbindaddr=0.0.0.0\nport=5040\n", True, ["AMI on 127.0.0.1:5040"]),
        ("[general]\nenabled=yes\n", True, ["AMI on 127.0.0.1:5038"]),
        (
            "[general]\nenabled=yes\nbindaddr=::\ntlsenable=yes\ntlsbindaddr=[::]:5040\n",
            True,
            ["AMI on 127.0.0.1:5038", "AMI over TLS on 127.0.0.1:5040"],
        ),
    ],
)
def test_ami_is_switched_on_and_closed_with_consent_only(pbx, general, close, listens):
    place = pbx(manager_conf=general)
    plan = manager_plan(place, close=close)
    assert list(map(str, as_planned(place, plan).listeners)) == listens
    assert plan.port == int(listens[0][-4:])
    carry_out(plan)
    assert manager_plan(place).changes == []  # what was agreed to once stays agreed to


def test_a_user_of_somebody_else_stays(pbx):
    place = pbx(manager_conf=GENERAL + "[astguard]\nsecret = theirs\nread = all\n")
    plan = manager_plan(place)
    assert (plan.changes, plan.secret) == ([], "theirs")
    assert "is there already" in plan.notes[0]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "there is no"),
        ({"manager_conf": GENERAL + ";--\n"}, "ends inside a comment"),
        ({"manager_conf": "enabled=yes\n" + GENERAL}, "a value stands before any section"),
        ({"manager_conf": GENERAL + "#include gone.conf\n"}, "there is no such file"),
        ({"manager_conf": GENERAL + "[astguard]\nread=security\n"}, "has no secret"),
        ({"manager_conf": GENERAL + "[astguard]\nsecret=x\nread=call\n"}, "would not come out as meant"),
        ({"manager_conf": GENERAL.encode("utf-16")}, "a section without|before any section|zero bytes|inside a comment|no .* that can be read"),
    ],
)  # fmt: skip
def test_a_file_that_asterisk_would_not_read_as_meant_is_left_alone(pbx, files, says):
    place = pbx(**files)
    before = {path: path.read_bytes() for path in place.etc.rglob("*") if path.is_file()}
    with pytest.raises(HostError, match=says):
        manager_plan(place)
    assert {path: path.read_bytes() for path in place.etc.rglob("*") if path.is_file()} == before


def test_a_program_in_it_is_not_run(pbx, tmp_path):
    place = pbx(manager_conf=GENERAL + f"#exec /usr/bin/touch {tmp_path}/trace\n")
    assert manager_plan(place).changes
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("files", "target", "added"),
    [
        ({}, None, []),
        ({"logger_conf": "[logfiles]\nconsole => notice\n"}, "logger.conf", ["[logfiles](+)", "messages.log => notice,warning,error", "security.log => security"]),
        ({"logger_conf": "[general]\n"}, "logger.conf", ["[logfiles]", "messages.log => notice,warning,error", "security.log => security"]),
        ({"logger_conf": "[logfiles]\nfull => notice,security\n"}, None, []),
        ({"logger_conf": "[logfiles]\nmessages.log => error\nsecurity => security\n"}, "logger.conf", ["[logfiles](+)", "astguard-messages.log => notice,warning,error"]),
        ({"logger_conf": "[logfiles]\nall => [json]notice,security\n"}, "logger.conf", ["[logfiles](+)", "messages.log => notice,warning,error", "security.log => security"]),
        ({"logger_conf": "[logfiles]\n#include logger_logfiles_custom.conf\n", "logger_logfiles_custom_conf": "full => notice\n"}, "logger_logfiles_custom.conf", ["security.log => security"]),
        ({"logger_conf": "[logfiles\n"}, None, []),
    ],
)  # fmt: skip
def test_the_logs_that_are_missing(pbx, files, target, added):
    place, plan = pbx(**files), Plan()
    plan_logger(plan, place)
    assert [change.path for change in plan.changes] == ([place.etc / target] if target else [])
    for change in plan.changes:
        new = change.after.decode().removeprefix(change.before.decode()).split("\n")
        assert new[1:-2] == added
    carry_out(plan)
    again = Plan()
    plan_logger(again, place)
    assert again.changes == []


def configured(tmp_path, text=None, proposals=(), **plan_of):
    path = tmp_path / "astguard.yaml"
    if text is not None:
        path.write_text(text)
    place = Place(
        asterisk_conf=Path("/etc/asterisk/asterisk.conf"),
        etc=Path("/etc/asterisk"),
        log=Path("/"),
        modules=None,
        program=None,
        running=False,
        freepbx=False,
    )
    plan = Plan(secret="pssst", **plan_of)
    plan_configuration(plan, path, place, list(proposals))
    return plan, parse_config(plan.changes[0].after, path) if plan.changes else None


TRUNKS = [
    Trunk("192.0.2.22", "PJSIP endpoint 't' is known by it", "x"),
    Trunk("sip.example.org", "evil\n- 0.0.0.0/0 # x", "x"),
]


def test_a_new_configuration_observes_and_allows_whom_it_proposes(tmp_path):
    proposals = propose(
        [parse_source("192.168.1.0/24")], TRUNKS, [parse_host("198.51.100.7"), parse_host("2001:db8::7")]
    )
    _, config = configured(tmp_path, None, proposals)
    assert config.mode == "observe"
    assert config.ami.secret_file == tmp_path / "ami.secret"
    assert [entry.source for entry in config.allow] == [
        parse_host("198.51.100.7"), parse_host("2001:db8::7"), parse_source("192.168.1.0/24"), parse_host("192.0.2.22"),
    ]  # fmt: skip
    assert [entry.name for entry in config.allow_names] == ["sip.example.org"]


def test_everybody_is_proposed_once():
    proposals = propose([], [*TRUNKS, *TRUNKS], [parse_host("192.0.2.22")])
    assert [proposal.entry for proposal in proposals] == ["192.0.2.22", "sip.example.org"]


@pytest.mark.parametrize(
    ("text", "mode", "allowed", "notes"),
    [
        ("", "observe", 1, 0),
        ("# mode: enforce\n# allow:\n#   - 192.0.2.0/24\n", "observe", 1, 0),
        ("mode: enforce\nallow: [192.0.2.0/24]\n", "enforce", 1, 0),
        ("mode: enforce\nallow: [203.0.113.1]\n", "enforce", 1, 1),
        ("firewall: {slow_rate: 9}\n", "observe", 1, 0),
    ],
)
def test_a_configuration_that_is_there_gets_what_it_lacks(tmp_path, text, mode, allowed, notes):
    plan, config = configured(tmp_path, text, propose([], TRUNKS[:1], []))
    assert (config.mode, len(config.allow), len(plan.notes)) == (mode, allowed, notes)
    assert plan.changes[0].after.startswith(text.encode())
    (tmp_path / "astguard.yaml").write_bytes(plan.changes[0].after)
    again, _ = configured(tmp_path, None, propose([], TRUNKS[:1], []))
    assert again.changes == []


def test_another_port_and_another_user_are_written_down(tmp_path):
    _, config = configured(tmp_path, None, port=5040)
    assert config.ami.port == 5040


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("allwo: [1]\n", "mend it first"),
        ("ami: {secret: x}\n", "put it into a file"),
        ("ami: {host: 192.0.2.9, secret_file: x}\n", "another host"),
        ("ami: {secret_file: $CREDENTIALS_DIRECTORY/ami.secret}\n", "systemd hands the AMI secret over"),
    ],
)
def test_a_configuration_that_setup_cannot_work_with(tmp_path, text, says):
    path = tmp_path / "astguard.yaml"
    path.write_text(text)
    with pytest.raises(HostError, match=says):
        secret_path(config_now(path), path)


def test_a_configuration_in_one_pair_of_braces_is_not_torn(tmp_path):
    with pytest.raises(HostError, match="add the lines by hand"):
        configured(tmp_path, "{mode: observe}\n")


def test_the_secret_stands_alone_in_its_file(tmp_path):
    plan = Plan(secret="pssst")
    plan_secret(plan, tmp_path / "ami.secret")
    (change,) = plan.changes
    assert (change.after, change.owner.mode & 0o007) == (b"pssst\n", 0)
    (tmp_path / "ami.secret").write_bytes(b"pssst\n")
    again = Plan(secret="pssst")
    plan_secret(again, tmp_path / "ami.secret")
    assert again.changes == []


def test_the_usual_secret_file_is_beside_the_configuration():
    assert secret_path(Config(), Path("/etc/astguard/astguard.yaml")) == Path("/etc/astguard/ami.secret")
    assert read_conf(Path("/x"), lambda _: []).exists is False
