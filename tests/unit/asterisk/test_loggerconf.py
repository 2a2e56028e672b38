"""Which files logger.conf names, in everything that Asterisk reads as such."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from guard.asterisk.loggerconf import LOG_FOLDER, date_format, find_logs, has_seconds

NEWEST = """
[general]
;dateformat=%F %T       ; ISO 8601 date format

[logfiles]
;debug.log => error,warning,notice,verbose,debug
;security.log => security
console => notice,warning,error
messages.log => notice,warning,error
;full-json.log => [json]debug,verbose,notice,warning,error,dtmf,fax
;syslog.local0 => notice,warning,error
"""


def found(folder, text, **others):
    for name, content in {"logger": text, **others}.items():
        (folder / f"{name}.conf").write_text(content)
    messages, security, notes, _ = find_logs(folder / "logger.conf")
    return messages and str(messages), security and str(security), notes


def under(*names):
    return tuple(name and str(LOG_FOLDER / name) for name in names)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (NEWEST, ("messages.log", None)),
        (NEWEST.replace(";security.log", "security.log"), ("messages.log", "security.log")),
        ("[logfiles]\nmessages = notice,warning,error\nsecurity=security\n", ("messages", "security")),
        ("[logfiles]\nfull => *\nmessages => NOTICE , warning,error\n", ("messages", "full")),
        ("[logfiles]\nnotices => notice\nall => notice,warning,error\n", ("all", None)),
        ("[logfiles]\n[logfiles](+)\nmessages => [default]notice,warning,error;for us\n", ("messages", None)),
        ("[logfiles]\nfull => [plain]verbose(3),notice,warning,error,security\n", ("full", "full")),
        (";-----\n[logfiles]\nmessages => notice\n;-----\n", ("messages", None)),  # `;---` begins no long comment
        (";--\n[logfiles]\na => notice\n--;\n[logfiles]\nb => notice\n", ("b", None)),
        ("[general]\nmessages => notice\n", (None, None)),
        ("[logfiles]\nsyslog.local0 => notice\nConsole => notice\n", (None, None)),
        ("", (None, None)),
        ("\x00\udcff]]\n=>\n[logfiles\nx", (None, None)),
    ],
)
def test_the_files_of_each_sensor(text, names, tmp_path):
    assert found(tmp_path, text.encode(errors="replace").decode())[:2] == under(*names)


def test_a_name_may_be_a_path_and_the_folder_another(tmp_path):
    text = "[logfiles]\n/srv/pbx/security => security\nmessages => notice\n"
    asterisk = "[directories]\nastlogdir => /srv/log\n"
    assert found(tmp_path, text, asterisk=asterisk)[:2] == ("/srv/log/messages", "/srv/pbx/security")


def test_a_template_names_no_folder(tmp_path):
    """Debian's asterisk.conf has `[directories](!)`: Asterisk takes what it was built with."""
    asterisk = "[directories](!)\nastlogdir => /srv/log\n"
    assert found(tmp_path, "[logfiles]\nmessages => notice\n", asterisk=asterisk)[0] == str(LOG_FOLDER / "messages")


def test_names_may_end_in_the_name_of_the_host(tmp_path):
    text = "[general]\nappendhostname = yes\n[logfiles]\nmessages => notice\n"
    assert found(tmp_path, text)[0] == str(LOG_FOLDER / f"messages.{os.uname().nodename}")


def test_files_in_files_are_read(tmp_path):
    (tmp_path / "logger.d").mkdir()
    (tmp_path / "logger.d/own.conf").write_text("messages => notice,error\n")
    text = f"[logfiles]\n#tryinclude {tmp_path}/nowhere.conf\n#include <logger.d/*.conf>\nsecurity => security\n"
    assert found(tmp_path, text)[:2] == under("messages", "security")


def test_a_circle_of_files_ends(tmp_path):
    assert found(tmp_path, '[logfiles]\nmessages => notice\n#include "logger.conf"\n')[0] == str(
        LOG_FOLDER / "messages"
    )


@pytest.mark.parametrize(
    ("text", "whether"),
    [
        ("", True), ("%F %T", True), ("%F %T.%3q", True), ("%s", True), ("%b %e %H:%M:%-S", True), ("%c", True),
        ("%F %H:%M", False), ("%F %R", False), ("%%S", False), ("%%%S", True), ("%D", False),
    ],
)  # fmt: skip
def test_which_dates_have_seconds(text, whether, tmp_path):
    (tmp_path / "logger.conf").write_text(f"[general]\ndateformat={text} ; as we like it\n")
    assert date_format(tmp_path / "logger.conf") == text
    assert has_seconds(text) is whether


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[logfiles]\nall => [json]notice,security\n", "is written as JSON"),
        ("[logfiles]\nx => error\n", "names no file for the level 'notice'"),
        ("[logfiles]\nfull => notice,verbose\n", "holds more than notices"),
    ],
)
def test_what_is_in_the_way_is_said(text, said, tmp_path):
    assert said in " ".join(found(tmp_path, text)[2])


def test_a_file_that_is_not_there_names_nothing():
    there_is_none = ("there is no /nowhere/logger.conf",)
    assert find_logs(Path("/nowhere/logger.conf")) == (None, None, there_is_none, True)


def test_a_file_that_may_not_be_read_names_nothing_and_does_not_end_the_guard(tmp_path, monkeypatch):
    """/etc/asterisk is closed to whoever is not in its group: the guard starts, and says so."""

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    conf = tmp_path / "logger.conf"
    assert find_logs(conf) == (None, None, (f"{conf} cannot be read: Permission denied",), False)
