"""Lines of Asterisk's logs and their heads, in every form in which they are written."""

from __future__ import annotations

import pytest

from guard.wire.loglines import MESSAGE_LIMIT, LineCutter, is_banner, read_head

TEXT = b"Request 'REGISTER'"
FILE = b"res_pjsip/pjsip_distributor.c"
FORMS = {
    "default": b"[2026-11-22 13:41:14.347] NOTICE[23317] res_pjsip/pjsip_distributor.c: ",
    "a call's number": b"[2026-11-22 13:41:14.347] NOTICE[23317][C-00000012] res_pjsip/pjsip_distributor.c: ",
    "Asterisk's own date": b"[Nov  2 13:41:14] NOTICE[23317] res_pjsip/pjsip_distributor.c: ",
    "plain": b"[Nov 22 13:41:14] NOTICE[23317]: res_pjsip/pjsip_distributor.c:722 log_failed_request: ",
    "plain, of a call": b"[Nov 22 13:41:14] NOTICE[23317][C-0000001f]: res_pjsip/pjsip_distributor.c:722 log_failed: ",
    "coloured": b"[Nov 22 13:41:14] \x1b[1;33mNOTICE\x1b[0m[23317]: \x1b[1;37mres_pjsip/pjsip_distributor.c\x1b[0m:"
    b"\x1b[1;37m722\x1b[0m \x1b[1;37mlog_failed_request\x1b[0m: ",
    "syslog": b"Nov 22 13:41:14 pbx asterisk[812]: NOTICE[23317]: res_pjsip/pjsip_distributor.c:722 in log_failed: ",
    "syslog, new dates": b"2026-11-22T13:41:14.347261+01:00 pbx.example asterisk[812]: NOTICE[23317][C-0000001f]: "
    b"res_pjsip/pjsip_distributor.c:722 in log_failed_request: ",
    "journald": b"Nov 22 13:41:14 pbx asterisk[812]: [Nov 22 13:41:13] NOTICE[23317]: res_pjsip/pjsip_distributor.c:722 "
    b"log_failed_request: ",
    "journald, short-iso": b"2026-11-22T13:41:14+0100 pbx asterisk[812]: [2026-11-22 13:41:14] NOTICE[23317] "
    b"res_pjsip/pjsip_distributor.c: ",
}


@pytest.mark.parametrize("head", FORMS.values(), ids=FORMS)
def test_each_form_has_its_level_thread_file_and_text(head):
    read = read_head(head + TEXT)
    assert read is not None
    assert read[1:] == (b"NOTICE", b"23317", FILE, len(head))


def test_the_time_is_asterisks_own_where_there_are_two():
    assert read_head(FORMS["journald"] + TEXT).time == b"Nov 22 13:41:13"
    assert read_head(FORMS["syslog"] + TEXT).time == b"Nov 22 13:41:14"


@pytest.mark.parametrize(
    "line",
    [b"", b"text", b"NOTICE[1] a.c: no time", b"[13:41] notice[1] a.c: x", b"[] NOTICE[1] a.c: x",
     b" [Nov 22 13:41:14] NOTICE[1] a.c: x", b"[Nov 22 13:41:14] NOTICE[x] a.c: x", b"[Nov 22 13:41:14] NOTICE a.c: x",
     b"[Nov 22 13:41:14] NOTICE[1][C-zz] a.c: x", b"[Nov 22] 13:41:14] NOTICE[1] a.c: x",
     b"Nov 22 13:41:14 pbx sshd[812]: NOTICE[1]: a.c:7 in b: x", b"[Nov 22 13:41:14] NOTICE[1] a.c:x"],
)  # fmt: skip
def test_what_begins_otherwise_has_no_head(line):
    assert read_head(line) is None


def test_a_line_as_long_as_one_that_was_cut_has_no_head():
    head = FORMS["default"]
    assert read_head(head + b"x" * (MESSAGE_LIMIT - 1 - len(head))) is not None
    assert read_head(head + b"x" * (MESSAGE_LIMIT - len(head))) is None


def test_asterisk_announces_itself_when_it_opens_a_file():
    banner = (
        b"[Nov 22 13:41:14] Asterisk 22.10.1~dfsg-1 built by nobody @ buildd on a x86_64 running Linux on 2026-08-06"
    )
    assert is_banner(banner)
    assert not is_banner(banner[1:])
    assert not is_banner(banner.replace(b"built", b"mended"))


def cut(pieces):
    cutter = LineCutter()
    lines = [line for piece in pieces for line in cutter.cut(piece)] + cutter.finish()
    return [line[: MESSAGE_LIMIT + 1] for line in lines]  # behind the limit nobody reads


def test_lines_are_the_same_in_whatever_pieces_they_come():
    data = b"one\ntwo\r\n\nfour" + b"x" * 9_000 + b"\nlast"
    whole = cut([data])
    assert [line[:4] for line in whole] == [b"one", b"two\r", b"", b"four", b"last"]
    for size in (1, 2, 7, 4_096):
        assert cut(data[at : at + size] for at in range(0, len(data), size)) == whole


def test_a_line_without_end_takes_no_more_room_than_a_message():
    cutter = LineCutter()
    for _ in range(10):
        cutter.cut(b"x" * 50_000)
        assert len(cutter._rest) <= MESSAGE_LIMIT + 1
    assert len(cutter.cut(b"\n")[0]) > MESSAGE_LIMIT
