"""Lines for systemd's journal, byte for byte: nothing that a stranger chose can become a field of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.wire.journal import FIELD_LIMIT, FIELDS_LIMIT, LINES_LIMIT, MessageId, about, readable, write_line
from tests.journald import read_line


def test_a_field_is_a_line():
    assert write_line({"MESSAGE": "ban 198.51.100.7", "PRIORITY": "4"}) == b"MESSAGE=ban 198.51.100.7\nPRIORITY=4\n"


def test_a_value_with_a_line_break_has_its_length_before_it():
    assert write_line({"MESSAGE": "one\ntwo"}) == b"MESSAGE\n\x07\0\0\0\0\0\0\0one\ntwo\n"


def test_what_a_stranger_wrote_is_shown_as_its_escape():
    assert write_line({"ASTGUARD_ACCOUNT": "\x1b[2J\u202eevil\rPRIORITY=0"}) == (
        b"ASTGUARD_ACCOUNT=\\x1b[2J\\u202eevil\\rPRIORITY=0\n"
    )


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,63}", fullmatch=True), st.text(), max_size=FIELDS_LIMIT))
def test_the_journal_reads_exactly_the_fields_that_were_written(fields):
    read = read_line(write_line(fields))
    assert read == {name: readable(value) for name, value in fields.items()}


@given(st.text(st.characters(), max_size=3_000))
def test_no_line_of_a_value_is_long_and_all_of_it_can_be_shown(text):
    lines = readable(text * 3).split("\n")
    assert len(lines) <= LINES_LIMIT
    assert all(len(line) <= FIELD_LIMIT and line.isprintable() for line in lines)


def test_a_traceback_without_end_is_cut_and_says_so():
    lines = readable("x\n" * 1_000).split("\n")
    assert (len(lines), lines[-1]) == (LINES_LIMIT, "… and 802 lines more")


def test_the_longest_line_fits_a_socket():
    """Of 212,992 bytes, Linux's default for a datagram socket's buffer (net.core.wmem_default)."""
    traceback = "\n".join(["x" * FIELD_LIMIT] * LINES_LIMIT)
    assert len(write_line({"MESSAGE": traceback, "PRIORITY": "3"})) < 212_992


@pytest.mark.parametrize("name", ["", "a", "_PID", "A-B", "A=B", "A\nB", "Ä", "A" * 65])
def test_a_name_that_the_journal_would_not_take_is_our_mistake(name):
    with pytest.raises(AssertionError):
        write_line({name: "x"})


def test_fields_that_are_not_known_are_left_out():
    assert about(MessageId.ALARM, alarm="muted", address=None, strike=2)["about"].named() == {
        "MESSAGE_ID": MessageId.ALARM.value, "ASTGUARD_ALARM": "muted", "ASTGUARD_STRIKE": "2",
    }  # fmt: skip


def test_the_manual_has_every_kind_of_line_and_no_other():
    page = (Path(__file__).parents[2] / "docs/journal.md").read_text()
    assert set(re.findall(r"^\| `([0-9a-f]{32})`", page, re.MULTILINE)) == {kind.value for kind in MessageId}


def test_no_two_kinds_of_lines_have_the_same_id():
    assert len({kind.value for kind in MessageId}) == len(MessageId)
    assert all(len(kind.value) == 32 and int(kind.value, 16) for kind in MessageId)
