"""What manager.conf and http.conf open."""

from __future__ import annotations

import pytest

from guard.asterisk.conffile import read_conf
from guard.asterisk.manager import open_web, read_http, read_manager
from guard.core.address import show_short
from tests.unit.asterisk.test_conffile import MAIN


def conf(text):
    return read_conf(MAIN, lambda name: [(MAIN, text)] if name == str(MAIN) else [])


def user(text, acl=""):
    return read_manager(conf("[general]\nenabled=yes\n[u]\n" + text), conf(acl)).user("u")


@pytest.mark.parametrize(
    ("general", "doors"),
    [
        ("", []),
        ("enabled=no\nbindaddr=0.0.0.0\n", []),
        ("enabled=yes\n", ["AMI on [::]:5038"]),
        ("enabled=yes\nbindaddr=127.0.0.1\nport=5555\n", ["AMI on 127.0.0.1:5555"]),
        ("enabled=yes\nbindaddr=0.0.0.0:5040\n", ["AMI on 0.0.0.0:5040"]),
        ("enabled=on\nbindaddr=[::1]:7\n", ["AMI on [::1]:7"]),
        (
            "enabled=yes\nbindaddr=127.0.0.1\ntlsenable=yes\n",
            ["AMI on 127.0.0.1:5038", "AMI over TLS on 127.0.0.1:5039"],
        ),
        (
            "enabled=yes\ntlsenable=yes\ntlsbindaddr=192.0.2.1:77\n",
            ["AMI on [::]:5038", "AMI over TLS on 192.0.2.1:77"],
        ),
    ],
)
def test_where_ami_listens(general, doors):
    assert [str(door) for door in read_manager(conf(f"[general]\n{general}")).listeners] == doors


@pytest.mark.parametrize(
    ("address", "ours"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("pbx", False), ("192.0.2.1", False)],
)  # fmt: skip
def test_which_doors_only_this_host_reaches(address, ours):
    (door,) = read_manager(conf(f"[general]\nenabled=yes\nbindaddr={address}\n")).listeners
    assert door.is_loopback is ours


@pytest.mark.parametrize(
    ("rules", "strangers"),
    [
        ("", ["198.51.100.7", "2001:db8::7"]),
        ("deny=0.0.0.0/0.0.0.0\npermit=127.0.0.1/255.255.255.255\n", ["2001:db8::7"]),
        ("deny=0.0.0.0/0\ndeny=::/0\npermit=127.0.0.1\npermit=::1\n", []),
        ("deny=0.0.0.0/0,::/0\npermit=127.0.0.0/8\n", []),
        ("deny=0.0.0.0/0\ndeny=::/0\npermit=127.0.0.1/255.0.0.0\npermit=192.0.2.0/24\n", ["192.0.2.0", "192.0.2.255"]),
        ("deny=0.0.0.0/0\ndeny=::/0\npermit=192.0.2.9/32\n", ["192.0.2.9"]),
        ("permit=127.0.0.1\ndeny=0.0.0.0/0\ndeny=::/0\n", []),
        ("deny=::/0\npermit=!0.0.0.0/0\n", []),
        ("deny=0.0.0.0/0\ndeny=::/0\nacl=lan\n", ["10.0.0.0", "10.255.255.255"]),
        ("deny=0.0.0.0/1\ndeny=::/0\n", ["198.51.100.7", "128.0.0.0"]),
    ],
)
def test_who_else_may_log_in(rules, strangers):
    found = user(rules, acl="[lan]\npermit=10.0.0.0/8\n")
    assert sorted(set(map(show_short, found.strangers()))) == sorted(strangers)
    assert not found.unknown


def test_a_rule_that_is_none_is_told_of():
    assert user("permit=nowhere\nacl=gone\n").unknown == ("nowhere", "gone")


@pytest.mark.parametrize(
    ("words", "rights"),
    [("", set()), ("security", {"security"}), ("Security , system", {"security", "system"}), ("yes", {"all"}), ("no", set()), ("all", {"all"}), ("-1", {"all"})],
)  # fmt: skip
def test_the_rights_of_a_user(words, rights):
    found = user(f"read={words}\nwrite={words}\n")
    assert (found.read, found.write) == (rights, rights)
    assert found.hears_security is bool(rights & {"all", "security"})


@pytest.mark.parametrize(
    ("text", "timeout"), [("", 100), ("writetimeout=5000", 5000), ("writetimeout=soon", 100), ("writetimeout=5", 100)]
)
def test_how_long_a_stalled_reader_has(text, timeout):
    assert user(f"{text}\n").write_timeout == timeout


def test_filters_are_kept_with_their_form():
    found = user("eventfilter=!Event: ChallengeSent\neventfilter(action(exclude),name(X)) = \n")
    assert found.filters == ("eventfilter = !Event: ChallengeSent", "eventfilter(action(exclude),name(X)) = ")


@pytest.mark.parametrize(
    ("http", "doors"),
    [
        ("enabled=yes\n", []),
        ("enabled=no\nbindaddr=0.0.0.0\n", []),
        ("enabled=yes\nbindaddr=127.0.0.1\n", []),
        ("enabled=yes\nbindaddr=0.0.0.0\n", ["HTTP on 0.0.0.0:8088"]),
        ("enabled=yes\nbindaddr=127.0.0.1\ntlsenable=yes\ntlsbindaddr=0.0.0.0:8089\n", ["HTTPS on 0.0.0.0:8089"]),
        ("bindaddr=::\ntlsenable=yes\n", ["HTTPS on [::]:8089"]),
    ],
)
def test_where_strangers_reach_ami_over_http(http, doors):
    manager = read_manager(conf("[general]\nenabled=yes\nwebenabled=yes\n"))
    assert [str(door) for door in open_web(manager, read_http(conf(f"[general]\n{http}")))] == doors
    for off in ("enabled=no\nwebenabled=yes\n", "enabled=yes\nwebenabled=no\n"):
        assert not open_web(read_manager(conf(f"[general]\n{off}")), read_http(conf(f"[general]\n{http}")))
