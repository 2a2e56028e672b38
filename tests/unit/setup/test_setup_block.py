"""Marked lines at the end of somebody else's file."""

from __future__ import annotations

import pytest

from guard.setup.block import cut_block, has_block, put_block

LINES = ["[general](+)", "enabled = yes"]


@pytest.mark.parametrize("before", [b"", b"[general]\n", b"[general]\r\nx=\xe4\r\n", b"; >>> astguard\n[a]\n"])
def test_what_is_put_there_is_taken_out_byte_for_byte(before):
    after = put_block(before, LINES, ";")
    assert after.startswith(before)
    assert has_block(after, ";")
    assert cut_block(after, ";") == before
    assert put_block(after, LINES, ";") == after


def test_a_last_line_without_an_end_gets_one():
    after = put_block(b"[general]", LINES, ";")
    assert after.startswith(b"[general]\n; >>>")
    assert cut_block(after, ";") == b"[general]\n"


def test_new_lines_take_the_place_of_the_old():
    before = b"[general]\n"
    after = put_block(put_block(before, LINES, ";"), ["[x]"], ";")
    assert b"enabled" not in after
    assert cut_block(after, ";") == before


def test_what_was_written_behind_it_stays():
    after = put_block(b"[general]\n", LINES, ";") + b"[own]\n"
    assert cut_block(after, ";") == b"[general]\n[own]\n"


def test_without_its_end_nobody_knows_what_is_ours():
    torn = put_block(b"[general]\n", LINES, ";").rpartition(b"; <<<")[0] + b"[own]\n"
    assert cut_block(torn, ";") == torn
    assert not has_block(torn, ";")
