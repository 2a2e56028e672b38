"""Asterisk's configuration files, read as Asterisk reads them, and whatever else stands in a file of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.asterisk import conffile
from guard.asterisk.conffile import read_conf
from guard.asterisk.folder import read_folder_conf

MAIN = Path("/etc/asterisk/x.conf")


def conf(text, **others):
    """Read a text, and the files that it may include by name."""
    files = {str(MAIN): text, **{name.replace("_", "."): more for name, more in others.items()}}
    return read_conf(MAIN, lambda name: [(MAIN.with_name(Path(name).name), files[name])] if name in files else [])


def values(text, section="a", **others):
    return [(entry.name, entry.value) for entry in conf(text, **others).section(section).entries]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a]\nx=1\ny => 2\n z = 3 ; said\n", [("x", "1"), ("y", "2"), ("z", "3")]),
        ("[A]\nx=1\n", [("x", "1")]),
        ("[a]\r\nx=1\r\n", [("x", "1")]),
        ("\ufeff[a]\nx=1\n", []),  # a byte order mark is part of the first line, for Asterisk too
        ("[a]\nx=a\\;b;c\n", [("x", "a;b")]),
        ("[a]\nx=1\n;--\nx=2\n--;\ny=3\n", [("x", "1"), ("y", "3")]),
        ("[a]\nx=1 ;-- no --; 2\n", [("x", "1  2")]),
        ("[a]\n;-- one ;-- two --; x=1 --; y=2\n", [("y", "2")]),
        ("[a]\n;--------\nx=1\n;--------\n", [("x", "1")]),
        ("[a]\n;--- this is one line\nx=1\n", [("x", "1")]),
        ("[a]\nx=1\n;--\ny=2\n", [("x", "1")]),
        ("[a]\nx+=1\n", [("x", "1")]),
        ("[a]\nonly words\nx==\n", [("x", "=")]),
        ("[a]\nx=1\n[b]\nx=2\n[a](+)\nx=3\n", [("x", "1"), ("x", "3")]),
        ("[a]\nx=1\n[a]\nx=2\n", [("x", "1")]),
        ("[a](!)\nx=1\n[a]\nx=2\n", [("x", "2")]),
        ("[t](!)\nx=1\n[u](!)\ny=2\n[a](t,u)\nz=3\n", [("x", "1"), ("y", "2"), ("z", "3")]),
        ("[t](!)\nx=1\n[u](!,t)\ny=2\n[a](u)\n", [("x", "1"), ("y", "2")]),
        ("[a]\nx=" + "9" * 9000 + "\ny=1\n", [("y", "1")]),
        ("", []),
    ],
)
def test_a_text_is_read_as_asterisk_reads_it(text, expected):
    assert values(text) == expected


def test_the_last_value_is_in_force():
    general = conf("[general]\nenabled=no\n[general](+)\nenabled = yes\n").section("general")
    assert (general.get("enabled"), general.get("port", "5038")) == ("yes", "5038")
    assert general.find("enabled").place == "/etc/asterisk/x.conf:4"


def test_a_section_goes_on_in_an_included_file():
    assert values('[a]\nx=1\n#include "more.conf"\nz=3\n', more_conf="y=2\n") == [("x", "1"), ("y", "2"), ("z", "3")]
    assert values("[a]\n#include <more.conf>\n", more_conf="y=2\n") == [("y", "2")]
    assert values("[a]\n#tryinclude none.conf\nx=1\n") == [("x", "1")]


def test_a_program_is_never_run(tmp_path):
    trace = tmp_path / "trace"
    path = tmp_path / "x.conf"
    path.write_text(f"[a]\n#exec /bin/sh -c 'touch {trace}'\nx=1\n")
    found = read_folder_conf(path)
    assert not trace.exists()
    assert found.section("a").get("x") == "1"
    assert "#exec" in found.notes[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x=1\n[a]\n", "x.conf:1: a value stands before any section"),
        ("[a\nx=1\n", "x.conf:1: a section without"),
        ("[a](+)\nx=1\n", "x.conf:1: it goes on with a section [a] that is not there"),
        ("[a](!)\n[a](+)\nx=1\n", "x.conf:2: it goes on with a section [a] that is not there"),
        ("[a](b)\nx=1\n", "x.conf:1: it names a template [b] that is not there"),
        ("[a]\n#include none.conf\n", "x.conf:2: it includes 'none.conf', and there is no such file"),
        ("[a]\n#include x.conf\n", ""),
    ],
)
def test_what_asterisk_refuses_is_told(text, why):
    assert why in conf(text).broken


def test_a_circle_of_files_ends():
    found = conf("[a]\nx=1\n#include /etc/asterisk/x.conf\n")
    assert "too many files in files" in found.broken


def test_an_open_comment_swallows_what_would_be_added():
    assert conf("[a]\n;--\n").open_comment
    assert not conf("[a]\n;-- x --;\n").open_comment


def test_a_bound_is_told_of(monkeypatch):
    monkeypatch.setattr(conffile, "ENTRIES_LIMIT", 3)
    found = conf("[a]\n" + "x=1\n" * 9)
    assert len(found.section("a").entries) == 3
    assert len(found.notes) == 1


def test_what_is_inherited_counts_too(monkeypatch):
    """A template of a thousand lines that ten thousand sections name would be ten million values."""
    monkeypatch.setattr(conffile, "ENTRIES_LIMIT", 100)
    found = conf("[t](!)\n" + "x=1\n" * 20 + "".join(f"[s{n}](t)\n" for n in range(50)))
    assert sum(len(section.entries) for section in found.sections) == 100
    assert "the rest is not looked at" in found.notes[0]


def test_many_sections_take_no_longer_each(monkeypatch):
    """Who is named is found by name, not by looking through all: counted in comparisons, not in seconds."""
    looks = []
    named = conffile.Conf.named
    monkeypatch.setattr(conffile.Conf, "named", lambda self: looks.append(1) or named(self))
    conf("[t](!)\nx=1\n" + "".join(f"[s{n}](t)\n[s{n}](+)\n" for n in range(500)))
    assert not looks


def test_a_configuration_has_a_size(monkeypatch):
    monkeypatch.setattr(conffile, "SIZE_LIMIT", 50)
    found = conf('[a]\nx=1\n#include "more.conf"\n', more_conf="y=2\n" * 20)
    assert [entry.name for entry in found.section("a").entries] == ["x"]
    assert "more than 50 characters" in found.notes[0]


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\xff\xfe[\0a\0]\0", b"[a]\nx=\xe4\n", b"]" * 5000, b"[a]\n=\n"])
def test_any_bytes_are_read(data, tmp_path):
    path = tmp_path / "x.conf"
    path.write_bytes(data)
    read_folder_conf(path)


def test_what_is_no_plain_file_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "x.conf")
    assert not read_folder_conf(tmp_path / "x.conf").exists
    assert not read_folder_conf(tmp_path / "none.conf").exists
    assert read_folder_conf(tmp_path / "x.conf").notes


def test_a_pattern_names_no_hidden_file(tmp_path):
    (tmp_path / "d").mkdir()
    for name in (".hidden.conf", "b.conf", "a.conf", "other.txt"):
        (tmp_path / "d" / name).write_text(f"x={name}\n")
    (tmp_path / "x.conf").write_text('[a]\n#include "d/*.conf"\n')
    assert [entry.value for entry in read_folder_conf(tmp_path / "x.conf").section("a").entries] == ["a.conf", "b.conf"]
