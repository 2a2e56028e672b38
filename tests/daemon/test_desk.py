"""The desk alone, with a real engine and a kernel in memory: what it refuses, and what it warns of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from guard.core.address import parse_source
from guard.core.engine import Engine
from guard.core.rule import Mode
from guard.core.units import HOUR
from guard.daemon.allowance import Allowance, permits_of
from guard.daemon.desk import Desk
from guard.daemon.enforcer import Enforcer
from guard.daemon.heaviest import Heaviest
from guard.daemon.pause import Pause
from guard.daemon.recorder import Recorder
from guard.daemon.takeover import take_over
from guard.errors import ControlError, NotFound, TableGone
from guard.firewall import Layout
from guard.firewall.memory import Memory
from guard.settings.allowlist import AllowedName
from guard.settings.config import Config
from guard.settings.mistakes import Place
from tests.daemon.linking import run
from tests.events import rule


@pytest.fixture
def logs():
    return SimpleNamespace(deaf="", problems={Path("/var/log/asterisk/messages.log"): ""})


@pytest.fixture
def desk(logs):
    loop = SimpleNamespace(call_later=lambda *_: SimpleNamespace(cancel=lambda: None))
    enforcer = Enforcer(
        Engine([rule()]), Memory(), Layout(), Recorder(), loop=loop, mono_ns=lambda: HOUR, wall_ns=lambda: HOUR
    )
    take_over(enforcer)
    link = SimpleNamespace(
        problem="", changed_at=0, state="up", asterisk="", endpoint="", self_test=None, lag_ms=0, samples=[]
    )
    config = Config(allow_names=(AllowedName("sip.example", Place("astguard.yaml")),))
    allowance = Allowance(permits_of(config, frozenset()), enforcer, config, loop=loop)
    pause = Pause(enforcer, Mode.ENFORCE, loop=loop)
    return Desk(
        enforcer,
        allowance,
        pause,
        None,
        link=link,
        logs=logs,
        ruleset=SimpleNamespace(sources={}),
        heaviest=Heaviest(enforcer),
    )


def test_a_name_on_the_allowlist_without_an_address_is_warned_of(desk):
    names = desk._allowance.names
    assert desk.status()["warnings"] == []  # not asked yet
    names.failing.add("sip.example")
    (warning,) = desk.status()["warnings"]
    assert warning["text"] == "allow: sip.example has no address, so it protects nobody"
    assert "mend the resolver" in warning["remedy"]
    names.known["sip.example"] = frozenset({parse_source("192.0.2.7")})
    assert desk.status()["warnings"] == []
    names.cut["sip.example"] = 7
    (warning,) = desk.status()["warnings"]
    assert warning["text"] == "allow: sip.example has 7 addresses more than are taken from a name"


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
        monkeypatch.setattr(kernel, "look", dropped)
        kernel._ends.clear()
        raise TableGone("table inet astguard is gone")

    monkeypatch.setattr(kernel, "look", gone)
    assert desk.status()["warnings"] == []
    assert [source for source, _ in kernel.held()] == [banned]


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0"])
def test_a_command_may_not_allow_everybody_either(desk, everybody):
    banned = parse_source("198.51.100.7")
    run(desk.add_ban(banned, HOUR, ""))
    with pytest.raises(ControlError, match=f"{everybody} is everybody; to watch without bans, write 'mode: observe'"):
        run(desk.add_allow(parse_source(everybody), None))
    assert desk.allowed() == []
    assert run(desk.ban(banned))


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


def test_who_is_allowed_for_a_time_is_shown_with_the_time_left(desk):
    one, other = parse_source("198.51.100.7"), parse_source("198.51.100.8")
    run(desk.add_ban(parse_source("198.51.100.0/24"), HOUR, ""))
    answer = run(desk.add_allow(one, 2 * HOUR))
    assert answer == {
        "source": "198.51.100.7/32", "origin": "command", "until": "1970-01-01T03:00:00.000Z", "left_seconds": 7200,
        "lifted": ["198.51.100.0/24"], "stored": False,
    }  # fmt: skip
    assert run(desk.add_allow(other, None))["lifted"] == []
    assert [(entry["source"], entry["until"], entry["left_seconds"]) for entry in desk.allowed()] == [
        ("198.51.100.7/32", "1970-01-01T03:00:00.000Z", 7200), ("198.51.100.8/32", None, None),
    ]  # fmt: skip


def test_in_a_pause_nobody_is_banned_by_hand_and_the_status_says_so(desk):
    one, other = parse_source("198.51.100.7"), parse_source("198.51.100.8")
    run(desk.add_ban(one, 2 * HOUR, ""))
    assert desk.status()["paused"] is None
    paused = {"since": "1970-01-01T01:00:00.000Z", "until": "1970-01-01T01:30:00.000Z", "left_seconds": 1800}
    assert run(desk.pause(HOUR // 2)) == {**paused, "bans": 1, "stored": False}
    assert desk._enforcer.firewall.held() == {}
    status = desk.status()
    assert (status["paused"], status["bans"]) == (paused, 1)
    (warning,) = status["warnings"]
    assert warning == {"text": "paused: nobody is kept out", "remedy": "'astguard resume' puts the bans back"}
    with pytest.raises(ControlError, match="astguard is paused and bans nobody; 'astguard resume' ends that"):
        run(desk.add_ban(other, HOUR, ""))
    assert run(desk.remove_ban(one))["source"] == "198.51.100.7/32"
    assert run(desk.resume()) == {"bans": 0, "stored": False}
    assert (desk.status()["paused"], desk.bans()) == (None, [])
    with pytest.raises(NotFound, match="astguard is not paused"):
        run(desk.resume())
