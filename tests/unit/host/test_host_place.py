"""Where Asterisk lives."""

from __future__ import annotations

import pytest

from guard.errors import HostError
from guard.host.place import find_asterisk
from tests.unit.host.test_host_machine import write


def test_debian_s_package(tmp_path):
    write(tmp_path, "etc/asterisk/asterisk.conf", "[directories](!)\nastetcdir => /elsewhere\n")
    write(tmp_path, "usr/sbin/asterisk")
    (tmp_path / "usr/lib/x86_64-linux-gnu/asterisk/modules").mkdir(parents=True)
    place = find_asterisk(root=tmp_path)
    assert place.etc == tmp_path / "etc/asterisk"
    assert place.program == str(tmp_path / "usr/sbin/asterisk")
    assert place.modules == tmp_path / "usr/lib/x86_64-linux-gnu/asterisk/modules"
    assert (str(place.log), place.running, place.freepbx) == ("/var/log/asterisk", False, False)


def test_a_build_from_source_with_its_own_folders(tmp_path):
    write(
        tmp_path,
        "opt/asterisk/etc/asterisk/asterisk.conf",
        f"[directories]\nastetcdir => {tmp_path}/etc2\nastlogdir => /srv/log\n",
    )
    place = find_asterisk(root=tmp_path)
    assert (place.etc, str(place.log), place.program) == (tmp_path / "etc2", "/srv/log", None)
    with pytest.raises(HostError, match="run it on Asterisk's console"):
        place.say("manager reload")


def test_freepbx(tmp_path):
    write(tmp_path, "etc/asterisk/asterisk.conf")
    write(tmp_path, "etc/freepbx.conf")
    assert find_asterisk(root=tmp_path).freepbx


def test_a_process_says_what_it_was_started_with(tmp_path):
    write(tmp_path, "srv/a.conf", "[directories]\nastetcdir => /srv/etc\n")
    write(tmp_path, "etc/asterisk/asterisk.conf")
    write(tmp_path, "proc/12/comm", "asterisk\n")
    write(tmp_path, "proc/12/cmdline", f"/usr/sbin/asterisk\0-f\0-C\0{tmp_path}/srv/a.conf\0")
    place = find_asterisk(root=tmp_path)
    assert (str(place.etc), place.running) == ("/srv/etc", True)


def test_a_command_line_of_somebody_is_no_daemon(tmp_path):
    write(tmp_path, "etc/asterisk/asterisk.conf")
    write(tmp_path, "proc/12/comm", "asterisk\n")
    write(tmp_path, "proc/12/cmdline", "asterisk\0-rx\0core show version\0")
    assert not find_asterisk(root=tmp_path).running


def test_what_it_says_and_what_it_cannot(tmp_path):
    program = tmp_path / "usr/sbin/asterisk"
    write(tmp_path, "etc/asterisk/asterisk.conf")
    write(tmp_path, "usr/sbin/asterisk", '#!/bin/sh\necho "$@"\n[ "$4" != "fail" ]\n')
    program.chmod(0o755)
    place = find_asterisk(root=tmp_path)
    assert place.say("manager reload") == f"-C {tmp_path}/etc/asterisk/asterisk.conf -rx manager reload"
    with pytest.raises(HostError, match="is Asterisk running"):
        place.say("fail")


def test_nowhere(tmp_path):
    with pytest.raises(HostError, match="--asterisk-conf FILE"):
        find_asterisk(root=tmp_path)
    with pytest.raises(HostError, match="there is no "):
        find_asterisk(tmp_path.__class__("/nowhere/a.conf"), root=tmp_path)
