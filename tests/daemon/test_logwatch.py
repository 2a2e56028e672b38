"""Which logs the daemon follows, and what it says when there are none."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from guard.core.tally import Tally
from guard.daemon import logwatch
from guard.daemon.logwatch import system_zone, watch_logs
from guard.settings.logs import Logs


def sensor(**given):
    enforcer = SimpleNamespace(engine=SimpleNamespace(tally=Tally()), handle=print)
    return watch_logs(Logs(**given), enforcer, SimpleNamespace(state="up"))


def watch(**given):
    return list(sensor(**given).problems)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"logger_conf": Path("/nowhere/logger.conf")}, "there is no /nowhere/logger.conf"),
        ({"messages": (), "security": ()}, "logs.messages is off"),
    ],
)
def test_without_logs_one_line_says_so(given, said, caplog):
    caplog.set_level(logging.INFO)
    assert watch(**given) == []
    (record,) = caplog.records
    assert (record.levelname, said in record.getMessage()) == ("INFO", True)


def test_only_who_could_hear_and_does_not_is_deaf(tmp_path):
    assert sensor(logger_conf=Path("/nowhere/logger.conf")).deaf == ""
    assert sensor(messages=()).deaf == ""
    assert "cannot be read: Is a directory" in sensor(logger_conf=tmp_path).deaf
    (tmp_path / "logger.conf").write_text("[logfiles]\nx => error\n")
    assert "names no file for the level 'notice'" in sensor(logger_conf=tmp_path / "logger.conf").deaf


def test_what_the_configuration_names_goes_before_logger_conf(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    conf = tmp_path / "logger.conf"
    conf.write_text("[logfiles]\n/a/messages => notice\n/a/security => security\n")
    assert watch(logger_conf=conf) == [Path("/a/security"), Path("/a/messages")]
    assert watch(logger_conf=conf, messages=(Path("/b"),)) == [Path("/a/security"), Path("/b")]
    assert watch(logger_conf=conf, security=()) == [Path("/a/messages")]
    assert caplog.records == []


def test_the_zone_is_the_systems(monkeypatch, tmp_path):
    monkeypatch.setenv("TZ", ":Asia/Kathmandu")
    assert system_zone() == ZoneInfo("Asia/Kathmandu")
    for name in ("", "Nowhere/Land"):
        monkeypatch.setenv("TZ", name)
        monkeypatch.setattr(logwatch, "LOCALTIME", tmp_path / "none")
        assert system_zone().utcoffset(datetime(2026, 11, 22)) is not None  # noqa: DTZ001
