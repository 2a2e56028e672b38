"""AMI over HTTP open to other hosts is said at the start, loudly, and in the status until it is shut."""

from __future__ import annotations

import logging

import pytest

from guard.asterisk.folder import read_folder_conf
from guard.daemon import exposure as module
from guard.daemon.exposure import Exposure, watch_exposure
from guard.settings.config import parse_config


@pytest.fixture
def etc(tmp_path):
    (tmp_path / "manager.conf").write_text("[general]\nenabled=yes\nwebenabled=yes\nbindaddr=127.0.0.1\n")
    (tmp_path / "http.conf").write_text("[general]\nenabled=yes\nbindaddr=0.0.0.0\n")
    return tmp_path


def config(etc, ami="{}"):
    return parse_config(f"ami: {ami}\nlogs: {{logger_conf: {etc}/logger.conf}}\n".encode())


def test_the_open_door_is_said_at_the_start_and_later(etc, caplog):
    exposed = watch_exposure(config(etc))
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "AMI over HTTP is on and reachable from other hosts (HTTP on 0.0.0.0:8088)" in record.getMessage()
    assert "webenabled = no" in record.getMessage()
    assert "forge events" in exposed()
    (etc / "http.conf").write_text("[general]\nenabled=yes\nbindaddr=127.0.0.1\n")
    assert exposed() == ""


def test_a_shut_door_is_not_spoken_of(etc, caplog):
    (etc / "manager.conf").write_text("[general]\nenabled=yes\n")
    assert watch_exposure(config(etc))() == ""
    assert not caplog.records


def test_the_files_of_another_host_are_not_here(etc, caplog):
    assert watch_exposure(config(etc, "{host: 192.0.2.9, secret_file: x}"))() == ""
    assert not caplog.records


def test_without_files_nothing_is_known(tmp_path):
    assert Exposure(tmp_path / "nowhere").now() == ""


def test_files_are_read_again_only_when_one_has_changed(etc, monkeypatch):
    """A status may be asked often, and it is answered on the loop that reads the events."""
    (etc / "manager.d").mkdir()
    (etc / "manager.d/a.conf").write_text("")
    (etc / "manager.conf").write_text('[general]\nenabled=yes\n#include "manager.d/*.conf"\n')
    reads = []
    monkeypatch.setattr(module, "read_folder_conf", lambda path: reads.append(path.name) or read_folder_conf(path))
    watch = Exposure(etc)
    assert [watch.now(), watch.now(), reads] == ["", "", ["manager.conf", "http.conf"]]
    (etc / "manager.d/b.conf").write_text("webenabled=yes\n")  # a new file of a pattern
    assert "forge events" in watch.now()
    (etc / "manager.d/b.conf").write_text("webenabled=no\n")
    assert watch.now() == ""
    (etc / "manager.d/b.conf").unlink()
    assert watch.now() == ""
    assert len(reads) == 8
