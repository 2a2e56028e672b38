"""The desk alone, with a real engine and a kernel in memory: what it refuses, and what it warns of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from guard.core.address import parse_source
from guard.core.engine import Engine
from guard.core.units import HOUR
from guard.daemon.desk import Desk
from guard.daemon.enforcer import Enforcer
from guard.daemon.permits import Permits
from guard.daemon.recorder import Recorder
from guard.daemon.takeover import take_over
from guard.errors import ControlError, NotFound, TableGone
from guard.firewall import Layout
from guard.firewall.memory import Memory
from guard.sensors.names import Names
from tests.daemon.linking import run
from tests.events import rule


@pytest.fixture
def names():
    return Names(["sip.example"], lambda *_: None)


@pytest.fixture
def logs():
    return SimpleNamespace(deaf="", problems={Path("/var/log/asterisk/messages.log"): ""})


@pytest.fixture
def desk(names, logs):
    loop = SimpleNamespace(call_later=lambda *_: SimpleNamespace(cancel=lambda: None))
    enforcer = Enforcer(
        Engine([rule()]), Memory(), Layout(), Recorder(), loop=loop, mono_ns=lambda: HOUR, wall_ns=lambda: HOUR
    )
    take_over(enforcer)
    link = SimpleNamespace(
        problem="", changed_at=0, state="up", asterisk="", endpoint="", self_test=None, lag_ms=0, samples=[]
    )
    return Desk(enforcer, Permits(), link, SimpleNamespace(sources={}), names, logs)


def test_a_name_on_the_allowlist_without_an_address_is_warned_of(desk, names):
    assert desk.status()["warnings"] == []  # not asked yet
    names.failing.add("sip.example")
    (warning,) = desk.status()["warnings"]
    assert warning["text"] == "allow: sip.example has no address, so it protects nobody"
    assert "mend the resolver" in warning["remedy"]
    names.known["sip.example"] = frozenset({parse_source("192.0.2.7")})
    assert desk.status()["warnings"] == []


def test_a_log_that_cannot_be_read_is_warned_of_with_the_way_to_mend_it(desk, logs):
    assert desk.status()["warnings"] == []
    logs.problems[Path("/var/log/asterisk/messages.log")] = "cannot be read: Permission denied"
    (warning,) = desk.status()["warnings"]
    assert warning["text"] == "log: /var/log/asterisk/messages.log cannot be read: Permission denied"
    assert "usermod -aG asterisk astguard" in warning["remedy"]
    logs.problems.clear()
    logs.deaf = "/etc/asterisk/logger.conf cannot be read: Permission denied"
    (warning,) = desk.status()["warnings"]
    assert (
        warning["text"] == "log: no messages log is read: /etc/asterisk/logger.conf cannot be read: Permission denied"
    )


def test_events_too_old_to_count_are_warned_of(desk):
    """With clocks three minutes apart no rule of two minutes ever sees an offence."""
    desk._link.lag_ms = 180_000
    (warning,) = desk.status()["warnings"]
    assert warning["text"] == "link: events are 180 s old when they are read, too old for short windows"
    assert "clocks" in warning["remedy"]


def test_who_asks_for_the_status_has_a_lost_table_made_again(desk, monkeypatch):
    kernel, banned = desk._enforcer.firewall, parse_source("198.51.100.7")
    run(desk.add_ban(banned, HOUR, ""))
    dropped = kernel.dropped

    def gone():
        monkeypatch.setattr(kernel, "dropped", dropped)
        kernel._ends.clear()
        raise TableGone("table inet astguard is gone")

    monkeypatch.setattr(kernel, "dropped", gone)
    assert desk.status()["warnings"] == []
    assert [source for source, _ in kernel.held()] == [banned]


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0"])
def test_a_command_may_not_allow_everybody_either(desk, everybody):
    banned = parse_source("198.51.100.7")
    run(desk.add_ban(banned, HOUR, ""))
    with pytest.raises(ControlError, match=f"{everybody} is everybody; to watch without bans, write 'mode: observe'"):
        run(desk.add_allow(parse_source(everybody)))
    assert desk.allowed() == []
    assert desk.ban(banned)


def test_who_wants_to_lift_a_part_of_a_ban_is_told_of_the_whole(desk):
    run(desk.add_ban(parse_source("198.51.100.0/24"), HOUR, ""))
    with pytest.raises(
        NotFound, match=r"7 has no ban of its own; 'astguard bans remove 198.51.100.0/24' lifts all of it"
    ):
        run(desk.remove_ban(parse_source("198.51.100.7")))


def test_a_door_open_to_forgers_is_warned_of_until_it_is_shut(desk):
    desk.exposed = lambda: "asterisk: AMI over HTTP is on"
    (warning,) = desk.status()["warnings"]
    assert warning["text"] == "asterisk: AMI over HTTP is on"
    assert "webenabled = no" in warning["remedy"]
    desk.exposed = str
    assert desk.status()["warnings"] == []
